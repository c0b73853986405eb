//! How a failed exchange is answered: the one place where errors become 502, 503, 504, or the client's own fault.

use crate::body::RequestBodyError;
use crate::{Reason, Rejection, UpstreamError};

/// The answer to a request whose exchange failed so.
pub(super) fn rejection(error: &UpstreamError) -> Rejection {
    let reason = match RequestBodyError::find(error) {
        Some(own) => own.reason(),
        None => error.kind().reason(),
    };
    let detail = match reason {
        Reason::BodyTooLarge => "the request body is longer than is accepted here",
        Reason::BodyTooSlow => "the request body arrived too slowly",
        Reason::BadRequest => "the request body could not be read to its end",
        Reason::UpstreamTimeout => "the origin took too long",
        Reason::UpstreamUnavailable => "no connection to the origin is free",
        _ => "the origin gave no valid answer",
    };
    Rejection::new("proxy", reason).detail(detail)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{BoxError, RequestBodyFailed, UpstreamErrorKind};
    use http::StatusCode;

    fn status(error: impl Into<BoxError>) -> StatusCode {
        rejection(&UpstreamError::classify(error)).status_code()
    }

    #[test]
    fn any_clients_error_becomes_the_status_it_means() {
        assert_eq!(status(io::Error::from(io::ErrorKind::ConnectionRefused)), StatusCode::BAD_GATEWAY);
        assert_eq!(status(io::Error::from(io::ErrorKind::TimedOut)), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(
            status(io::Error::other(UpstreamError::new(UpstreamErrorKind::NoServer))),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status("who knows"), StatusCode::BAD_GATEWAY);
    }

    #[test]
    fn a_failed_request_body_is_the_clients_fault_however_deep_it_lies() {
        let failed = || RequestBodyFailed::new("broken chunk");
        assert_eq!(status(io::Error::other(failed())), StatusCode::BAD_REQUEST);
        let too_large = RequestBodyFailed::new(io::Error::other(RequestBodyError::TooLarge { limit: 5 }));
        assert_eq!(status(io::Error::other(too_large)), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(status(RequestBodyFailed::new(RequestBodyError::TooSlow)), StatusCode::REQUEST_TIMEOUT);
    }

    #[test]
    fn the_client_is_told_nothing_about_the_inside() {
        let secret = io::Error::new(io::ErrorKind::ConnectionRefused, "10.1.2.3:5432 refused");
        let body = rejection(&UpstreamError::classify(secret)).response(None).into_body();
        assert!(!String::from_utf8_lossy(&body).contains("10.1.2.3"));
    }
}
