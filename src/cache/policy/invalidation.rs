//! What a request that may have changed something takes out of the cache (RFC 9111 section 4.4).

use http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

/// True for methods that change nothing (RFC 9110 section 9.2.1). Unknown ones may.
pub(in crate::cache) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// True when the request has succeeded: "a non-error response is one with a 2xx or 3xx status code".
pub(in crate::cache) fn has_happened(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// The other targets of the same origin that the response names. Those of other origins are not its to change.
pub(in crate::cache) fn also_changed<'a>(
    headers: &'a HeaderMap,
    scheme: &'a str,
    host: &'a str,
    base: &'a str,
) -> impl Iterator<Item = PathAndQuery> + 'a {
    [LOCATION, CONTENT_LOCATION].into_iter().filter_map(move |name| {
        let value = headers.get(name)?.to_str().ok()?;
        same_origin(value.split('#').next().unwrap_or(value), scheme, host, base)
    })
}

/// The path and query of a reference, resolved against `base`, when it names the same origin.
fn same_origin(reference: &str, scheme: &str, host: &str, base: &str) -> Option<PathAndQuery> {
    if reference.is_empty() {
        return None;
    }
    if let Some(rest) = reference.strip_prefix("//") {
        return same_origin(&format!("{scheme}://{rest}"), scheme, host, base);
    }
    if reference.starts_with('/') {
        return reference.parse().ok();
    }
    if reference.contains("://") {
        let uri: Uri = reference.parse().ok()?;
        let same = uri.scheme_str().is_some_and(|theirs| theirs.eq_ignore_ascii_case(scheme))
            && uri
                .authority()
                .is_some_and(|theirs| without_default_port(theirs.as_str(), scheme).eq_ignore_ascii_case(host));
        return same.then(|| uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    }
    // A reference relative to the folder of the target (RFC 3986 section 5.2.3). Dot segments are resolved.
    let folder = &base[..base.rfind('/').map_or(0, |at| at + 1)];
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let mut segments: Vec<&str> = folder.trim_end_matches('/').split('/').collect();
    if path.is_empty() {
        segments = base.split('/').collect();
    }
    for segment in path.split('/').filter(|_| !path.is_empty()) {
        match segment {
            "." => {}
            ".." => {
                if segments.len() > 1 {
                    segments.pop();
                }
            }
            other => segments.push(other),
        }
    }
    let mut target = segments.join("/");
    if !target.starts_with('/') {
        target.insert(0, '/');
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target.parse().ok()
}

pub(in crate::cache) fn without_default_port<'a>(authority: &'a str, scheme: &str) -> &'a str {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;

    fn changed(name: &str, value: &str) -> Vec<String> {
        let headers = headers(&[(name, value)]);
        also_changed(&headers, "http", "a.test", "/dir/file").map(|target| target.to_string()).collect()
    }

    #[test]
    fn unsafe_and_unknown_methods_may_change_something() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"] {
            assert!(!is_safe(&Method::from_bytes(method.as_bytes()).unwrap()), "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(is_safe(&Method::from_bytes(method.as_bytes()).unwrap()), "{method}");
        }
    }

    #[test]
    fn errors_have_changed_nothing() {
        assert!(has_happened(StatusCode::OK) && has_happened(StatusCode::SEE_OTHER));
        assert!(!has_happened(StatusCode::NOT_FOUND) && !has_happened(StatusCode::BAD_GATEWAY));
    }

    #[test]
    fn locations_of_the_same_origin_are_changed_too() {
        for name in ["location", "content-location"] {
            assert_eq!(changed(name, "/other?q"), ["/other?q"]);
            assert_eq!(changed(name, "http://A.test/other#part"), ["/other"]);
            assert_eq!(changed(name, "http://a.test:80"), ["/"]);
            assert_eq!(changed(name, "//a.test/x"), ["/x"]);
            assert_eq!(changed(name, "other"), ["/dir/other"]);
            assert_eq!(changed(name, "../up/./x?y"), ["/up/x?y"]);
            assert_eq!(changed(name, "?z"), ["/dir/file?z"]);
        }
    }

    #[test]
    fn locations_of_other_origins_are_not() {
        for value in ["http://b.test/x", "https://a.test/x", "http://a.test:81/x", "//b.test/", "", "mailto://x"] {
            assert_eq!(changed("location", value), Vec::<String>::new(), "{value}");
        }
    }
}
