//! Requests that ask the origin whether what is stored still holds (RFC 9111 section 4.3.1), and what its 304 says of it
//! (section 4.3.3).

use http::header::{
    CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

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

/// Which of the responses that were asked about a 304 means: that with its tag, else, where only one was asked about,
/// that one, since the origin has said that nothing has changed.
pub(in crate::cache) fn meant<'a>(
    not_modified: &HeaderMap,
    asked_about: impl ExactSizeIterator<Item = &'a HeaderMap>,
) -> Option<usize> {
    let count = asked_about.len();
    let tag = not_modified.get(ETAG);
    let mut candidates = asked_about.enumerate();
    let same = tag.and_then(|tag| candidates.find(|(_, stored)| stored.get(ETAG) == Some(tag)));
    same.map(|(index, _)| index).or((count == 1).then_some(0))
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

    #[test]
    fn a_304_means_the_response_with_its_tag_or_the_only_one() {
        let (a, b) = (headers(&[("etag", "\"a\"")]), headers(&[("etag", "\"b\"")]));
        assert_eq!(meant(&headers(&[("etag", "\"b\"")]), [&a, &b].into_iter()), Some(1));
        assert_eq!(meant(&headers(&[]), [&a, &b].into_iter()), None);
        assert_eq!(meant(&headers(&[("etag", "\"c\"")]), [&a, &b].into_iter()), None);
        assert_eq!(meant(&headers(&[]), [&a].into_iter()), Some(0));
    }

    #[test]
    fn the_answer_to_a_head_describes_what_agrees_with_it() {
        let stored = headers(&[("etag", "\"a\""), ("content-length", "3"), ("x", "1")]);
        assert!(describes(&headers(&[("etag", "\"a\""), ("x", "2")]), &stored));
        assert!(!describes(&headers(&[("etag", "\"b\"")]), &stored));
        assert!(!describes(&headers(&[("content-length", "4")]), &stored));
    }
}
