//! What becomes of a path on its way to the origin.

use std::fmt;
use std::sync::Arc;

use http::uri::PathAndQuery;
use thiserror::Error;

use crate::Head;
use crate::aside::aside;
use crate::origin::join;

/// A prefix that cannot be stripped.
#[derive(Debug, Error)]
#[error("the prefix {0:?} must begin with \"/\" and hold no query or fragment")]
pub struct InvalidPrefix(String);

/// A rewrite of the path: it is given the request and what stripping has left, and returns the path to send, without a
/// query.
pub type PathRewrite = Arc<dyn Fn(Head<'_>, &str) -> String + Send + Sync>;

/// How paths are changed.
#[derive(Clone, Default)]
pub(super) struct PathRules {
    /// Without its trailing slash; empty when nothing is stripped.
    prefix: Box<str>,
    rewrite: Option<PathRewrite>,
}

impl PathRules {
    pub(super) fn set_prefix(&mut self, prefix: &str) -> Result<(), InvalidPrefix> {
        if !prefix.starts_with('/') || prefix.contains(['?', '#']) {
            return Err(InvalidPrefix(prefix.to_owned()));
        }
        self.prefix = prefix.trim_end_matches('/').into();
        Ok(())
    }

    pub(super) fn set_rewrite(&mut self, rewrite: PathRewrite) {
        self.rewrite = Some(rewrite);
    }

    /// The path and query to send for a request. `None` when they are not a path, or one that an origin may take for another.
    pub(super) fn apply(&self, head: Head<'_>) -> Option<PathAndQuery> {
        let target = self.rewritten(head)?;
        if !is_unambiguous(target.path()) {
            aside();
            return None;
        }
        Some(target)
    }

    fn rewritten(&self, head: Head<'_>) -> Option<PathAndQuery> {
        let Some(given) = head.uri().path_and_query() else {
            aside();
            return Some(PathAndQuery::from_static("/"));
        };
        let stripped = strip_prefix(given.path(), &self.prefix);
        if let Some(rewrite) = &self.rewrite {
            aside();
            return join(&rewrite(head, stripped.unwrap_or(given.path())), given.query());
        }
        match stripped {
            // Of `http://host?query` (RFC 9112 section 3.2.1: an empty path is sent as "/").
            None if given.as_str().starts_with('?') => {
                aside();
                join("/", given.query())
            }
            None => Some(given.clone()),
            Some(rest) => join(rest, given.query()),
        }
    }
}

impl fmt::Debug for PathRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathRules").field("prefix", &self.prefix).field("rewrites", &self.rewrite.is_some()).finish()
    }
}

/// What whole segments after `prefix` are left of `path`; `None` when there is nothing to strip.
fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return None;
    }
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// False for `//host/..`, which names an authority to some (RFC 3986 section 4.2), and for dot segments, with which a path
/// leaves what it was matched as: `/public/../admin`, below an origin's base path as well. However they are dressed:
/// percent-encoded, with path parameters, between backslashes or encoded slashes.
fn is_unambiguous(path: &str) -> bool {
    !path.starts_with("//") && !holds_dot_segment(path.as_bytes())
}

fn holds_dot_segment(path: &[u8]) -> bool {
    // Most paths have neither a dot nor anything that stands for one.
    path.iter().any(|byte| matches!(byte, b'.' | b'%')) && holds_dressed_dot_segment(path)
}

#[inline(never)]
fn holds_dressed_dot_segment(mut path: &[u8]) -> bool {
    let is_dot_segment = |dots| matches!(dots, Some(1 | 2));
    // Since the last separator, as long as there is nothing else.
    let mut dots: Option<usize> = None;
    while let Some((byte, rest)) = next_decoded(path) {
        path = rest;
        dots = match byte {
            b'/' | b'\\' | b';' if is_dot_segment(dots) => return true,
            b'/' | b'\\' => Some(0),
            b'.' => dots.map(|dots| dots + 1),
            _ => None,
        };
    }
    is_dot_segment(dots)
}

fn next_decoded(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    if let [b'%', high, low, rest @ ..] = bytes
        && let (Some(high), Some(low)) = (digit(high), digit(low))
    {
        return Some(((high << 4 | low) as u8, rest));
    }
    let (first, rest) = bytes.split_first()?;
    Some((*first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(prefix: &str) -> PathRules {
        let mut rules = PathRules::default();
        rules.set_prefix(prefix).unwrap();
        rules
    }

    fn applied(rules: &PathRules, target: &str) -> Option<PathAndQuery> {
        rules.apply(Head::of(&http::Request::get(target).body(()).unwrap()))
    }

    fn sent(rules: &PathRules, target: &str) -> String {
        applied(rules, target).unwrap().to_string()
    }

    #[test]
    fn a_prefix_is_stripped_by_whole_segments() {
        let rules = rules("/api");
        assert_eq!(sent(&rules, "/api/users/7"), "/users/7");
        assert_eq!(sent(&rules, "/api"), "/");
        assert_eq!(sent(&rules, "/api/"), "/");
        assert_eq!(sent(&rules, "/api2/users"), "/api2/users");
        assert_eq!(sent(&rules, "/other"), "/other");
    }

    #[test]
    fn the_query_is_kept_byte_for_byte() {
        let rules = rules("/api/");
        assert_eq!(sent(&rules, "/api/a?x=%2F&&y=a+b?c&z"), "/a?x=%2F&&y=a+b?c&z");
        assert_eq!(sent(&rules, "/api?"), "/?");
        assert_eq!(applied(&rules, "http://a?x=1").unwrap().as_str(), "/?x=1");
    }

    #[test]
    fn a_rewrite_sees_what_stripping_left_and_never_the_query() {
        let mut rules = rules("/api");
        rules.set_rewrite(Arc::new(|head, path| format!("/v2/{}{path}", head.method())));
        assert_eq!(sent(&rules, "/api/users?a=1"), "/v2/GET/users?a=1");
        rules.set_rewrite(Arc::new(|_, _| "no slash".to_owned()));
        assert!(applied(&rules, "/api/users").is_none());
    }

    #[test]
    fn what_is_left_names_no_other_path_and_no_authority() {
        let rules = rules("/api");
        for target in [
            "/api//admin",
            "/api/../admin",
            "/api/.",
            "/api/a/..",
            "/api/%2e%2E/admin",
            "/api/.%2e;x/admin",
            "/api/..;/admin",
            "/api/a%2F..%2fb",
            "/api/a%5c..\\b",
            "//example.com/a",
            "/other/../api",
        ] {
            assert!(applied(&rules, target).is_none(), "{target}");
        }
        for target in ["/api/...", "/api/a.b/..c/.d", "/api/a//b", "/api/a;../b", "/api/a?/../b", "/api/%252e%252e/b"] {
            assert_eq!(sent(&rules, target), target["/api".len()..]);
        }
    }

    #[test]
    fn a_rewrite_makes_no_dot_segment_either() {
        let mut rules = PathRules::default();
        rules.set_rewrite(Arc::new(|_, path| format!("/v2/..{path}")));
        assert!(applied(&rules, "/users").is_none());
    }

    #[test]
    fn a_prefix_that_is_not_a_path_is_refused() {
        assert!(PathRules::default().set_prefix("api").is_err());
        assert!(PathRules::default().set_prefix("/a?b").is_err());
    }
}
