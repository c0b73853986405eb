//! Interim answers on their way to the client (RFC 9110 section 15.2). hyper's server has no way to send them, so they go
//! past it: from a queue that the socket writes out where an answer may begin, and nowhere else.
//!
//! Where that is follows from how hyper writes. It calls the service for a request when the answer before is in its buffer
//! whole, and flushes the socket when that buffer is empty. So after a flush, and before the next byte of hyper's, the
//! stream is between two messages; and what may be queued there is for a request whose final answer hyper does not have
//! yet. Where hyper still holds a piece of the answer before, interim answers are dropped: nobody relies on them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWrite;

/// How many bytes may wait for a client that does not take them. Beyond that, interim answers are dropped.
const MAX_WAITING: usize = 64 << 10;

/// Interim answers to the current request are taken.
const OPEN: u64 = 1;
/// There are some in the queue.
const WAITING: u64 = 2;
/// hyper has bytes that it has not written out.
const WRITING: u64 = 4;
/// What the number of the current request is multiplied by.
const NUMBER: u64 = 8;

/// The interim answers of one connection. The connection's task opens, closes and writes it; a service may push from any
/// thread. Without an interim answer it costs a request a few atomic operations and no memory.
#[derive(Debug, Default)]
pub(super) struct Interim {
    /// The number of the current request and three flags, in one word, so that whoever pushes learns in one step whether it
    /// was in time. `WAITING` changes only while the queue is locked.
    state: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    written: usize,
}

impl Interim {
    /// A request has begun; its number. Interim answers to it are taken from now on if it is one for them.
    pub(super) fn begin(&self, takes_them: bool) -> u64 {
        let next = |state: u64| (state / NUMBER + 1) * NUMBER + if takes_them { OPEN } else { 0 };
        // Of the answer before this one a part may wait still.
        let with_queue = |state: u64| Some(next(state) | state & (WAITING | WRITING));
        let (Ok(before) | Err(before)) = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, with_queue);
        next(before) / NUMBER
    }

    /// The final answer begins. What is queued is written before it, and nothing is taken any more.
    pub(super) fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
    }

    /// Queues an interim answer to a request. False when it comes too late, or cannot be written out soon.
    pub(super) fn push(&self, request: u64, status: StatusCode, headers: &HeaderMap) -> bool {
        let mut queue = self.queue();
        let state = self.state.load(Ordering::Acquire);
        if state & (OPEN | WRITING) != OPEN || state / NUMBER != request {
            return false;
        }
        let length = queue.bytes.len();
        write_head(&mut queue.bytes, status, headers);
        let fits = queue.bytes.len() - queue.written <= MAX_WAITING;
        // hyper's task may have gone on meanwhile.
        let taken =
            fits && self.state.compare_exchange(state, state | WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !taken {
            queue.bytes.truncate(length);
        }
        taken
    }

    /// hyper has bytes for the socket. True when there are interim answers to be written before.
    pub(super) fn hyper_writes(&self) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        if state & WRITING == 0 {
            state = self.state.fetch_or(WRITING, Ordering::AcqRel);
        }
        state & WAITING != 0
    }

    /// The socket has all of hyper's bytes. True when there are interim answers to be written now.
    pub(super) fn hyper_has_written(&self) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        if state & WRITING != 0 {
            state = self.state.fetch_and(!WRITING, Ordering::AcqRel);
        }
        state & WAITING != 0
    }

    /// Writes what is queued. Only to be called between two messages, and, until it is ready, before anything else is
    /// written.
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(&self, io: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut queue = self.queue();
        while queue.written < queue.bytes.len() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &queue.bytes[queue.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => queue.written += written,
            }
        }
        *queue = Queue::default();
        self.state.fetch_and(!WAITING, Ordering::AcqRel);
        Poll::Ready(Ok(()))
    }

    /// A panic elsewhere cannot leave half a head: it is taken back, or whole.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_head(bytes: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    bytes.extend_from_slice(b"HTTP/1.1 ");
    bytes.extend_from_slice(status.as_str().as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::task::Waker;

    const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

    fn push(interim: &Interim, request: u64) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a>"));
        interim.push(request, StatusCode::EARLY_HINTS, &headers)
    }

    fn written(interim: &Interim) -> String {
        let mut bytes = Vec::new();
        let written = interim.poll_write(&mut bytes, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(written, Poll::Ready(Ok(()))));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn interim_answers_go_out_whole_and_in_order() {
        let interim = Interim::default();
        let request = interim.begin(true);
        assert!(!interim.hyper_has_written());
        assert!(push(&interim, request) && push(&interim, request));
        assert!(interim.push(request, StatusCode::PROCESSING, &HeaderMap::new()));
        assert!(interim.hyper_has_written());
        assert_eq!(written(&interim), format!("{HINT}{HINT}HTTP/1.1 102 Processing\r\n\r\n"));
        assert!(!interim.hyper_has_written());
    }

    #[test]
    fn those_of_another_request_or_after_its_answer_has_begun_are_dropped() {
        let interim = Interim::default();
        assert!(!push(&interim, 0));
        let first = interim.begin(true);
        assert!(push(&interim, first));
        interim.close();
        assert!(!push(&interim, first));
        let second = interim.begin(true);
        assert_ne!(first, second);
        assert!(!push(&interim, first));
        assert!(push(&interim, second));
        assert_eq!(written(&interim), format!("{HINT}{HINT}"));
        let old = interim.begin(false);
        assert!(!push(&interim, old));
        assert!(!interim.hyper_writes());
    }

    #[test]
    fn they_are_dropped_while_hyper_has_bytes_of_the_answer_before() {
        let interim = Interim::default();
        assert!(!interim.hyper_writes());
        let request = interim.begin(true);
        assert!(!push(&interim, request));
        assert!(!interim.hyper_has_written());
        assert!(push(&interim, request));
    }

    #[test]
    fn what_was_in_time_waits_through_the_beginning_of_the_answer_and_the_next_request() {
        let interim = Interim::default();
        let request = interim.begin(true);
        assert!(push(&interim, request));
        interim.close();
        interim.begin(false);
        assert!(interim.hyper_writes());
        assert_eq!(written(&interim), HINT);
    }

    #[test]
    fn only_so_much_waits() {
        let interim = Interim::default();
        let request = interim.begin(true);
        let taken = (0..10_000).take_while(|_| push(&interim, request)).count();
        assert_eq!(taken, MAX_WAITING / HINT.len());
        assert_eq!(written(&interim), HINT.repeat(taken));
        assert!(push(&interim, request));
    }
}
