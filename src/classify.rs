//! What counts as a failure: one view of it for circuit breakers, the ejection of servers, and retries.
//!
//! A [`Classifier`] looks at the head of an answer, at its trailers where gRPC puts the status, and at the error where there
//! is no answer or where one breaks off. [`HttpClassifier`] is the usual one:
//!
//! ```
//! use http::StatusCode;
//! use tower_gateway::circuit_breaker::CircuitBreakerLayer;
//! use tower_gateway::classify::HttpClassifier;
//!
//! // This origin says 500 of bad input, and 530 when it is down.
//! let down = StatusCode::from_u16(530)?;
//! let classifier = HttpClassifier::new().failures([StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT, down]);
//! let layer = CircuitBreakerLayer::new().classifier(classifier);
//! # Ok::<(), http::status::InvalidStatusCode>(())
//! ```
//!
//! # When an answer counts
//!
//! A failure counts as soon as it is known, with the head. A success counts when its body has been read to its end, since
//! an answer that breaks off is none. Streams without an end (`text/event-stream`, a switch to another protocol) count with
//! their head.
//!
//! An answer that is dropped before its end was given up by somebody further out. Where that was a deadline, the
//! [`RequestContext`](crate::RequestContext) has its error, and the error counts; otherwise the client left, which before
//! the head says nothing of the origin and after it nothing against it.

mod error;
mod http_classifier;
#[cfg(any(feature = "circuit-breaker", feature = "upstream"))]
mod watch;

pub use self::error::CallError;
pub use self::http_classifier::HttpClassifier;
#[cfg(any(feature = "circuit-breaker", feature = "upstream"))]
pub(crate) use self::watch::{Judge, Watch, WatchedBody};

use http::{HeaderMap, StatusCode};

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The origin did its work, whatever it thinks of the request.
    Success,
    /// The origin, or the way to it, is at fault.
    Failure,
    /// The origin is well and asks for less.
    Throttled,
    /// It says nothing about the origin.
    Ignored,
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All there is to know.
    Now(Outcome),
    /// This, if the body comes to its end.
    AtEnd(Outcome),
    /// The trailers will tell.
    InTrailers,
}

/// Says what is a success and what a failure. See the [module](self) for when it is asked.
pub trait Classifier: Send + Sync + 'static {
    /// What the head of an answer says.
    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Verdict;

    /// What the trailers say of an answer whose head left it to them. `None` when it ended without any.
    fn trailers(&self, trailers: Option<&HeaderMap>) -> Outcome;

    /// What it means that there is no answer, or that one broke off.
    fn error(&self, error: &CallError<'_>) -> Outcome;

    /// What it means that the client left, after a head that promised `promised`, or before any.
    fn dropped(&self, promised: Option<Outcome>) -> Outcome {
        promised.unwrap_or(Outcome::Ignored)
    }
}
