use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::Rejection;
#[cfg(feature = "request-id")]
use crate::{RequestContext, request_id::RequestIdLayer};

/// What a server is told, and the same for every worker.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) workers: usize,
    pub(super) timeouts: Timeouts,
    pub(super) max_header_bytes: usize,
    pub(super) max_headers: usize,
    pub(super) max_body_bytes: Option<u64>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_connections_per_ip: Option<usize>,
    /// At once, on one HTTP/2 connection.
    pub(super) max_streams: u32,
    pub(super) pings: Pings,
    /// What gives ids to refusals of requests that no layer sees.
    #[cfg(feature = "request-id")]
    pub(super) ids: Option<RequestIdLayer>,
}

impl Settings {
    /// The answer to a request that no service is given.
    pub(super) fn refusal(&self, rejection: &Rejection, is_grpc: bool) -> Response<Bytes> {
        #[cfg(feature = "request-id")]
        if let Some((header, id)) = self.ids.as_ref().and_then(RequestIdLayer::id_of_unseen) {
            let context = RequestContext::new();
            context.set_request_id(id.clone());
            let mut answer = rejection.answer_as(is_grpc, Some(&context));
            answer.headers_mut().insert(header, id.as_header_value().clone());
            return answer;
        }
        rejection.answer_as(is_grpc, None)
    }
}

/// When an HTTP/2 client that says nothing is asked whether it is there, and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pings {
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Duration,
}

/// How long a client may take. `None` is for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) header_read: Option<Duration>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) body_read: Option<Duration>,
    /// Bytes a second; 0 asks for none.
    pub(super) body_min_rate: u64,
    pub(super) body_rate_grace: Duration,
    pub(super) write: Option<Duration>,
    pub(super) half_close: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 0,
            timeouts: Timeouts::default(),
            max_header_bytes: 64 << 10,
            max_headers: 100,
            max_body_bytes: Some(10 << 20),
            max_connections: Some(10_000),
            max_connections_per_ip: None,
            max_streams: 128,
            pings: Pings::default(),
            #[cfg(feature = "request-id")]
            ids: None,
        }
    }
}

impl Default for Pings {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(30)), timeout: Duration::from_secs(20) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_read: Some(Duration::from_secs(10)),
            keep_alive: Some(Duration::from_secs(75)),
            body_read: Some(Duration::from_secs(30)),
            body_min_rate: 128,
            body_rate_grace: Duration::from_secs(10),
            write: Some(Duration::from_secs(30)),
            half_close: Duration::from_secs(1),
        }
    }
}
