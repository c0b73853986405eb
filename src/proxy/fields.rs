//! Which header and trailer fields stay behind at a hop (RFC 9110 section 7.6.1).

use std::sync::LazyLock;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::NameSet;
use crate::known::Known;
use crate::names::FORWARDING;

/// True for fields that concern one connection and never the next.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    Known::from(name).any(Known::HOP_BY_HOP)
}

/// Removes from `headers` what concerns only the connection they came over, and every field that `Connection` names.
///
/// `TE: trailers` alone survives: the next hop may be asked for trailers too.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    strip_known_hop_by_hop(headers, Known::of(headers));
}

/// The same, for whoever knows already which of them `headers` has.
pub(super) fn strip_known_hop_by_hop(headers: &mut HeaderMap, known: Known) {
    if !known.any(Known::HOP_BY_HOP) {
        return;
    }
    if known.any(Known::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
        // Nearly every request has this one, and nearly none another.
        headers.remove(header::CONNECTION);
    }
    let wants_trailers = known.any(Known::TE) && accepts_trailers(headers);
    remove_where(headers, is_hop_by_hop);
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The fields that `Connection` names, of those it may name: Host and the description of the content are for every
/// recipient (RFC 9110 section 7.6.1), and a client must not make the origin see a message that nobody checked.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    const FOR_EVERY_RECIPIENT: [HeaderName; 4] =
        [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING];
    let lines = headers.get_all(header::CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !FOR_EVERY_RECIPIENT.contains(name) && *name != header::TE)
        .collect()
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// A map cannot be changed while it is walked; one walk for all that is to go, which allocates nothing where nothing is.
fn remove_where(headers: &mut HeaderMap, condemned: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(|name| condemned(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes from a trailer section whatever a recipient could take for framing, routing, authentication, identity or caching
/// (RFC 9110 section 6.5.1): merged into the header section it would rewrite what was already decided on.
pub(super) fn strip_forbidden_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| {
        is_hop_by_hop(name) || FORBIDDEN_TRAILERS.contains(name) || FORWARDING.contains(name)
    });
}

/// Names that no trailer section may hold, in any spelling.
static FORBIDDEN_TRAILERS: LazyLock<NameSet> = LazyLock::new(|| {
    let standard = [
        header::AGE,
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::EXPIRES,
        header::HOST,
        header::IF_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_NONE_MATCH,
        header::IF_RANGE,
        header::IF_UNMODIFIED_SINCE,
        header::LOCATION,
        header::MAX_FORWARDS,
        header::PRAGMA,
        header::RANGE,
        header::RETRY_AFTER,
        header::SET_COOKIE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::VARY,
        header::VIA,
        header::WWW_AUTHENTICATE,
    ];
    let others = ["x-api-key", "x-request-id", "traceparent", "tracestate"].map(HeaderName::from_static);
    standard.into_iter().chain(others).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn left(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn fields_of_the_connection_and_those_it_names_are_removed() {
        let mut headers = map(&[
            ("connection", "close, X-Private ,,keep-alive"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("proxy-foo", "1"),
            ("proxy", "evil"),
            ("http2-settings", "AAMAAABk"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-private", "1"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(left(&headers), ["accept"]);
    }

    #[test]
    fn every_connection_line_counts() {
        let mut headers = map(&[("x-a", "1"), ("x-b", "1")]);
        headers.append("connection", HeaderValue::from_static("x-a"));
        headers.append("connection", HeaderValue::from_static("x-b"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(left(&headers), [""; 0]);
    }

    #[test]
    fn connection_cannot_remove_what_the_message_means() {
        let mut headers = map(&[("connection", "host, content-length"), ("host", "a")]);
        headers.insert("content-length", HeaderValue::from_static("3"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(left(&headers), ["content-length", "host"]);
    }

    #[test]
    fn of_te_only_trailers_survives() {
        let mut headers = map(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers["te"], "trailers");
        let mut headers = map(&[("te", "gzip")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(left(&headers), [""; 0]);
    }

    #[test]
    fn trailers_carry_no_framing_routing_or_credentials() {
        let mut trailers = map(&[
            ("content-length", "5"),
            ("host", "evil"),
            ("authorization", "x"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x_forwarded_for", "1.1.1.1"),
            ("content_length", "5"),
            ("x-real-ip", "1.1.1.1"),
            ("X-Request-Id", "other"),
            ("set-cookie", "a=b"),
            ("if-match", "*"),
            ("grpc-status", "0"),
            ("x-checksum", "7"),
        ]);
        strip_forbidden_trailers(&mut trailers);
        assert_eq!(left(&trailers), ["grpc-status", "x-checksum"]);
    }
}
