use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::{CallError, Classifier, Outcome, Verdict};
use crate::UpstreamErrorKind;
use crate::status_set::StatusSet;

/// The usual view of HTTP and gRPC.
///
/// | | counts as |
/// |---|---|
/// | 500, 502, 503, 504 | failure |
/// | 429 | throttled |
/// | every other status | success, once the body has ended |
/// | `grpc-status` 2, 4, 13, 14, 15 (unknown, deadline exceeded, internal, unavailable, data loss), or none at the end | failure |
/// | `grpc-status` 8 (resource exhausted) | throttled |
/// | no connection, a reset, a timeout, an answer that is not HTTP or breaks off, an unknown error | failure |
/// | every connection of ours in use | throttled |
/// | the request's own body broke off; there is no server to ask | ignored |
/// | the client left before the head | ignored |
/// | the client left after it | what the head has promised |
#[derive(Clone, Debug)]
pub struct HttpClassifier {
    failures: StatusSet,
    throttled: StatusSet,
    at_head: bool,
    dropped: Option<Outcome>,
}

impl Default for HttpClassifier {
    fn default() -> Self {
        let failures = [
            StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        Self {
            failures: failures.into_iter().collect(),
            throttled: [StatusCode::TOO_MANY_REQUESTS].into_iter().collect(),
            at_head: false,
            dropped: None,
        }
    }
}

impl HttpClassifier {
    /// The usual view.
    pub fn new() -> Self {
        Self::default()
    }

    /// These statuses are failures, and no others.
    #[must_use]
    pub fn failures(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.failures = statuses.into_iter().collect();
        self
    }

    /// These statuses ask for less, and no others do.
    #[must_use]
    pub fn throttled(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.throttled = statuses.into_iter().collect();
        self
    }

    /// An answer counts with its head already, whatever becomes of its body. gRPC's status is still waited for.
    #[must_use]
    pub fn at_head(mut self, at_head: bool) -> Self {
        self.at_head = at_head;
        self
    }

    /// What an answer counts as whose client left before it had ended.
    #[must_use]
    pub fn dropped(mut self, outcome: Outcome) -> Self {
        self.dropped = Some(outcome);
        self
    }
}

impl Classifier for HttpClassifier {
    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        if self.failures.contains(status) {
            return Verdict::Now(Outcome::Failure);
        }
        if self.throttled.contains(status) {
            return Verdict::Now(Outcome::Throttled);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Verdict::Now(Outcome::Success);
        }
        let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
        if starts_with(content_type, b"application/grpc") {
            // A call that fails at once has its status in the head ("Trailers-Only" in gRPC over HTTP/2).
            return match headers.get("grpc-status") {
                Some(status) => Verdict::Now(of_grpc(status.as_bytes())),
                None => Verdict::InTrailers,
            };
        }
        match self.at_head || starts_with(content_type, b"text/event-stream") {
            true => Verdict::Now(Outcome::Success),
            false => Verdict::AtEnd(Outcome::Success),
        }
    }

    fn trailers(&self, trailers: Option<&HeaderMap>) -> Outcome {
        match trailers.and_then(|trailers| trailers.get("grpc-status")) {
            Some(status) => of_grpc(status.as_bytes()),
            None => Outcome::Failure,
        }
    }

    fn error(&self, error: &CallError<'_>) -> Outcome {
        match error.kind() {
            Some(UpstreamErrorKind::Request | UpstreamErrorKind::NoServer) => Outcome::Ignored,
            Some(UpstreamErrorKind::Overloaded) => Outcome::Throttled,
            _ => Outcome::Failure,
        }
    }

    fn dropped(&self, promised: Option<Outcome>) -> Outcome {
        self.dropped.or(promised).unwrap_or(Outcome::Ignored)
    }
}

fn of_grpc(status: &[u8]) -> Outcome {
    match status {
        b"2" | b"4" | b"13" | b"14" | b"15" => Outcome::Failure,
        b"8" => Outcome::Throttled,
        _ => Outcome::Success,
    }
}

/// Media types are the same in any case (RFC 9110 section 8.3.1).
fn starts_with(value: &[u8], prefix: &[u8]) -> bool {
    value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
