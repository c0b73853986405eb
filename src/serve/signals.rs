use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;

use super::counters::Counters;
use super::interim::Interim;
use crate::context::InterimQueue;

/// What the parts of one connection tell each other: the socket, the service's adapter, the bodies and the task that
/// drives them.
///
/// All of them run in that one task, but for a request body that the service has moved to another; so these are plain
/// loads and stores, and the body wakes the task when it has something to tell.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// A request was handed to the service, and its answer has not ended.
    serving: AtomicBool,
    /// A request was handed to the service since the last [`look`](Self::look).
    served: AtomicBool,
    /// Bytes came that belong to no request so far: a head has begun.
    head_begun: AtomicBool,
    /// The last write found the socket full.
    write_blocked: AtomicBool,
    /// The client took bytes since the last look.
    wrote: AtomicBool,
    /// The client has closed its sending side, and hyper was not told.
    eof_held: AtomicBool,
    eof_released: AtomicBool,
    /// The first request, counted from 0, whose framing is in doubt; `u64::MAX` when there is none.
    doubtful_from: AtomicU64,
    /// The connection began as HTTP/2 does.
    is_http2: AtomicBool,
    /// The protocol was switched.
    is_tunnel: AtomicBool,
    /// Requests that were handed to the service so far.
    requests: AtomicU64,
    /// The service holds a request body that has not ended.
    body_open: AtomicBool,
    /// The service waits for a piece of it.
    body_wanted: AtomicBool,
    /// Body bytes of this request that the service was given.
    body_bytes: AtomicU64,
    /// Reads fail from now on: the body came too slowly.
    body_too_slow: AtomicBool,
    /// Whoever waits for a piece of a body that nothing but this wakes: an HTTP/2 stream's.
    body_waker: AtomicWaker,
    /// Nothing more can be read from this connection: it closes after the answer.
    must_close: AtomicBool,
    /// Part of a request may never be read.
    unread_input: AtomicBool,
    /// The end of this answer is the end of the connection, and nothing else shows whether it is whole.
    ends_with_connection: AtomicBool,
    /// The answer was given up before its end.
    answer_cut: AtomicBool,
    /// A drain has to report what becomes of it: it was serving a request when that began, or is a tunnel.
    matters_to_drain: AtomicBool,
    interim: Interim,
    /// The last upgrade that a request asked for and was not granted.
    upgrade: Mutex<Option<OnUpgrade>>,
    task: OnceLock<Waker>,
    counters: Arc<Counters>,
}

/// The signals that deadlines follow from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) serving: bool,
    pub(super) served: bool,
    pub(super) head_begun: bool,
    pub(super) write_blocked: bool,
    pub(super) wrote: bool,
    pub(super) eof_held: bool,
    pub(super) body_wanted: bool,
    pub(super) body_bytes: u64,
}

impl Signals {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, doubtful_from: AtomicU64::new(u64::MAX), ..Self::default() }
    }

    /// The worker's, which every part of a connection may have something to add to.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn shared_counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Reads the signals, and takes back those that say "since the last look".
    pub(super) fn look(&self) -> Seen {
        let seen = Seen {
            // An upload may outlast its answer, and is no less a request for it.
            serving: self.serving.load(Relaxed) || self.body_open.load(Relaxed),
            served: self.served.load(Relaxed),
            head_begun: self.head_begun.load(Relaxed),
            write_blocked: self.write_blocked.load(Relaxed),
            wrote: self.wrote.load(Relaxed),
            eof_held: self.holds_eof(),
            body_wanted: self.body_wanted.load(Relaxed),
            body_bytes: self.body_bytes.load(Relaxed),
        };
        self.served.store(false, Relaxed);
        self.wrote.store(false, Relaxed);
        seen
    }

    // === The socket ===

    pub(super) fn interim(&self) -> &Interim {
        &self.interim
    }

    pub(super) fn bytes_arrived(&self) {
        self.head_begun.store(true, Relaxed);
    }

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

    /// The client closed its sending side. True when that is to be kept from hyper for now.
    pub(super) fn hold_eof(&self) -> bool {
        let hold = self.is_serving() && !self.eof_released.load(Relaxed);
        self.eof_held.store(hold, Relaxed);
        hold
    }

    pub(super) fn holds_eof(&self) -> bool {
        self.eof_held.load(Relaxed) && !self.eof_released.load(Relaxed)
    }

    pub(super) fn release_eof(&self) {
        self.eof_released.store(true, Relaxed);
    }

    /// The framing of this request, counted from 0, and of those after it is in doubt.
    pub(super) fn doubt_framing_from(&self, request: u64) {
        self.doubtful_from.store(request, Relaxed);
    }

    /// The preface of HTTP/2 is there: messages begin and end elsewhere from now on.
    pub(super) fn preface_came(&self) {
        self.is_http2.store(true, Relaxed);
        self.is_tunnel.store(true, Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// The connection speaks no HTTP/1.1, or no more.
    pub(super) fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Relaxed)
    }

    // === The service ===

    /// The number by which interim answers to the request are known.
    pub(super) fn request_began(&self, with_body: bool, takes_interim: bool) -> u64 {
        self.requests.store(self.requests.load(Relaxed) + 1, Relaxed);
        self.serving.store(true, Relaxed);
        self.served.store(true, Relaxed);
        self.head_begun.store(false, Relaxed);
        self.unread_input.store(false, Relaxed);
        self.body_open.store(with_body, Relaxed);
        self.body_wanted.store(false, Relaxed);
        self.body_bytes.store(0, Relaxed);
        self.interim.begin(takes_interim)
    }

    /// True when it cannot be told where this request ends, or not in one way.
    pub(super) fn framing_is_in_doubt(&self) -> bool {
        self.requests.load(Relaxed) > self.doubtful_from.load(Relaxed)
    }

    pub(super) fn answer_began(&self, ends_with_connection: bool) {
        self.ends_with_connection.store(ends_with_connection, Relaxed);
        self.interim.close();
    }

    /// A request asks to leave HTTP.
    pub(super) fn upgrade_offered(&self, upgrade: &OnUpgrade) {
        *self.upgrade() = Some(upgrade.clone());
    }

    /// HTTP ends here, and a drain has to report what becomes of the tunnel.
    pub(super) fn upgraded(&self) {
        self.is_tunnel.store(true, Relaxed);
        drop(self.take_upgrade());
        self.report_to_drain();
    }

    /// Who ends a connection takes it: when hyper gives up the socket it is in there, and holds these signals.
    pub(super) fn take_upgrade(&self) -> Option<OnUpgrade> {
        self.upgrade().take()
    }

    fn upgrade(&self) -> MutexGuard<'_, Option<OnUpgrade>> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answer_ended(&self, complete: bool) {
        self.serving.store(false, Relaxed);
        self.answer_cut.store(!complete, Relaxed);
        // Whatever came meanwhile was the body of this request, or a request that hyper takes up at once.
        self.head_begun.store(false, Relaxed);
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.load(Relaxed)
    }

    /// Closing the connection now could be taken for the end of a whole answer (RFC 9112 section 6.3, item 8).
    pub(super) fn close_would_mislead(&self) -> bool {
        self.ends_with_connection.load(Relaxed) && (self.is_serving() || self.answer_cut.load(Relaxed))
    }

    /// What was written may not have arrived, and the client is not to take the end for a whole answer.
    pub(super) fn reset_when_closed(&self) {
        self.ends_with_connection.store(true, Relaxed);
        self.answer_cut.store(true, Relaxed);
    }

    /// The service holds a request body that has not ended.
    pub(super) fn body_is_open(&self) -> bool {
        self.body_open.load(Relaxed)
    }

    pub(super) fn close_after_answer(&self) {
        self.must_close.store(true, Relaxed);
    }

    pub(super) fn must_close(&self) -> bool {
        self.must_close.load(Relaxed)
    }

    // === The request body ===

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

    pub(super) fn body_ended(&self, complete: bool) {
        self.body_open.store(false, Relaxed);
        self.body_wanted.store(false, Relaxed);
        self.unread_input.store(!complete, Relaxed);
        if !self.is_serving() {
            self.head_begun.store(false, Relaxed);
            // An answer was over before; its HTTP/2 stream has waited for this.
            if let Some(task) = self.task.get() {
                task.wake_by_ref();
            }
        }
    }

    /// The body of an HTTP/2 stream is handed to the service.
    pub(super) fn body_began(&self) {
        self.body_open.store(true, Relaxed);
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

    pub(super) fn has_unread_input(&self) -> bool {
        self.unread_input.load(Relaxed)
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

impl InterimQueue for Signals {
    fn push(&self, request: u64, status: StatusCode, headers: &HeaderMap) -> bool {
        let taken = self.interim.push(request, status, headers);
        if taken && let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
        taken
    }
}
