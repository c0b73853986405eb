//! Whether a response may be stored at all (RFC 9111 section 3).

use http::header::{CONTENT_LOCATION, HeaderMap, SET_COOKIE};
use http::{Method, StatusCode, Uri};

use super::directives::{RequestDirectives, ResponseDirectives};
use super::freshness::{Lifetime, is_heuristically_cacheable};
use super::{range, vary};

/// What of a request decides on the storing of its response.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Asked<'a> {
    pub(in crate::cache) method: &'a Method,
    pub(in crate::cache) uri: &'a Uri,
    /// Where the target is, as its key has it.
    pub(in crate::cache) host: &'a str,
    pub(in crate::cache) directives: RequestDirectives,
    /// It carries `Authorization`, and nobody has stated who may have the answer.
    pub(in crate::cache) authorized: bool,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Refused {
    Method,
    Status,
    NoStore,
    Private,
    Authorization,
    SetCookie,
    VariesByAnything,
    /// A part whose place in the whole is not known.
    UnknownPart,
}

/// Every condition of RFC 9111 section 3, and those of sections 3.2 to 3.5 that it refers to.
pub(in crate::cache) fn check(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
    stores_set_cookie: bool,
) -> Result<(), Refused> {
    method(asked, headers, lifetime)?;
    // Interim answers are never final, and a 304 is an update of what is stored.
    if status.is_informational() || status == StatusCode::NOT_MODIFIED {
        return Err(Refused::Status);
    }
    if directives.must_understand && !is_understood(status) {
        return Err(Refused::Status);
    }
    // RFC 9111 section 5.2.2.3: must-understand takes no-store back for a cache that understands the status.
    if asked.directives.no_store || (directives.no_store && !directives.must_understand) {
        return Err(Refused::NoStore);
    }
    if directives.private {
        return Err(Refused::Private);
    }
    if asked.authorized && !allows_authorized(directives) {
        return Err(Refused::Authorization);
    }
    let explicit = lifetime.is_explicit() || directives.public;
    if headers.contains_key(SET_COOKIE) && !(stores_set_cookie && explicit) {
        return Err(Refused::SetCookie);
    }
    if !explicit && !is_heuristically_cacheable(status) && !matches!(lifetime, Lifetime::Configured(_)) {
        return Err(Refused::Status);
    }
    if vary::is_star(headers) {
        return Err(Refused::VariesByAnything);
    }
    if status == StatusCode::PARTIAL_CONTENT && range::of_response(headers).is_none() {
        return Err(Refused::UnknownPart);
    }
    Ok(())
}

/// GET; and POST, whose answer must say for how long and for what it can stand (RFC 9110 section 9.3.3). A HEAD has no
/// content to store.
fn method(asked: &Asked<'_>, headers: &HeaderMap, lifetime: Lifetime) -> Result<(), Refused> {
    match *asked.method {
        Method::GET => Ok(()),
        Method::POST if lifetime.is_explicit() && is_its_own_representation(asked, headers) => Ok(()),
        _ => Err(Refused::Method),
    }
}

/// `Content-Location` names the very target.
fn is_its_own_representation(asked: &Asked<'_>, headers: &HeaderMap) -> bool {
    let location = headers.get(CONTENT_LOCATION).and_then(|value| value.to_str().ok()?.parse::<Uri>().ok());
    location.is_some_and(|location| {
        let here = location.authority().is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(asked.host));
        here && location.path_and_query() == asked.uri.path_and_query()
    })
}

/// RFC 9111 section 3.5.
fn allows_authorized(directives: &ResponseDirectives) -> bool {
    directives.public || directives.must_revalidate || directives.s_maxage.is_present()
}

/// Statuses that RFC 9110 defines, and so that this cache knows how to store.
fn is_understood(status: StatusCode) -> bool {
    status != StatusCode::PARTIAL_CONTENT && status.canonical_reason().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;

    fn stored(status: u16, lines: &[(&str, &str)]) -> Result<(), Refused> {
        asked(&Method::GET, "", false, status, lines)
    }

    fn asked(
        method: &Method,
        request: &str,
        authorized: bool,
        status: u16,
        lines: &[(&str, &str)],
    ) -> Result<(), Refused> {
        let headers = headers(lines);
        let directives = ResponseDirectives::of(&headers);
        let defaults = super::super::freshness::Defaults { heuristic: true, ttl: None, ttl_statuses: Vec::new() };
        let status = StatusCode::from_u16(status).unwrap();
        let lifetime = super::super::freshness::lifetime(status, &headers, &directives, 784_111_777, &defaults);
        let directives_of_request =
            RequestDirectives::of(&super::super::fields::tests::headers(&[("cache-control", request)]));
        let uri = Uri::from_static("/a?b");
        let asked = Asked { method, uri: &uri, host: "a.test", directives: directives_of_request, authorized };
        check(&asked, status, &headers, &directives, lifetime, true)
    }

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");

    #[test]
    fn any_final_status_with_explicit_freshness_is_stored() {
        for status in [200, 201, 203, 204, 299, 301, 302, 307, 400, 404, 418, 499, 500, 503, 599] {
            assert_eq!(stored(status, &[FRESH]), Ok(()), "{status}");
        }
        assert_eq!(stored(304, &[FRESH]), Err(Refused::Status));
    }

    #[test]
    fn a_status_that_is_not_cacheable_by_default_needs_explicit_freshness_or_public() {
        assert_eq!(stored(201, &[("etag", "\"a\"")]), Err(Refused::Status));
        assert_eq!(stored(201, &[("etag", "\"a\""), ("cache-control", "public")]), Ok(()));
        assert_eq!(stored(200, &[("etag", "\"a\"")]), Ok(()));
    }

    #[test]
    fn no_store_of_either_side_and_private_refuse() {
        assert_eq!(stored(200, &[("cache-control", "max-age=60, no-store")]), Err(Refused::NoStore));
        assert_eq!(asked(&Method::GET, "no-store", false, 200, &[FRESH]), Err(Refused::NoStore));
        assert_eq!(stored(200, &[("cache-control", "max-age=60, private")]), Err(Refused::Private));
        assert_eq!(stored(200, &[("cache-control", "max-age=60, private=\"a\"")]), Err(Refused::Private));
    }

    #[test]
    fn must_understand_takes_no_store_back_for_a_known_status_alone() {
        let lines = [("cache-control", "max-age=60, no-store, must-understand")];
        assert_eq!(stored(200, &lines), Ok(()));
        assert_eq!(stored(599, &lines), Err(Refused::Status));
        assert_eq!(stored(599, &[("cache-control", "max-age=60, must-understand")]), Err(Refused::Status));
    }

    #[test]
    fn an_authorized_request_needs_public_must_revalidate_or_s_maxage() {
        let answer = |value| asked(&Method::GET, "", true, 200, &[("cache-control", value)]);
        assert_eq!(answer("max-age=60"), Err(Refused::Authorization));
        for value in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
            assert_eq!(answer(value), Ok(()), "{value}");
        }
    }

    #[test]
    fn cookies_need_explicit_freshness() {
        let cookie = ("set-cookie", "a=b");
        assert_eq!(stored(200, &[cookie, FRESH]), Ok(()));
        assert_eq!(stored(200, &[cookie, ("last-modified", "Sun, 06 Nov 1993 08:49:37 GMT")]), Err(Refused::SetCookie));
    }

    #[test]
    fn a_post_is_stored_with_freshness_and_its_own_location_alone() {
        let post = |lines: &[(&str, &str)]| asked(&Method::POST, "", false, 200, lines);
        assert_eq!(post(&[FRESH, ("content-location", "/a?b")]), Ok(()));
        assert_eq!(post(&[FRESH, ("content-location", "http://a.test/a?b")]), Ok(()));
        assert_eq!(post(&[FRESH, ("content-location", "http://b.test/a?b")]), Err(Refused::Method));
        assert_eq!(post(&[FRESH, ("content-location", "/a")]), Err(Refused::Method));
        assert_eq!(post(&[FRESH]), Err(Refused::Method));
        assert_eq!(post(&[("content-location", "/a?b")]), Err(Refused::Method));
        assert_eq!(asked(&Method::PUT, "", false, 200, &[FRESH, ("content-location", "/a?b")]), Err(Refused::Method));
        assert_eq!(asked(&Method::HEAD, "", false, 200, &[FRESH]), Err(Refused::Method));
    }

    #[test]
    fn a_part_is_stored_when_its_place_is_known() {
        assert_eq!(stored(206, &[FRESH, ("content-range", "bytes 0-4/10")]), Ok(()));
        assert_eq!(stored(206, &[FRESH, ("content-type", "multipart/byteranges")]), Err(Refused::UnknownPart));
        assert_eq!(stored(206, &[FRESH, ("content-range", "bytes 4-0/10")]), Err(Refused::UnknownPart));
    }

    #[test]
    fn what_varies_by_anything_is_not_stored() {
        assert_eq!(stored(200, &[FRESH, ("vary", "a, *")]), Err(Refused::VariesByAnything));
    }
}
