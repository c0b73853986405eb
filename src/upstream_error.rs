//! What can go wrong between the gateway and an origin.

mod classify;

pub use self::classify::RequestBodyFailed;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::{BoxError, Reason};

/// Why an origin gave no answer, or none that can be passed on.
///
/// It is cheap to clone: one is kept in the [`RequestContext`](crate::RequestContext) for logs, while the client is told
/// no more than its [`kind`](Self::kind).
#[derive(Clone)]
pub struct UpstreamError {
    kind: UpstreamErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of [`UpstreamError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamErrorKind {
    /// The origin's name does not resolve.
    Dns,
    /// The origin refused the connection, or its host cannot be reached.
    Connect,
    /// No connection came about within the connect timeout.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before an answer.
    Reset,
    /// The origin did not look at the request (HTTP/2's REFUSED_STREAM and GOAWAY): it may be sent again, whatever it is.
    Refused,
    /// The answer is not HTTP, or not one a gateway may pass on.
    InvalidResponse,
    /// The answer ended before its stated length.
    Truncated,
    /// No response head came within the deadline.
    ResponseTimeout,
    /// The answer's body paused for too long.
    BodyTimeout,
    /// The whole exchange took longer than it may.
    TotalTimeout,
    /// Every connection to the origin is in use, and none became free in time.
    Overloaded,
    /// There is no server to send the request to.
    NoServer,
    /// The request itself is at fault: its body broke off or breaks its framing, or its target is not a path.
    Request,
}

impl UpstreamErrorKind {
    /// The reason that the client is given.
    pub fn reason(self) -> Reason {
        match self {
            Self::Dns | Self::Connect | Self::Tls => Reason::UpstreamConnect,
            Self::Reset => Reason::UpstreamReset,
            Self::InvalidResponse | Self::Truncated => Reason::UpstreamInvalidResponse,
            Self::ConnectTimeout | Self::ResponseTimeout | Self::BodyTimeout | Self::TotalTimeout => {
                Reason::UpstreamTimeout
            }
            Self::Overloaded | Self::NoServer | Self::Refused => Reason::UpstreamUnavailable,
            Self::Request => Reason::BadRequest,
        }
    }

    /// 502, 503 or 504; 400 where the request itself was at fault.
    pub fn status(self) -> StatusCode {
        self.reason().status()
    }
}

impl UpstreamError {
    /// An error of this kind, for which nothing more is known.
    #[cold]
    pub fn new(kind: UpstreamErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of this kind, with what caused it.
    #[cold]
    pub fn with_source(kind: UpstreamErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(Arc::from(source.into())) }
    }

    /// What went wrong.
    pub fn kind(&self) -> UpstreamErrorKind {
        self.kind
    }
}

impl From<UpstreamErrorKind> for UpstreamError {
    fn from(kind: UpstreamErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Debug for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            UpstreamErrorKind::Dns => "the origin's name does not resolve",
            UpstreamErrorKind::Connect => "the origin refused the connection",
            UpstreamErrorKind::ConnectTimeout => "connecting to the origin took too long",
            UpstreamErrorKind::Tls => "the TLS handshake with the origin failed",
            UpstreamErrorKind::Reset => "the origin closed the connection before it answered",
            UpstreamErrorKind::Refused => "the origin did not take the request",
            UpstreamErrorKind::InvalidResponse => "the origin's answer is not valid HTTP",
            UpstreamErrorKind::Truncated => "the origin's answer ended before its stated length",
            UpstreamErrorKind::ResponseTimeout => "the origin did not answer in time",
            UpstreamErrorKind::BodyTimeout => "the origin's answer paused for too long",
            UpstreamErrorKind::TotalTimeout => "the exchange with the origin took too long",
            UpstreamErrorKind::Overloaded => "every connection to the origin is in use",
            UpstreamErrorKind::NoServer => "there is no server to send the request to",
            UpstreamErrorKind::Request => "the request could not be sent whole",
        })
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
