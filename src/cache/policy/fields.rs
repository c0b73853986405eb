//! Which fields are stored, and what an update does to them (RFC 9111 sections 3.1 and 3.2).

use http::header::{
    AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

/// Removes what concerns one connection or one proxy (RFC 9111 section 3.1), and what `Connection` names.
pub(in crate::cache) fn strip_unstored(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    let condemned: Vec<_> = headers.keys().filter(|name| is_unstored(name)).cloned().collect();
    for name in condemned {
        headers.remove(name);
    }
}

fn is_unstored(name: &HeaderName) -> bool {
    matches!(*name, CONNECTION | TRANSFER_ENCODING | TE | UPGRADE | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "proxy-authentication-info")
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok()).collect()
}

/// What says how the stored bytes are to be read, and is true of them whatever is said later: their length (RFC 9111 section
/// 3.2 leaves out `Content-Length`), their coding, which part they are, and digests of the very bytes. Another value than that
/// which they came with would make every answer unreadable, so that these are kept as the same section allows, "to ensure
/// integrity of the stored response".
const OF_THE_BYTES: [HeaderName; 5] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// Replaces in `stored` every field that `update` has (RFC 9111 section 3.2), but those of the stored bytes. The age is that of
/// the update.
pub(in crate::cache) fn update(stored: &mut HeaderMap, mut update: HeaderMap) {
    strip_unstored(&mut update);
    for name in &OF_THE_BYTES {
        update.remove(name);
    }
    stored.remove(AGE);
    for name in update.keys() {
        stored.remove(name);
    }
    let mut last = None;
    for (name, value) in update {
        last = name.or(last);
        if let Some(name) = &last {
            stored.append(name, value);
        }
    }
}

#[cfg(test)]
pub(in crate::cache) mod tests {
    use super::*;
    use http::HeaderValue;

    /// A header section; each pair is a line of its own. Values that no header can hold are left out.
    pub(in crate::cache) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
        }
        headers
    }

    #[test]
    fn fields_of_the_connection_and_of_proxies_are_not_stored_all_others_are() {
        let mut fields = headers(&[
            ("connection", "x-a, close"),
            ("x-a", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "close"),
            ("x-b", "2"),
            ("set-cookie", "a=b"),
            ("proxy-foo", "1"),
        ]);
        strip_unstored(&mut fields);
        let mut left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["proxy-foo", "set-cookie", "x-b"]);
    }

    #[test]
    fn what_says_how_the_bytes_are_read_stays_as_they_came() {
        for name in ["content-length", "content-encoding", "content-range", "content-md5", "content-digest"] {
            let mut stored = headers(&[(name, "old")]);
            update(&mut stored, headers(&[(name, "new")]));
            assert_eq!(stored[name], "old");
            let mut stored = headers(&[]);
            update(&mut stored, headers(&[(name, "new")]));
            assert!(stored.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_update_replaces_every_field_but_the_length_and_adds_new_ones() {
        let mut stored = headers(&[("a", "1"), ("a", "2"), ("b", "1"), ("content-length", "9"), ("age", "7")]);
        let new =
            headers(&[("a", "3"), ("a", "4"), ("c", "5"), ("content-length", "0"), ("connection", "d"), ("d", "6")]);
        update(&mut stored, new);
        let all: Vec<_> = stored.get_all("a").iter().collect();
        assert_eq!(all, ["3", "4"]);
        assert_eq!(
            (&stored["b"], &stored["c"], &stored["content-length"]),
            (&"1".parse().unwrap(), &"5".parse().unwrap(), &"9".parse().unwrap())
        );
        assert!(!stored.contains_key("d") && !stored.contains_key("age"));
    }
}
