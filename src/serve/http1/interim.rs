//! Interim answers on their way to the client (RFC 9110 section 15.2), from whoever has one to the task that may write it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use http::{HeaderMap, StatusCode};

use super::encode::write_interim;
use crate::context::InterimQueue;

/// How many bytes may wait for a client that does not take them. Beyond that, interim answers are dropped.
const MAX_WAITING: usize = 64 << 10;

/// Interim answers to the current request are taken.
const OPEN: u64 = 1;
/// There are some in the queue.
const WAITING: u64 = 2;
/// What the number of the current request is multiplied by.
const NUMBER: u64 = 4;

/// The interim answers of one connection. The connection's task opens, closes and takes them; a service may push from any
/// thread. Without an interim answer it costs a request a few atomic operations and no memory.
#[derive(Debug, Default)]
pub(super) struct Interim {
    /// The number of the current request and two flags, in one word, so that whoever pushes learns in one step whether it
    /// was in time. `WAITING` changes only while the queue is locked.
    state: AtomicU64,
    queue: Mutex<Vec<u8>>,
    task: OnceLock<Waker>,
}

impl Interim {
    /// Whom to wake for an interim answer.
    pub(super) fn set_task(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    /// A request has begun; its number. Interim answers to it are taken from now on if it is one for them.
    pub(super) fn begin(&self, takes_them: bool) -> u64 {
        // Nobody else writes while it is not open, and `close` has been called, or nothing was begun.
        let number = self.state.load(Ordering::Relaxed) / NUMBER + 1;
        self.state.store(number * NUMBER + if takes_them { OPEN } else { 0 }, Ordering::Release);
        number
    }

    /// True when there are some for the client.
    pub(super) fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) & WAITING != 0
    }

    /// Moves what is queued behind `out`.
    pub(super) fn take(&self, out: &mut Vec<u8>) {
        let mut queue = self.queue();
        out.append(&mut queue);
        self.state.fetch_and(!WAITING, Ordering::AcqRel);
    }

    /// The final answer begins: nothing is taken any more. True when some are queued, which go out before it.
    pub(super) fn close(&self) -> bool {
        self.state.fetch_and(!OPEN, Ordering::AcqRel) & WAITING != 0
    }

    /// A panic elsewhere cannot leave half a head: it is taken back, or whole.
    fn queue(&self) -> MutexGuard<'_, Vec<u8>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InterimQueue for Interim {
    fn push(&self, request: u64, status: StatusCode, headers: &HeaderMap) -> bool {
        let mut queue = self.queue();
        let state = self.state.load(Ordering::Acquire);
        if state & OPEN == 0 || state / NUMBER != request {
            return false;
        }
        let length = queue.len();
        write_interim(&mut queue, status, headers);
        // The task may have gone on meanwhile.
        let taken = queue.len() <= MAX_WAITING
            && self.state.compare_exchange(state, state | WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !taken {
            queue.truncate(length);
        } else if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

    fn push(interim: &Interim, request: u64) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a>"));
        interim.push(request, StatusCode::EARLY_HINTS, &headers)
    }

    fn taken(interim: &Interim) -> String {
        let mut bytes = Vec::new();
        interim.take(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn interim_answers_go_out_whole_and_in_order() {
        let interim = Interim::default();
        let request = interim.begin(true);
        assert!(!interim.is_waiting());
        assert!(push(&interim, request) && push(&interim, request));
        assert!(interim.push(request, StatusCode::PROCESSING, &HeaderMap::new()));
        assert!(interim.is_waiting());
        assert_eq!(taken(&interim), format!("{HINT}{HINT}HTTP/1.1 102 Processing\r\n\r\n"));
        assert!(!interim.is_waiting());
    }

    #[test]
    fn those_of_another_request_or_after_its_answer_has_begun_are_dropped() {
        let interim = Interim::default();
        assert!(!push(&interim, 0));
        let first = interim.begin(true);
        assert!(push(&interim, first));
        assert!(interim.close());
        assert_eq!(taken(&interim), HINT);
        assert!(!push(&interim, first));
        let second = interim.begin(true);
        assert_ne!(first, second);
        assert!(!push(&interim, first));
        assert!(push(&interim, second));
        assert_eq!(taken(&interim), HINT);
        assert!(!interim.close());
        let old = interim.begin(false);
        assert!(!push(&interim, old) && !interim.is_waiting());
    }

    #[test]
    fn only_so_much_waits() {
        let interim = Interim::default();
        let request = interim.begin(true);
        let pushed = (0..10_000).take_while(|_| push(&interim, request)).count();
        assert_eq!(pushed, MAX_WAITING / HINT.len());
        assert_eq!(taken(&interim), HINT.repeat(pushed));
        assert!(push(&interim, request));
    }
}
