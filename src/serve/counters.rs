use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::drain::Drain;

/// A count that one worker writes and anyone reads.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn take_one(&self) -> u64 {
        self.0.fetch_sub(1, Relaxed) - 1
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counts. Each has its own, so that no cache line is shared on a request's way.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) open: Count,
    pub(super) accepted: Count,
    pub(super) refused: Count,
    pub(super) unopened: Count,
    pub(super) timed_out: Count,
    pub(super) panics: Count,
    pub(super) service_errors: Count,
    pub(super) drain: DrainState,
}

/// How far a worker is in stopping.
#[derive(Debug, Default)]
pub(super) struct DrainState {
    pub(super) draining: AtomicBool,
    pub(super) aborting: AtomicBool,
    /// Until when what is open may go on, once it is known: for what is no connection's own.
    pub(super) until: watch::Sender<Option<Instant>>,
    /// Told when what is left is to be cut, and may say a last word.
    pub(super) cut: Arc<Notify>,
    /// Told when the last connection has closed while draining.
    pub(super) emptied: Notify,
    pub(super) finished: Count,
    pub(super) aborted: Count,
}

impl DrainState {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub(super) fn is_aborting(&self) -> bool {
        self.aborting.load(Relaxed)
    }

    /// For what outlives its request.
    pub(super) fn watch(&self) -> Drain {
        Drain::new(self.until.subscribe())
    }
}

/// What a server has counted since it started, over all its workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeStats {
    /// Connections open now, upgraded ones included.
    pub open: u64,
    /// Connections accepted and served.
    pub accepted: u64,
    /// Connections closed at once because their client's address had too many, or because they came from elsewhere than
    /// the proxies that a listener is for.
    pub refused: u64,
    /// Connections that did not get as far as HTTP: the TLS handshake failed, or a header of the PROXY protocol was missing
    /// or malformed.
    pub unopened: u64,
    /// Connections closed because their client was too slow: a head, a body or an answer. Idle ones are not counted.
    pub timed_out: u64,
    /// Panics of the service or of a response body, each of which cost one connection.
    pub panics: u64,
    /// Errors of the service, each of which was answered with a 500.
    pub service_errors: u64,
}

impl ServeStats {
    pub(super) fn add(mut self, worker: &Counters) -> Self {
        self.open += worker.open.get();
        self.accepted += worker.accepted.get();
        self.refused += worker.refused.get();
        self.unopened += worker.unopened.get();
        self.timed_out += worker.timed_out.get();
        self.panics += worker.panics.get();
        self.service_errors += worker.service_errors.get();
        self
    }
}
