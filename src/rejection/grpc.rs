//! Refusals as a gRPC client understands them: an answer of 200 whose header section has the status ("Trailers-Only",
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). Told 401 or 503 as HTTP has it, a client makes up a
//! status of its own, and loses what it was told.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::Rejection;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// True for a gRPC call: a POST of `application/grpc`, or of that with a format (`application/grpc+proto`). gRPC-Web is
/// another protocol, whose clients read HTTP's status.
pub(crate) fn is_call(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::POST && is_of_grpc(headers)
}

#[inline(never)]
fn is_of_grpc(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    headers.get(CONTENT_TYPE).is_some_and(|own| {
        let own = own.as_bytes();
        let is_type = own.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE));
        is_type && matches!(own.get(TYPE.len()), None | Some(b'+' | b';' | b' '))
    })
}

/// How long the caller waits: up to eight digits and a unit. `None` where it does not say, or not so.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let (digits, unit) = headers.get(GRPC_TIMEOUT)?.as_bytes().split_last_chunk::<1>()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b"H" => Duration::from_secs(number * 3600),
        b"M" => Duration::from_secs(number * 60),
        b"S" => Duration::from_secs(number),
        b"m" => Duration::from_millis(number),
        b"u" => Duration::from_micros(number),
        b"n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The status for an answer of HTTP's.
///
/// Where a client's own rule (`doc/http-grpc-status-mapping.md`) and the meaning of the codes differ, the meaning goes first:
/// 429 is RESOURCE_EXHAUSTED and not UNAVAILABLE, which clients are wont to try again at once, and 504 DEADLINE_EXCEEDED.
fn status(status: StatusCode) -> u8 {
    const INVALID_ARGUMENT: u8 = 3;
    const DEADLINE_EXCEEDED: u8 = 4;
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    const UNAUTHENTICATED: u8 = 16;
    const UNKNOWN: u8 = 2;
    match status.as_u16() {
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 | 501 => UNIMPLEMENTED,
        400 | 415 | 417 => INVALID_ARGUMENT,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 429 | 431 => RESOURCE_EXHAUSTED,
        502 | 503 => UNAVAILABLE,
        500 | 508 => INTERNAL,
        _ => UNKNOWN,
    }
}

impl Rejection {
    /// Says what `answer`, this refusal's own, says, in the way that gRPC does. Fields that were set on it stay.
    pub(super) fn as_grpc(&self, answer: Response<Bytes>) -> Response<Bytes> {
        let (mut parts, _) = answer.into_parts();
        parts.status = StatusCode::OK;
        let message = self.detail.as_deref().unwrap_or_else(|| self.reason.code());
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        parts.headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status(self.status))));
        if let Ok(message) = HeaderValue::from_str(&encoded(message)) {
            parts.headers.insert(GRPC_MESSAGE, message);
        }
        Response::from_parts(parts, Bytes::new())
    }
}

/// Percent-encoded, but for what is printable.
fn encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => drop(write!(encoded, "%{byte:02X}")),
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    fn of(content_type: &str) -> bool {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())]);
        assert!(!is_call(&Method::GET, &headers));
        is_call(&Method::POST, &headers)
    }

    #[test]
    fn a_call_is_known_by_its_type_and_grpc_web_is_none() {
        for call in ["application/grpc", "application/grpc+proto", "Application/GRPC; charset=utf-8"] {
            assert!(of(call), "{call}");
        }
        for other in ["application/grpc-web", "application/grpc-web+proto", "application/json", "application/grp"] {
            assert!(!of(other), "{other}");
        }
        assert!(!is_call(&Method::POST, &HeaderMap::new()));
    }

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        let of = |text: &'static str| timeout(&HeaderMap::from_iter([(GRPC_TIMEOUT, HeaderValue::from_static(text))]));
        assert_eq!(of("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(of("3M"), Some(Duration::from_secs(180)));
        assert_eq!(of("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("5u"), Some(Duration::from_micros(5)));
        assert_eq!(of("7n"), Some(Duration::from_nanos(7)));
        for not in ["", "S", "1", "1s", "-1S", "123456789S", "1.5S", "1 S"] {
            assert_eq!(of(not), None, "{not:?}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_fields_and_says_why_in_the_head() {
        let refusal = Rejection::new("rate_limit", Reason::RateLimitExceeded).detail("100% used\n");
        let answer = refusal.as_grpc(refusal.response(None));
        let field = |name: &str| answer.headers()[name].to_str().unwrap();
        assert_eq!((answer.status().as_u16(), field("grpc-status"), field("retry-after")), (200, "8", "1"));
        assert_eq!((field("content-type"), field("grpc-message")), ("application/grpc", "100%25 used%0A"));
        assert!(answer.body().is_empty());
    }

    #[test]
    fn every_status_has_one_of_grpcs() {
        let pairs = [(400, 3), (401, 16), (403, 7), (404, 12), (405, 12), (413, 8), (429, 8), (500, 13), (501, 12)];
        for (http, grpc) in pairs.into_iter().chain([(502, 14), (503, 14), (504, 4), (418, 2)]) {
            assert_eq!(status(StatusCode::from_u16(http).unwrap()), grpc, "{http}");
        }
    }
}
