//! Requests that ask the origin whether what is stored still holds (RFC 9111 section 4.3.1), and what its 304 says of it
//! (section 4.3.3).

use http::header::{
    CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

use super::conditional::opaque;

/// True when a stored response can be asked about.
pub(in crate::cache) fn has_validator(stored: &HeaderMap) -> bool {
    stored.contains_key(ETAG) || stored.contains_key(LAST_MODIFIED)
}

/// Makes `request` ask about these stored responses, of which the first one is what it would be answered with. The
/// client's own conditions give way: the answer is evaluated against them when it has come.
pub(in crate::cache) fn ask<'a>(request: &mut HeaderMap, stored: impl Iterator<Item = &'a HeaderMap>) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
    let mut tags: Vec<u8> = Vec::new();
    for (index, headers) in stored.enumerate() {
        if let Some(tag) = headers.get(ETAG) {
            if !tags.is_empty() {
                tags.extend_from_slice(b", ");
            }
            tags.extend_from_slice(tag.as_bytes());
        }
        // Of several only one date could be sent, and only of the first is it the right one.
        if index == 0
            && let Some(modified) = headers.get(LAST_MODIFIED)
        {
            request.insert(IF_MODIFIED_SINCE, modified.clone());
        }
    }
    if !tags.is_empty()
        && let Ok(tags) = HeaderValue::from_maybe_shared(bytes::Bytes::from(tags))
    {
        request.insert(IF_NONE_MATCH, tags);
    }
}

/// What a 304 says of the responses that were asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Meant {
    /// This one has not changed, and is updated.
    Updated(usize),
    /// This one has not changed, or nothing else could have been said so; but the 304 is of another, and must not update it.
    Unchanged(usize),
    /// Nobody knows which.
    Unknown,
}

/// RFC 9111 section 4.3.4: by its strong validator, else by a weak one, else the only one there is. "If none of the initial
/// set contains at least one of the same strong validators, then the cache MUST NOT use the new response to update any
/// stored responses."
pub(in crate::cache) fn meant<'a>(
    not_modified: &HeaderMap,
    asked_about: impl ExactSizeIterator<Item = &'a HeaderMap>,
) -> Meant {
    let is_only_one = asked_about.len() == 1;
    let (tag, modified) = (not_modified.get(ETAG), not_modified.get(LAST_MODIFIED));
    let mut candidates = asked_about.enumerate();
    let same = candidates.find(|(_, stored)| match (tag, modified) {
        (Some(tag), _) => stored.get(ETAG).is_some_and(|own| is_same_tag(own, tag)),
        (None, Some(modified)) => stored.get(LAST_MODIFIED) == Some(modified),
        // A server that repeats no validator, as it should (RFC 9110 section 15.4.5).
        (None, None) => is_only_one,
    });
    match same {
        Some((index, _)) => Meant::Updated(index),
        None if is_only_one => Meant::Unchanged(0),
        None => Meant::Unknown,
    }
}

/// Strong tags are compared strongly, and a weak one with any other weakly (RFC 9110 section 8.8.3.2).
fn is_same_tag(stored: &HeaderValue, new: &HeaderValue) -> bool {
    let weak = |tag: &'_ HeaderValue| tag.as_bytes().starts_with(b"W/");
    stored == new || (weak(new) && opaque(stored.as_bytes()) == opaque(new.as_bytes()))
}

/// True when the answer to a HEAD describes what is stored, so that it updates it; else what is stored has changed
/// (RFC 9111 section 4.3.5).
pub(in crate::cache) fn describes(head: &HeaderMap, stored: &HeaderMap) -> bool {
    let agrees = |name: HeaderName| match head.get(&name) {
        None => true,
        Some(value) => stored.get(&name) == Some(value),
    };
    agrees(ETAG) && agrees(LAST_MODIFIED) && agrees(CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;

    #[test]
    fn a_request_asks_about_all_tags_and_the_first_date() {
        let mut request = headers(&[("if-none-match", "\"client\""), ("if-modified-since", "x"), ("accept", "a")]);
        let stored = [
            headers(&[("etag", "\"a\""), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")]),
            headers(&[("etag", "W/\"b\"")]),
            headers(&[("last-modified", "Sun, 06 Nov 1995 08:49:37 GMT")]),
        ];
        ask(&mut request, stored.iter());
        assert_eq!(request["if-none-match"], "\"a\", W/\"b\"");
        assert_eq!(request["if-modified-since"], "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(request["accept"], "a");
    }

    fn means(not_modified: &[(&str, &str)], stored: &[&[(&str, &str)]]) -> Meant {
        let stored: Vec<_> = stored.iter().map(|lines| headers(lines)).collect();
        meant(&headers(not_modified), stored.iter())
    }

    #[test]
    fn a_304_means_the_response_with_its_tag_or_the_only_one() {
        let (a, b) = (&[("etag", "\"a\"")][..], &[("etag", "\"b\"")][..]);
        assert_eq!(means(b, &[a, b]), Meant::Updated(1));
        assert_eq!(means(&[], &[a, b]), Meant::Unknown);
        assert_eq!(means(&[("etag", "\"c\"")], &[a, b]), Meant::Unknown);
        assert_eq!(means(&[], &[a]), Meant::Updated(0));
    }

    #[test]
    fn a_304_with_another_strong_tag_updates_nothing() {
        let (a, weak) = (&[("etag", "\"a\"")][..], &[("etag", "W/\"a\"")][..]);
        assert_eq!(means(&[("etag", "\"b\"")], &[a]), Meant::Unchanged(0));
        assert_eq!(means(a, &[weak]), Meant::Unchanged(0), "a weak tag is no strong one");
    }

    #[test]
    fn weak_validators_are_compared_weakly() {
        let (a, weak) = (&[("etag", "\"a\"")][..], &[("etag", "W/\"a\"")][..]);
        assert_eq!(means(weak, &[a]), Meant::Updated(0));
        assert_eq!(means(weak, &[weak]), Meant::Updated(0));
        let then = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("last-modified", "Sun, 06 Nov 1995 08:49:37 GMT");
        assert_eq!(means(&[then], &[&[later], &[then]]), Meant::Updated(1));
        assert_eq!(means(&[later], &[&[then]]), Meant::Unchanged(0));
    }

    #[test]
    fn the_answer_to_a_head_describes_what_agrees_with_it() {
        let stored = headers(&[("etag", "\"a\""), ("content-length", "3"), ("x", "1")]);
        assert!(describes(&headers(&[("etag", "\"a\""), ("x", "2")]), &stored));
        assert!(!describes(&headers(&[("etag", "\"b\"")]), &stored));
        assert!(!describes(&headers(&[("content-length", "4")]), &stored));
    }
}
