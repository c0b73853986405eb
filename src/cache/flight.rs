//! Requests that are on their way to the origin, so that others for the same key wait for their answer instead of asking
//! again.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::found::Found;

/// What the others of a flight learn.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// An answer that may be shared.
    Found(Found),
    /// There is none to share: each asks for itself.
    Alone,
    /// Whoever asked for all is gone: another may.
    Again,
}

/// All flights of a cache, by key, in parts that are locked apart.
pub(super) struct Flights {
    random: RandomState,
    shards: [Mutex<HashMap<Arc<str>, Arc<Flight>>>; Self::SHARDS],
    count: AtomicUsize,
}

/// Which part a request takes in a flight.
pub(super) enum Boarding {
    /// It asks the origin, for all.
    Lead(Lead),
    /// It waits.
    Follow(Follow),
    /// There is no place: it asks for itself.
    Full,
}

impl Flights {
    const SHARDS: usize = 16;
    /// Beyond so many nothing is joined any more.
    const MOST: usize = 65_536;

    pub(super) fn new() -> Self {
        Self {
            random: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
        }
    }

    /// Joins the flight for `key`, or, with `leads`, begins one.
    pub(super) fn board(self: &Arc<Self>, key: &str, leads: bool, most_followers: usize) -> Boarding {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key) {
            let flight = flight.clone();
            drop(shard);
            return flight.follow(most_followers).map_or(Boarding::Full, Boarding::Follow);
        }
        if !leads || self.count.load(Ordering::Relaxed) >= Self::MOST {
            return Boarding::Full;
        }
        let key: Arc<str> = key.into();
        let flight = Arc::new(Flight::default());
        shard.insert(key.clone(), flight.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Boarding::Lead(Lead { flights: self.clone(), key, flight })
    }

    /// Begins a flight, if there is none.
    pub(super) fn lead(self: &Arc<Self>, key: &str) -> Option<Lead> {
        if self.shard(key).contains_key(key) {
            return None;
        }
        match self.board(key, true, 0) {
            Boarding::Lead(lead) => Some(lead),
            Boarding::Follow(_) | Boarding::Full => None,
        }
    }

    /// Lets nobody join the flight for `key` any more.
    pub(super) fn close(&self, key: &str) {
        if self.shard(key).remove(key).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn end(&self, key: &str, flight: &Arc<Flight>) {
        let mut shard = self.shard(key);
        if shard.get(key).is_some_and(|own| Arc::ptr_eq(own, flight)) {
            shard.remove(key);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Flight>>> {
        let shard = (self.random.hash_one(key) % Self::SHARDS as u64) as usize;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Flight(Mutex<State>);

#[derive(Default)]
struct State {
    landing: Option<Landing>,
    /// By the followers' numbers.
    waiting: Vec<Option<Waker>>,
    followers: usize,
}

impl Flight {
    fn follow(self: Arc<Self>, most: usize) -> Option<Follow> {
        let mut state = self.state();
        if state.followers >= most {
            return None;
        }
        state.followers += 1;
        drop(state);
        Some(Follow { flight: self, number: None })
    }

    fn land(&self, landing: Landing) {
        let woken = {
            let mut state = self.state();
            state.landing = Some(landing);
            std::mem::take(&mut state.waiting)
        };
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one that asks the origin. Dropped with nothing said, by a client that left or a panic, it lets another lead.
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: Arc<str>,
    flight: Arc<Flight>,
}

impl Lead {
    /// Shares the answer, when there is one. The flight goes on, and can be joined, until the lead is dropped.
    pub(super) fn sharing(&self) -> Sharing {
        Sharing(self.flight.clone())
    }

    /// There is nothing to share.
    pub(super) fn release(self) {
        self.flights.end(&self.key, &self.flight);
        self.flight.land(Landing::Alone);
    }
}

/// Tells the others of a flight the answer.
pub(super) struct Sharing(Arc<Flight>);

impl Sharing {
    pub(super) fn share(self, found: Found) {
        self.0.land(Landing::Found(found));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.end(&self.key, &self.flight);
        if self.flight.state().landing.is_none() {
            self.flight.land(Landing::Again);
        }
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Waits for the answer to another's request.
pub(super) struct Follow {
    flight: Arc<Flight>,
    number: Option<usize>,
}

impl Future for Follow {
    type Output = Landing;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Landing> {
        let mut state = self.flight.state();
        if let Some(landing) = &state.landing {
            return Poll::Ready(landing.clone());
        }
        let waker = Some(cx.waker().clone());
        let number = match self.number {
            Some(number) => {
                state.waiting[number] = waker;
                number
            }
            None => {
                state.waiting.push(waker);
                state.waiting.len() - 1
            }
        };
        drop(state);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.followers -= 1;
        let number = self.number;
        if let Some(waiting) = number.and_then(|number| state.waiting.get_mut(number)) {
            *waiting = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn follow(flights: &Arc<Flights>) -> Follow {
        match flights.board("k", true, 2) {
            Boarding::Follow(follow) => follow,
            Boarding::Lead(_) | Boarding::Full => panic!("there is a flight with room"),
        }
    }

    #[test]
    fn one_leads_and_the_others_follow_as_far_as_there_is_room() {
        let flights = Arc::new(Flights::new());
        let lead = flights.lead("k").unwrap();
        assert!(flights.lead("k").is_none() && flights.lead("other").is_some());
        let (one, two) = (follow(&flights), follow(&flights));
        assert!(matches!(flights.board("k", true, 2), Boarding::Full));
        drop(one);
        let three = follow(&flights);
        lead.release();
        assert!(matches!(two.now_or_never(), Some(Landing::Alone)));
        assert!(matches!(three.now_or_never(), Some(Landing::Alone)));
        assert_eq!(flights.count(), 0);
    }

    #[test]
    fn a_lead_that_is_dropped_lets_another_lead() {
        let flights = Arc::new(Flights::new());
        let lead = flights.lead("k").unwrap();
        let mut waiting = follow(&flights);
        assert!((&mut waiting).now_or_never().is_none());
        drop(lead);
        assert!(matches!(waiting.now_or_never(), Some(Landing::Again)));
        assert!(flights.lead("k").is_some());
    }

    #[test]
    fn a_flight_that_was_closed_is_not_ended_by_its_old_lead() {
        let flights = Arc::new(Flights::new());
        let old = flights.lead("k").unwrap();
        flights.close("k");
        let new = flights.lead("k").unwrap();
        drop(old);
        assert_eq!(flights.count(), 1);
        drop(new);
        assert_eq!(flights.count(), 0);
    }
}
