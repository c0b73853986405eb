use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use super::counters::Counters;

/// What the parts of one connection, or of one stream of HTTP/2, tell each other: the socket, the request body and the task
/// that drives them.
///
/// All of them run in that one task, but for a request body that the service has moved to another; so these are plain
/// loads and stores, and the body wakes the task when it has something to tell.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The last write found the socket full.
    write_blocked: AtomicBool,
    /// The client took bytes since the last look.
    wrote: AtomicBool,
    /// The service holds a request body that has not ended.
    body_open: AtomicBool,
    /// The service waits for a piece of it.
    body_wanted: AtomicBool,
    /// The task waits for the end of it.
    body_end_awaited: AtomicBool,
    /// Body bytes of this request that the service was given.
    body_bytes: AtomicU64,
    /// Reads fail from now on: the body came too slowly.
    body_too_slow: AtomicBool,
    /// Whoever waits for a piece of a body that nothing but this wakes: an HTTP/2 stream's.
    body_waker: AtomicWaker,
    /// Nothing more can be read from this connection: it closes after the answer.
    must_close: AtomicBool,
    /// What was written may not have arrived, and the client is not to take the end for a whole answer.
    resets_when_closed: AtomicBool,
    /// A drain has to report what becomes of it: it was serving a request when that began, or is a tunnel.
    matters_to_drain: AtomicBool,
    task: OnceLock<Waker>,
    counters: Arc<Counters>,
}

/// The signals that deadlines follow from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// A request was handed to the service, and its answer has not ended.
    pub(super) serving: bool,
    /// A request was handed to the service since the last look.
    pub(super) served: bool,
    /// Bytes came that belong to no request so far: a head has begun.
    pub(super) head_begun: bool,
    pub(super) write_blocked: bool,
    pub(super) wrote: bool,
    /// The client has closed its sending side, and its answer is not there yet.
    pub(super) eof_held: bool,
    pub(super) body_wanted: bool,
    pub(super) body_bytes: u64,
}

impl Signals {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, ..Self::default() }
    }

    /// The worker's, which every part of a connection may have something to add to.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn shared_counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Reads what the socket and the body have to tell, and takes back what says "since the last look".
    pub(super) fn look(&self) -> Seen {
        let seen = Seen {
            // An upload may outlast its answer, and is no less a request for it.
            serving: self.body_open.load(Relaxed),
            write_blocked: self.write_blocked.load(Relaxed),
            wrote: self.wrote.load(Relaxed),
            body_wanted: self.body_wanted.load(Relaxed),
            body_bytes: self.body_bytes.load(Relaxed),
            ..Seen::default()
        };
        self.wrote.store(false, Relaxed);
        seen
    }

    // === The socket ===

    pub(super) fn write_finished(&self, blocked: bool) {
        self.write_blocked.store(blocked, Relaxed);
        if !blocked {
            self.wrote.store(true, Relaxed);
        }
    }

    /// What was written before is on its way: whether all of it has gone, and whether any of it has just now.
    pub(super) fn flushed(&self, blocked: bool, progressed: bool) {
        self.write_blocked.store(blocked, Relaxed);
        if progressed {
            self.wrote.store(true, Relaxed);
        }
    }

    pub(super) fn reset_when_closed(&self) {
        self.resets_when_closed.store(true, Relaxed);
    }

    pub(super) fn resets_when_closed(&self) -> bool {
        self.resets_when_closed.load(Relaxed)
    }

    pub(super) fn close_after_answer(&self) {
        self.must_close.store(true, Relaxed);
    }

    pub(super) fn must_close(&self) -> bool {
        self.must_close.load(Relaxed)
    }

    // === The request body ===

    /// A request body is handed to the service.
    pub(super) fn body_began(&self) {
        self.body_open.store(true, Relaxed);
        self.body_wanted.store(false, Relaxed);
        self.body_bytes.store(0, Relaxed);
    }

    /// The service holds a request body that has not ended.
    pub(super) fn body_is_open(&self) -> bool {
        self.body_open.load(Relaxed)
    }

    /// The service waits for a piece. `waker` is the service's: where that is not the connection's own task, the task is
    /// woken to keep the time.
    pub(super) fn body_waits(&self, waker: &Waker) {
        if self.body_wanted.load(Relaxed) {
            return;
        }
        self.body_wanted.store(true, Relaxed);
        if let Some(task) = self.task.get()
            && !task.will_wake(waker)
        {
            task.wake_by_ref();
        }
    }

    pub(super) fn body_arrived(&self, bytes_so_far: u64) {
        self.body_wanted.store(false, Relaxed);
        self.body_bytes.store(bytes_so_far, Relaxed);
    }

    /// An answer may be over before its request body, and what comes next waits for that.
    pub(super) fn body_end_is_awaited(&self) {
        self.body_end_awaited.store(true, Relaxed);
    }

    pub(super) fn body_ended(&self) {
        self.body_open.store(false, Relaxed);
        self.body_wanted.store(false, Relaxed);
        if self.body_end_awaited.load(Relaxed)
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }

    pub(super) fn fail_body(&self) {
        self.body_too_slow.store(true, Relaxed);
        self.close_after_answer();
        self.body_waker.wake();
    }

    /// `waker` is to be woken when the body [fails](Self::fail_body).
    pub(super) fn register_body(&self, waker: &Waker) {
        self.body_waker.register(waker);
    }

    pub(super) fn body_is_too_slow(&self) -> bool {
        self.body_too_slow.load(Relaxed)
    }

    // === The task ===

    /// Remembers the task, whose waker stays the same for as long as it lives.
    pub(super) fn set_task(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    pub(super) fn report_to_drain(&self) {
        self.matters_to_drain.store(true, Relaxed);
    }

    pub(super) fn matters_to_drain(&self) -> bool {
        self.matters_to_drain.load(Relaxed)
    }
}
