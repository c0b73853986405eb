use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};

use crate::context::InterimQueue;

/// So many interim answers may wait for their task to come round. Nobody relies on them.
const MAX_WAITING: usize = 32;

/// One request and its answer: what its parts tell the task that sends the answer.
#[derive(Debug, Default)]
pub(in crate::serve) struct Exchange {
    interim: Mutex<Interim>,
    task: AtomicWaker,
}

#[derive(Debug, Default)]
struct Interim {
    /// The final answer has begun.
    closed: bool,
    waiting: Vec<(StatusCode, HeaderMap)>,
}

impl Exchange {
    pub(super) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Something has changed that the task has to see.
    pub(super) fn wake(&self) {
        self.task.wake();
    }

    /// The service waits for the body of a client that waits to be told to send it (RFC 9110 section 10.1.1).
    pub(in crate::serve) fn go_on(&self) {
        self.push_any(StatusCode::CONTINUE, HeaderMap::new());
    }

    /// The interim answers that wait.
    pub(super) fn take_interim(&self) -> Vec<(StatusCode, HeaderMap)> {
        std::mem::take(&mut self.interim().waiting)
    }

    /// The same, and no more are taken.
    pub(super) fn close_interim(&self) -> Vec<(StatusCode, HeaderMap)> {
        let mut interim = self.interim();
        interim.closed = true;
        std::mem::take(&mut interim.waiting)
    }

    fn push_any(&self, status: StatusCode, headers: HeaderMap) -> bool {
        let mut interim = self.interim();
        if interim.closed || interim.waiting.len() >= MAX_WAITING {
            return false;
        }
        interim.waiting.push((status, headers));
        drop(interim);
        self.task.wake();
        true
    }

    /// A panic elsewhere cannot leave it half written.
    fn interim(&self) -> MutexGuard<'_, Interim> {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InterimQueue for Exchange {
    fn push(&self, _: u64, status: StatusCode, headers: &HeaderMap) -> bool {
        self.push_any(status, headers.clone())
    }
}

/// What a request's context takes interim answers with.
pub(super) fn sink(exchange: &Arc<Exchange>) -> crate::InterimSink {
    crate::InterimSink::new(exchange.clone(), 0)
}
