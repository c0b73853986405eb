//! Who may be in flight, and who waits.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::vegas::Vegas;
use crate::body::{BodyEnd, BodyGuard};

/// So many in flight, so many in line.
#[derive(Debug)]
pub(super) struct Limiter(Mutex<State>);

#[derive(Debug)]
struct State {
    mode: Mode,
    in_flight: usize,
    /// Those who gave up stand here until they are passed over.
    line: VecDeque<oneshot::Sender<Permit>>,
    /// How many have not given up.
    waiting: usize,
}

/// How the limit is found.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    Fixed(usize),
    Adaptive(Vegas),
}

/// Leave to be in flight, until it is dropped. It goes to the next in line then.
pub struct Permit {
    limiter: Option<Arc<Limiter>>,
    since: Instant,
}

/// A place in line. What was granted to it and not taken goes to the next when it is dropped.
pub(super) struct Place {
    limiter: Arc<Limiter>,
    turn: oneshot::Receiver<Permit>,
}

/// What becomes of a request.
pub(super) enum Entry {
    Admitted(Permit),
    Waits(Place),
    NoRoom,
}

impl Mode {
    fn limit(&self) -> usize {
        match self {
            Self::Fixed(limit) => *limit,
            Self::Adaptive(vegas) => vegas.limit(),
        }
    }
}

impl Limiter {
    pub(super) fn new(mode: Mode) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { mode, in_flight: 0, line: VecDeque::new(), waiting: 0 })))
    }

    /// In flight at once, or in line where fewer than `queue` are.
    pub(super) fn enter(self: &Arc<Self>, queue: usize) -> Entry {
        let mut state = self.state();
        if state.in_flight < state.mode.limit() {
            state.in_flight += 1;
            drop(state);
            return Entry::Admitted(self.permit());
        }
        if state.waiting >= queue {
            return Entry::NoRoom;
        }
        if state.line.len() > 2 * state.waiting + 16 {
            // Those who gave up are mostly passed over when their turn comes; here it does not come.
            state.line.retain(|turn| !turn.is_closed());
        }
        let (sender, turn) = oneshot::channel();
        state.line.push_back(sender);
        state.waiting += 1;
        drop(state);
        Entry::Waits(Place { limiter: self.clone(), turn })
    }

    /// From now on the limit is found in another way. What an adaptive one has learned stays where that is the same.
    pub(super) fn reconfigure(self: &Arc<Self>, mode: Mode, same: bool) {
        if !same {
            self.state().mode = mode;
        }
        self.serve_line();
    }

    pub(super) fn limit(&self) -> usize {
        self.state().mode.limit()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn permit(self: &Arc<Self>) -> Permit {
        Permit { limiter: Some(self.clone()), since: Instant::now() }
    }

    fn leave(self: &Arc<Self>) {
        self.state().in_flight -= 1;
        self.serve_line();
    }

    /// Lets in as many as there is room for, in the order of the line.
    fn serve_line(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            if state.in_flight >= state.mode.limit() {
                return;
            }
            let Some(next) = state.line.pop_front() else { return };
            state.in_flight += 1;
            drop(state);
            if let Err(mut permit) = next.send(self.permit()) {
                // That one has given up. The permit is put back here, and not where it is dropped, which would serve the
                // line from within.
                permit.limiter = None;
                self.state().in_flight -= 1;
            }
        }
    }

    fn learn(self: &Arc<Self>, outcome: impl FnOnce(&mut Vegas, usize)) {
        let mut state = self.state();
        let in_flight = state.in_flight;
        let Mode::Adaptive(vegas) = &mut state.mode else { return };
        let before = vegas.limit();
        outcome(vegas, in_flight);
        let grown = vegas.limit() > before;
        drop(state);
        if grown {
            self.serve_line();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The head of the answer has come.
    pub(super) fn answered(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.learn(|vegas, in_flight| vegas.answered(self.since.elapsed(), in_flight));
        }
    }

    /// It did not come, or said that there were too many.
    pub(super) fn overloaded(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.learn(|vegas, _| vegas.overloaded());
        }
    }

    /// How long it is held.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

/// Without one, nothing is held.
impl BodyGuard for Option<Permit> {
    fn ended(self, _: BodyEnd) {}
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.limiter.take() {
            limiter.leave();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("age", &self.age()).finish_non_exhaustive()
    }
}

impl Place {
    /// The permit, when its turn has come.
    pub(super) fn poll_turn(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Permit>> {
        std::pin::Pin::new(&mut self.turn).poll(cx).map(Result::ok)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limiter.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    fn admitted(entry: Entry) -> Permit {
        match entry {
            Entry::Admitted(permit) => permit,
            _ => panic!("not admitted"),
        }
    }

    fn waits(entry: Entry) -> Place {
        match entry {
            Entry::Waits(place) => place,
            _ => panic!("not in line"),
        }
    }

    fn turn(place: &mut Place) -> Option<Permit> {
        poll_fn(|cx| place.poll_turn(cx)).now_or_never().flatten()
    }

    #[test]
    fn so_many_are_in_flight_so_many_wait_and_the_rest_has_no_room() {
        let limiter = Limiter::new(Mode::Fixed(1));
        let first = admitted(limiter.enter(2));
        let (mut second, mut third) = (waits(limiter.enter(2)), waits(limiter.enter(2)));
        assert!(matches!(limiter.enter(2), Entry::NoRoom));
        drop(first);
        assert!(turn(&mut third).is_none(), "whoever came first is first");
        let permit = turn(&mut second).unwrap();
        drop(second);
        assert_eq!((limiter.in_flight(), limiter.waiting()), (1, 1));
        drop(permit);
        assert!(turn(&mut third).is_some());
    }

    #[test]
    fn whoever_gives_up_is_passed_over_and_gives_back_what_it_was_granted() {
        let limiter = Limiter::new(Mode::Fixed(1));
        let first = admitted(limiter.enter(9));
        let (gave_up, granted, mut next) = (waits(limiter.enter(9)), waits(limiter.enter(9)), waits(limiter.enter(9)));
        drop(gave_up);
        drop(first);
        drop(granted);
        assert!(turn(&mut next).is_some());
        drop(next);
        assert_eq!((limiter.in_flight(), limiter.waiting()), (0, 0));
    }

    #[test]
    fn a_thousand_that_gave_up_are_forgotten() {
        let limiter = Limiter::new(Mode::Fixed(1));
        let _first = admitted(limiter.enter(1));
        (0..1000).for_each(|_| drop(waits(limiter.enter(1))));
        assert!(limiter.state().line.len() < 64);
    }

    #[test]
    fn a_higher_limit_lets_in_who_waits() {
        let limiter = Limiter::new(Mode::Fixed(1));
        let _first = admitted(limiter.enter(9));
        let mut second = waits(limiter.enter(9));
        limiter.reconfigure(Mode::Fixed(2), false);
        assert!(turn(&mut second).is_some());
    }

    #[test]
    fn under_threads_there_are_never_more_than_the_limit_and_none_is_lost() {
        let limiter = Limiter::new(Mode::Fixed(3));
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (limiter, inside, most) = (&limiter, &inside, &most);
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let permit = match limiter.enter(4) {
                            Entry::Admitted(permit) => Some(permit),
                            // Every other one does not wait for its turn.
                            Entry::Waits(_) if (round + thread) % 2 == 0 => None,
                            Entry::Waits(mut place) => loop {
                                match poll_fn(|cx| place.poll_turn(cx)).now_or_never() {
                                    Some(permit) => break permit,
                                    None => std::thread::yield_now(),
                                }
                            },
                            Entry::NoRoom => None,
                        };
                        if permit.is_some() {
                            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(most.into_inner() <= 3);
        assert_eq!((limiter.in_flight(), limiter.waiting()), (0, 0));
    }
}
