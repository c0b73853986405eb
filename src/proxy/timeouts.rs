//! How long an exchange with an origin may take.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::alarm;

/// The deadlines of one exchange. Each may be `None`: no deadline.
///
/// # All that a request to an origin can wait for
///
/// In the order in which it comes to it. A stream is exempt from what would end it: answers of `text/event-stream` and
/// `multipart/x-mixed-replace`, and gRPC, from [`total`](Self::total), unless
/// [`total_ends_streams`](Self::total_ends_streams) says otherwise, and tunnels from everything but
/// [`upgrade_idle`](Self::upgrade_idle).
///
/// A gRPC call is exempt from its beginning, since a client may stream for as long as a server; whether it is one message
/// either way or many, no head says. What bounds it is the caller's own word, `grpc-timeout`, which counts for the whole call
/// whatever is set here, the time to the head of the answer, and the time between two pieces.
///
/// | waiting for | set by | default | error |
/// |---|---|---|---|
/// | one of the server's connections | [`queue_timeout`](crate::upstream::UpstreamBuilder::queue_timeout) | 1 s | `Overloaded`: 503 |
/// | a new connection: name, TCP, TLS | [`connect_timeout`](crate::upstream::UpstreamBuilder::connect_timeout) | 1 s | `ConnectTimeout`: 504 |
/// | TLS alone | [`handshake_timeout`](crate::tls::ClientTls::handshake_timeout) | the connection's | `ConnectTimeout`: 504 |
/// | the head of one try's answer | [`per_try`](crate::retry::RetryLayer::per_try) | none | tried again, or 504 |
/// | all tries, to the head | [`deadline`](crate::retry::RetryLayer::deadline) | none | no further try |
/// | the head of the answer, over all tries | [`response_head`](Self::response_head) | 30 s | `ResponseTimeout`: 504 |
/// | the next piece of its body | [`body_idle`](Self::body_idle) | 60 s | `BodyTimeout`: the answer is cut |
/// | its end, from the call | [`total`](Self::total) | none | `TotalTimeout`: 504, or the answer is cut |
/// | a byte in a tunnel | [`upgrade_idle`](Self::upgrade_idle) | 1 h | the tunnel is closed |
///
/// A connection without a request is kept for
/// [`keep_alive_timeout`](crate::upstream::UpstreamBuilder::keep_alive_timeout), 60 s by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the end of the request to the head of the answer: a long upload is not a slow origin. While the request's
    /// body waits for its client the clock stands; while it waits for the origin to take more, it runs. 30 s by default.
    pub response_head: Option<Duration>,
    /// Between two pieces of the answer's body. 60 s by default.
    pub body_idle: Option<Duration>,
    /// From the call to the end of the answer's body. None by default, so that streams may last. It is looked at whenever the
    /// body is asked for more; a client that takes nothing is the server's to give up (its write timeout).
    pub total: Option<Duration>,
    /// Whether `total` ends streams too, which are made to last: answers of `text/event-stream` and
    /// `multipart/x-mixed-replace`, and gRPC calls. Not by default: it then counts to the head of such an answer, and for a gRPC
    /// call not at all.
    pub total_ends_streams: bool,
    /// Without a byte either way after a switch to WebSocket, from when on none of the others counts. 1 h by default.
    pub upgrade_idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            response_head: Some(Duration::from_secs(30)),
            body_idle: Some(Duration::from_secs(60)),
            total: None,
            total_ends_streams: false,
            upgrade_idle: Some(Duration::from_secs(60 * 60)),
        }
    }
}

impl Timeouts {
    /// No deadline at all.
    pub fn none() -> Self {
        Self { response_head: None, body_idle: None, total: None, total_ends_streams: false, upgrade_idle: None }
    }

    /// Sets [`response_head`](Self::response_head).
    #[must_use]
    pub fn response_head(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.response_head = limit.into();
        self
    }

    /// Sets [`body_idle`](Self::body_idle).
    #[must_use]
    pub fn body_idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.body_idle = limit.into();
        self
    }

    /// Sets [`total`](Self::total).
    #[must_use]
    pub fn total(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.total = limit.into();
        self
    }

    /// Sets [`total_ends_streams`](Self::total_ends_streams).
    #[must_use]
    pub fn total_ends_streams(mut self, ends: bool) -> Self {
        self.total_ends_streams = ends;
        self
    }

    /// Sets [`upgrade_idle`](Self::upgrade_idle).
    #[must_use]
    pub fn upgrade_idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.upgrade_idle = limit.into();
        self
    }
}

/// The instant `after` from `start`; `None` for one too far away to matter.
pub(super) fn deadline(start: Instant, after: Option<Duration>) -> Option<Instant> {
    start.checked_add(after?)
}

/// One timer that is armed only when something has to wait and nobody else keeps its time, and moved only when it fires. In a box,
/// as it is large, mostly not needed, and moved with every answer and its body.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `deadline` has passed. The timer may stand earlier than that from an earlier call: it is moved when it
    /// fires, so that a deadline that moves with every piece costs nothing.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if let Some(polled) = alarm::poll_until(cx, deadline) {
            return polled;
        }
        self.poll_own(cx, deadline)
    }

    #[inline(never)]
    fn poll_own(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// How far a request's body has come, told by the body to the future that waits for the answer. They may live in
/// different tasks, so it is a few atomics.
#[derive(Clone, Debug)]
pub(super) struct UploadProgress(Arc<Upload>);

#[derive(Debug)]
struct Upload {
    start: Instant,
    /// Milliseconds since `start` of the last change, with the phase in the lowest two bits.
    state: AtomicU64,
}

const FOR_ORIGIN: u64 = 0;
const FOR_CLIENT: u64 = 1;
const ENDED: u64 = 2;

/// Who a request's body waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The client is to send more.
    Client,
    /// The origin is to take more, or to answer, since then.
    Origin(Instant),
}

impl UploadProgress {
    pub(super) fn new(start: Instant) -> Self {
        Self(Arc::new(Upload { start, state: AtomicU64::new(FOR_ORIGIN) }))
    }

    pub(super) fn waits_for_client(&self) {
        self.0.state.store(FOR_CLIENT, Ordering::Relaxed);
    }

    pub(super) fn gave_a_piece(&self) {
        self.mark(FOR_ORIGIN);
    }

    pub(super) fn ended(&self) {
        self.mark(ENDED);
    }

    pub(super) fn waiting_for(&self) -> Waiting {
        let state = self.0.state.load(Ordering::Relaxed);
        if state & 3 == FOR_CLIENT {
            return Waiting::Client;
        }
        Waiting::Origin(self.0.start + Duration::from_millis(state >> 2))
    }

    fn mark(&self, phase: u64) {
        let millis = self.0.start.elapsed().as_millis() as u64;
        self.0.state.store(millis << 2 | phase, Ordering::Relaxed);
    }
}
