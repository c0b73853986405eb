//! What any client's error means.

use std::error::Error;
use std::io;

use thiserror::Error;

use super::{UpstreamError, UpstreamErrorKind};
use crate::BoxError;
use crate::chain::chain;

/// The request's own body failed while it was sent on: the client left, broke its framing, or hit a limit.
#[derive(Debug, Error)]
#[error("the request's body failed")]
pub struct RequestBodyFailed(#[source] BoxError);

impl RequestBodyFailed {
    pub(crate) fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }

    /// The same, for an error that may say so already.
    pub(crate) fn passed_on(source: impl Into<BoxError>) -> Self {
        match source.into().downcast() {
            Ok(known) => *known,
            Err(other) => Self(other),
        }
    }
}

impl UpstreamError {
    /// Turns any client's error into ours, by the first one in its chain of causes that says what happened. An error of
    /// which nothing is known is an [`InvalidResponse`](UpstreamErrorKind::InvalidResponse).
    pub fn classify(error: impl Into<BoxError>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(known) => return *known,
            Err(error) => error,
        };
        let kind = UpstreamErrorKind::find(&*error).unwrap_or(UpstreamErrorKind::InvalidResponse);
        Self::with_source(kind, error)
    }
}

impl UpstreamErrorKind {
    /// The first in `error`'s chain of causes that says what happened.
    pub(crate) fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        chain(error).find_map(kind_of)
    }
}

fn kind_of(error: &(dyn Error + 'static)) -> Option<UpstreamErrorKind> {
    if let Some(own) = error.downcast_ref::<UpstreamError>() {
        return Some(own.kind());
    }
    if error.is::<RequestBodyFailed>() {
        return Some(UpstreamErrorKind::Request);
    }
    #[cfg(feature = "proxy")]
    if error.is::<tokio::time::error::Elapsed>() {
        return Some(UpstreamErrorKind::ResponseTimeout);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return of_io(error.kind());
    }
    #[cfg(feature = "proxy")]
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return of_hyper(error);
    }
    None
}

fn of_io(kind: io::ErrorKind) -> Option<UpstreamErrorKind> {
    use io::ErrorKind::*;
    match kind {
        ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable | NotFound | PermissionDenied => {
            Some(UpstreamErrorKind::Connect)
        }
        TimedOut => Some(UpstreamErrorKind::ConnectTimeout),
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | NotConnected => {
            Some(UpstreamErrorKind::Reset)
        }
        // Other kinds wrap an error of their own, which the walk down the chain comes to.
        _ => None,
    }
}

#[cfg(feature = "proxy")]
fn of_hyper(error: &hyper::Error) -> Option<UpstreamErrorKind> {
    if error.is_user() {
        // A body that failed is in the chain, and says more.
        return None;
    }
    if error.is_parse() {
        return Some(UpstreamErrorKind::InvalidResponse);
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Some(UpstreamErrorKind::Reset);
    }
    None
}
