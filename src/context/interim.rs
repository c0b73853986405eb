use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

/// Where interim answers to one request (RFC 9110 section 15.2) can be sent before its final one: 102, and 103 with the
/// links that a client may fetch already (RFC 8297).
///
/// [`Server`](crate::serve::Server) sets it but for HTTP/1.0 clients, who know no such answers. It is part of no fork:
/// what works beyond the request has nothing to say to its client.
#[derive(Clone)]
pub struct InterimSink {
    queue: Arc<dyn InterimQueue>,
    request: u64,
}

/// What a server's connection takes interim answers with.
pub(crate) trait InterimQueue: Send + Sync {
    /// False when that request's final answer has begun, or this one cannot be sent for another reason.
    fn push(&self, request: u64, status: StatusCode, headers: &HeaderMap) -> bool;
}

impl InterimSink {
    /// For the request that `queue` knows by this number.
    pub(crate) fn new(queue: Arc<dyn InterimQueue>, request: u64) -> Self {
        Self { queue, request }
    }

    /// Sends an interim answer at once. False when it was dropped, which interim answers may always be: the final one has
    /// begun, the client takes too few bytes, or `status` is not an interim one, or is 100 or 101, which the server sends
    /// itself. The fields go out as they are: those that concern one hop are to be removed before.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let is_the_servers = matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS);
        status.is_informational() && !is_the_servers && self.queue.push(self.request, status, headers)
    }
}

impl fmt::Debug for InterimSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterimSink").finish_non_exhaustive()
    }
}
