//! Which header and trailer fields stay behind at a hop (RFC 9110 section 7.6.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Fields that concern one connection and never the next.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

/// Removes from `headers` what concerns only the connection they came over, and every field that `Connection` names.
///
/// `TE: trailers` alone survives: the next hop may be asked for trailers too.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    let wants_trailers = accepts_trailers(headers);
    // A map cannot be changed while it is walked, and mostly there is one field to remove, or none.
    while let Some(name) = headers.keys().find(|name| HOP_BY_HOP.contains(name)).cloned() {
        headers.remove(name);
    }
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

/// Removes from a trailer section whatever a recipient could take for framing, routing, authentication or caching
/// (RFC 9110 section 6.5.1): merged into the header section it would rewrite what was already decided on.
pub(super) fn strip_forbidden_trailers(trailers: &mut HeaderMap) {
    while let Some(name) = trailers.keys().find(|name| !may_be_trailer(name)).cloned() {
        trailers.remove(name);
    }
}

fn may_be_trailer(name: &HeaderName) -> bool {
    const FORBIDDEN: [HeaderName; 28] = [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::TRAILER,
        header::TE,
        header::UPGRADE,
        header::HOST,
        header::AUTHORIZATION,
        header::WWW_AUTHENTICATE,
        header::COOKIE,
        header::SET_COOKIE,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::CACHE_CONTROL,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::PRAGMA,
        header::RANGE,
        header::AGE,
        header::EXPIRES,
        header::LOCATION,
        header::RETRY_AFTER,
        header::VARY,
    ];
    let text = name.as_str();
    !FORBIDDEN.contains(name)
        && !text.starts_with("x-forwarded")
        && !text.starts_with("x_forwarded")
        && *name != header::FORWARDED
        && *name != header::VIA
        && !text.starts_with("if-")
}

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
            ("set-cookie", "a=b"),
            ("if-match", "*"),
            ("grpc-status", "0"),
            ("x-checksum", "7"),
        ]);
        strip_forbidden_trailers(&mut trailers);
        assert_eq!(left(&trailers), ["grpc-status", "x-checksum"]);
    }
}
