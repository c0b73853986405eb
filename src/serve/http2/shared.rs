use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::task::AtomicWaker;

use super::exchange::Exchange;
use super::frames::Frames;

/// What the parts of one HTTP/2 connection tell its task.
///
/// All of them run on one thread, but for what a service has moved to another; so these are plain loads and stores.
#[derive(Debug, Default)]
pub(super) struct Shared {
    open: AtomicUsize,
    /// Requests that their client gave up before there was an answer.
    given_up: AtomicU64,
    useful: AtomicU64,
    idle: AtomicU64,
    /// Reads that brought something.
    reads: AtomicU64,
    is_within: AtomicBool,
    has_ended: AtomicBool,
    task: AtomicWaker,
    /// The server waits no longer for what is not whole.
    is_cut: AtomicBool,
    /// Answers that go on for longer than it takes to send what is there: those that would not see by themselves that they are
    /// cut.
    lasting: Mutex<Vec<Weak<Exchange>>>,
}

impl Shared {
    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.task.register(waker);
    }

    /// A request, until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Relaxed);
        Open(self.clone())
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(super) fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }

    pub(super) fn received(&self, frames: Frames, is_within: bool) {
        self.reads.fetch_add(1, Relaxed);
        self.useful.fetch_add(frames.useful.into(), Relaxed);
        self.idle.fetch_add(frames.idle.into(), Relaxed);
        self.is_within.store(is_within, Relaxed);
    }

    /// The frames since the last look: those that were of use, in either direction, and those that were not.
    pub(super) fn take_frames(&self) -> (u64, u64) {
        (self.useful.swap(0, Relaxed), self.idle.swap(0, Relaxed))
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }

    /// A frame of the client's is there in part.
    pub(super) fn is_within(&self) -> bool {
        self.is_within.load(Relaxed)
    }

    /// This side has said its last word.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Relaxed)
    }

    /// Resets what goes on, and has the connection look again when that is done. False when it was cut before.
    pub(super) fn cut(&self) -> bool {
        if self.is_cut.swap(true, Relaxed) {
            return false;
        }
        self.lasting().drain(..).filter_map(|lasting| lasting.upgrade()).for_each(|lasting| lasting.wake());
        self.task.wake();
        true
    }

    fn lasting(&self) -> MutexGuard<'_, Vec<Weak<Exchange>>> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Open(Arc<Shared>);

impl Open {
    /// What the request becomes counts as well.
    pub(super) fn again(&self) -> Self {
        self.0.enter()
    }

    pub(super) fn sent_data(&self) {
        self.0.useful.fetch_add(1, Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.0.is_cut.load(Relaxed)
    }

    /// The answer of this exchange goes on.
    pub(super) fn lasts(&self, exchange: &Arc<Exchange>) {
        let mut lasting = self.0.lasting();
        if lasting.len() > 2 * self.0.open() {
            lasting.retain(|lasting| lasting.strong_count() > 0);
        }
        lasting.push(Arc::downgrade(exchange));
    }

    pub(super) fn was_given_up(&self) {
        self.0.given_up.fetch_add(1, Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        // The time without requests begins.
        self.0.task.wake();
    }
}
