//! Answers that are made to last.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Media types of which an answer comes for as long as somebody listens: server-sent events, images that replace each other,
/// and gRPC, of which no head says whether one message follows or many, also in the form for browsers.
///
/// Lines of JSON (`application/x-ndjson`) are none of them: as often as a feed they are a table, which has an end.
const LASTING: [&[u8]; 3] = [b"text/event-stream", b"multipart/x-mixed-replace", b"application/grpc"];

/// True for an answer that nobody expects to end soon.
#[inline(never)]
pub(super) fn lasts(headers: &HeaderMap) -> bool {
    let own = headers.get(CONTENT_TYPE).map(|own| own.as_bytes()).unwrap_or_default();
    LASTING.iter().any(|lasting| {
        let (own, rest) = own.split_at(own.len().min(lasting.len()));
        // `+proto` and `-web` say in what form.
        own.eq_ignore_ascii_case(lasting)
            && rest.first().is_none_or(|byte| matches!(byte, b';' | b' ' | b'\t' | b'+' | b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn streams_are_known_by_their_type_in_any_case() {
        let of = |own: &'static str| lasts(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(own))]));
        for lasting in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "multipart/x-mixed-replace;boundary=frame",
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
            "application/grpc-web-text+proto",
        ] {
            assert!(of(lasting), "{lasting}");
        }
        for ends in
            ["", "text/event-streams", "text/plain", "multipart/mixed", "application/grpcs", "application/x-ndjson"]
        {
            assert!(!of(ends), "{ends}");
        }
        assert!(!lasts(&HeaderMap::new()));
    }
}
