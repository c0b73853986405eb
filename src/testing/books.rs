//! The books of the inner service: its script, its permits and who waits for them, and what is still alive.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Rule;
use super::origin::{FOREVER, Outcome, Script};
use super::transcript::Moment;

/// What the case that runs can ask and change, however deep under a layer the service itself is.
#[derive(Clone, Debug)]
pub(super) struct Books(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    script: Script,
    free: usize,
    reserved: usize,
    calls: usize,
    live: usize,
    instances: usize,
    /// Instances that wait for a permit, first come first served.
    queue: VecDeque<(usize, Waker)>,
    /// Instances that have been given one and do not know yet.
    granted: Vec<usize>,
    /// Those who wait for the script to change.
    audience: Vec<Waker>,
    request_body: Option<Vec<Moment>>,
    breach: Breach,
}

/// The first fault seen from inside, shared by all the origins of a case.
pub(super) type Breach = Arc<Mutex<Option<(Rule, String)>>>;

impl Books {
    pub(super) fn new(script: Script, permits: usize, breach: Breach) -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            script,
            free: permits,
            reserved: 0,
            calls: 0,
            live: 0,
            instances: 0,
            queue: VecDeque::new(),
            granted: Vec::new(),
            audience: Vec::new(),
            request_body: None,
            breach,
        })))
    }

    /// The number of one more instance.
    pub(super) fn enter(&self) -> usize {
        let mut ledger = self.ledger();
        ledger.instances += 1;
        ledger.instances
    }

    /// Takes an instance out of the queue, and its permit back if it was given one.
    pub(super) fn leave(&self, instance: usize) {
        self.ledger().leave(instance);
    }

    /// Changes the script, and wakes whoever waits for that.
    pub(super) fn play(&self, change: impl FnOnce(&mut Script)) {
        let mut ledger = self.ledger();
        change(&mut ledger.script);
        ledger.audience.drain(..).for_each(Waker::wake);
    }

    pub(super) fn add_permit(&self) {
        self.ledger().release();
    }

    pub(super) fn free(&self) -> usize {
        self.ledger().free
    }

    /// Instances that are ready and have not been called.
    pub(super) fn reserved(&self) -> usize {
        self.ledger().reserved
    }

    pub(super) fn calls(&self) -> usize {
        self.ledger().calls
    }

    /// Futures and bodies that have not been dropped.
    pub(super) fn live(&self) -> usize {
        self.ledger().live
    }

    /// What the last request's body was, once it was read, which is when the work on an answer begins.
    pub(super) fn take_request_body(&self) -> Option<Vec<Moment>> {
        self.ledger().request_body.take()
    }

    pub(super) fn breach(&self, rule: Rule, detail: &str) {
        let breach = self.ledger().breach.clone();
        breach.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| (rule, detail.to_owned()));
    }

    pub(super) fn live_token(&self) -> Live {
        self.ledger().live += 1;
        Live(self.clone())
    }

    pub(super) fn record_call(&self) {
        self.ledger().calls += 1;
    }

    pub(super) fn record_request_body(&self, body: Vec<Moment>) {
        self.ledger().request_body = Some(body);
    }

    pub(super) fn script(&self) -> Script {
        self.ledger().script
    }

    pub(super) fn reserve(&self, instance: usize, cx: &mut Context<'_>) -> Poll<Permit> {
        let mut ledger = self.ledger();
        if let Some(granted) = ledger.granted.iter().position(|one| *one == instance) {
            ledger.granted.swap_remove(granted);
        } else if ledger.free > 0 {
            ledger.free -= 1;
        } else {
            ledger.queue_up(instance, cx.waker());
            return Poll::Pending;
        }
        ledger.reserved += 1;
        Poll::Ready(Permit { books: self.clone(), called: false })
    }

    /// Pending until it was polled more often than the script says.
    pub(super) fn poll_pending(
        &self,
        polled: &mut usize,
        times: impl Fn(&Script) -> (usize, Outcome),
        cx: &mut Context<'_>,
    ) -> Poll<Outcome> {
        let mut ledger = self.ledger();
        let (pending, outcome) = times(&ledger.script);
        if *polled >= pending {
            return Poll::Ready(outcome);
        }
        *polled += 1;
        match pending {
            FOREVER => ledger.audience.push(cx.waker().clone()),
            _ => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn release(&mut self) {
        match self.queue.pop_front() {
            None => self.free += 1,
            Some((instance, waker)) => {
                self.granted.push(instance);
                waker.wake();
            }
        }
    }

    fn queue_up(&mut self, instance: usize, waker: &Waker) {
        match self.queue.iter_mut().find(|(one, _)| *one == instance) {
            Some((_, waiting)) => waiting.clone_from(waker),
            None => self.queue.push_back((instance, waker.clone())),
        }
    }

    fn leave(&mut self, instance: usize) {
        self.queue.retain(|(one, _)| *one != instance);
        if let Some(granted) = self.granted.iter().position(|one| *one == instance) {
            self.granted.swap_remove(granted);
            self.release();
        }
    }
}

/// One request's place in the inner service, from its readiness to the end of its call.
#[derive(Debug)]
pub(super) struct Permit {
    books: Books,
    called: bool,
}

impl Permit {
    pub(super) fn called(mut self) -> Self {
        self.called = true;
        self.books.ledger().reserved -= 1;
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut ledger = self.books.ledger();
        ledger.reserved -= usize::from(!self.called);
        ledger.release();
    }
}

/// Counts a future or body from its making to its drop.
#[derive(Debug)]
pub(super) struct Live(Books);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.ledger().live -= 1;
    }
}
