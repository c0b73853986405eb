//! The client's conditions, evaluated against a stored response (RFC 9111 section 4.3.2, RFC 9110 section 13).

use http::StatusCode;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED,
};

use super::date;

/// True when the client has what is stored already, and a 304 will do. `received` is the second the response came.
pub(in crate::cache) fn is_not_modified(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: i64,
) -> bool {
    // RFC 9110 section 13.2.1: conditions count where the answer without them were a success.
    if !status.is_success() {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        // "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field."
        return none_match_fails(request, stored.get(ETAG).map(|tag| tag.as_bytes()));
    }
    let Some(since) = single(request, &IF_MODIFIED_SINCE).and_then(|since| date::parse(since, received)) else {
        return false;
    };
    // "the Date header field value ... and if that is not present the time the response was received."
    let modified = [LAST_MODIFIED, DATE].iter().find_map(|name| date::parse(stored.get(name)?.as_bytes(), received));
    modified.unwrap_or(received) <= since
}

/// `If-None-Match` is false: one of its tags, or `*`, is that of what is stored. Compared weakly.
fn none_match_fails(request: &HeaderMap, stored: Option<&[u8]>) -> bool {
    let stored = stored.map(opaque);
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|line| tags(line.as_bytes()).any(|tag| tag == b"*" || stored.is_some_and(|stored| opaque(tag) == stored)))
}

/// The entity tags of a list. A comma may be part of one.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
        if rest.is_empty() {
            return None;
        }
        let quote = if rest.starts_with(b"W/\"") { 2 } else { 0 };
        let end = if rest[quote] == b'"' {
            let close = rest[quote + 1..].iter().position(|byte| *byte == b'"');
            close.map_or(rest.len(), |close| quote + close + 2)
        } else {
            rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len())
        };
        let (tag, after) = rest.split_at(end);
        rest = after;
        Some(tag.trim_ascii_end())
    })
}

/// A tag without the mark of weakness, which weak comparison ignores.
pub(super) fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").filter(|rest| rest.starts_with(b"\"")).unwrap_or(tag)
}

/// A tag that stands for the very bytes (RFC 9110 section 8.8.3).
pub(in crate::cache) fn strong_tag(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(ETAG).map(|tag| tag.as_bytes()).filter(|tag| tag.starts_with(b"\""))
}

/// True when `If-Range` is absent, or says what is stored, compared strongly (RFC 9110 section 13.1.5).
pub(in crate::cache) fn range_applies(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(validator) = request.get(IF_RANGE) else { return true };
    let validator = validator.as_bytes();
    if validator.starts_with(b"\"") || validator.starts_with(b"W/") {
        return strong_tag(stored) == Some(validator);
    }
    // A date is strong when the response was made at least a second later (RFC 9110 section 8.8.2.2).
    let Some(modified) = stored.get(LAST_MODIFIED).map(|value| value.as_bytes()) else { return false };
    let made = stored.get(DATE).and_then(|value| date::parse(value.as_bytes(), 0));
    let strong = match (date::parse(modified, 0), made) {
        (Some(modified), Some(made)) => modified < made,
        _ => false,
    };
    strong && modified == validator
}

/// What a 304 leaves out: what describes content that is not sent (RFC 9110 section 15.4.5).
pub(in crate::cache) const NOT_IN_A_304: [HeaderName; 5] =
    [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE];

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;

    const NOW: i64 = 784_111_777;

    fn spared(request: &[(&str, &str)], stored: &[(&str, &str)]) -> bool {
        is_not_modified(&headers(request), StatusCode::OK, &headers(stored), NOW)
    }

    fn tag(request: &str, stored: &str) -> bool {
        spared(&[("if-none-match", request)], &[("etag", stored)])
    }

    #[test]
    fn any_tag_of_a_list_matches_compared_weakly() {
        for list in
            [r#""a""#, r#"W/"a""#, r#""x", "a""#, r#""a", "x""#, r#""x","a","y""#, "*", r#" , "a""#, r#""x,y", "a""#]
        {
            assert!(tag(list, r#""a""#), "{list}");
            assert!(tag(list, r#"W/"a""#), "{list}");
        }
        assert!(spared(&[("if-none-match", r#""x""#), ("if-none-match", r#""a""#)], &[("etag", r#""a""#)]));
    }

    #[test]
    fn other_tags_and_other_spellings_do_not_match() {
        for list in [r#""b""#, r#""A""#, "a", r#"w/"a""#, r#""x,"a","#, r#"W\"a""#, r#"W"a""#, ""] {
            assert!(!tag(list, r#""a""#), "{list}");
        }
        assert!(!spared(&[("if-none-match", r#""a""#)], &[]));
        assert!(tag("a", "a"), "what is no tag on either side is still the same");
    }

    #[test]
    fn if_modified_since_counts_only_without_if_none_match() {
        let stored = [("etag", r#""a""#), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
        let since = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(spared(&[since], &stored));
        assert!(!spared(&[since, ("if-none-match", r#""b""#)], &stored));
        assert!(spared(
            &[("if-none-match", r#""a""#), ("if-modified-since", "Sun, 06 Nov 1983 08:49:37 GMT")],
            &stored
        ));
    }

    #[test]
    fn what_was_changed_since_is_sent() {
        let stored = [("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert!(spared(&[("if-modified-since", "Sunday, 06-Nov-94 08:50:37 GMT")], &stored));
        assert!(!spared(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], &stored));
        assert!(!spared(&[("if-modified-since", "yesterday")], &stored));
    }

    #[test]
    fn without_a_last_change_the_date_or_the_receipt_counts() {
        assert!(spared(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], &[]));
        assert!(!spared(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], &[]));
        let dated = [("date", "Sun, 06 Nov 1994 08:40:00 GMT")];
        assert!(spared(&[("if-modified-since", "Sun, 06 Nov 1994 08:40:00 GMT")], &dated));
    }

    #[test]
    fn conditions_on_what_is_no_success_are_ignored() {
        let (request, stored) = (headers(&[("if-none-match", r#""a""#)]), headers(&[("etag", r#""a""#)]));
        assert!(!is_not_modified(&request, StatusCode::NOT_FOUND, &stored, NOW));
    }

    #[test]
    fn if_range_compares_strongly() {
        let applies =
            |value: &str, stored: &[(&str, &str)]| range_applies(&headers(&[("if-range", value)]), &headers(stored));
        assert!(applies(r#""a""#, &[("etag", r#""a""#)]));
        assert!(!applies(r#"W/"a""#, &[("etag", r#"W/"a""#)]));
        assert!(!applies(r#""b""#, &[("etag", r#""a""#)]));
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(applies(modified.1, &[modified, ("date", "Sun, 06 Nov 1994 08:50:37 GMT")]));
        assert!(!applies(modified.1, &[modified, ("date", modified.1)]), "changed in the second it was sent");
    }
}
