//! What becomes of a path on its way to the origin.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use thiserror::Error;

use crate::origin::join;

/// A prefix that cannot be stripped.
#[derive(Debug, Error)]
#[error("the prefix {0:?} must begin with \"/\" and hold no query or fragment")]
pub struct InvalidPrefix(String);

/// A rewrite of the path: it is given what stripping has left, and returns the path to send, without a query.
pub type PathRewrite = Arc<dyn Fn(&str) -> String + Send + Sync>;

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

    /// The path and query to send for `uri`. `None` when a rewrite made something that is not a path.
    pub(super) fn apply(&self, uri: &Uri) -> Option<PathAndQuery> {
        let Some(given) = uri.path_and_query() else {
            return Some(PathAndQuery::from_static("/"));
        };
        let stripped = strip_prefix(given.path(), &self.prefix);
        if let Some(rewrite) = &self.rewrite {
            return join(&rewrite(stripped.unwrap_or(given.path())), given.query());
        }
        match stripped {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(prefix: &str) -> PathRules {
        let mut rules = PathRules::default();
        rules.set_prefix(prefix).unwrap();
        rules
    }

    fn sent(rules: &PathRules, target: &str) -> String {
        rules.apply(&target.parse().unwrap()).unwrap().to_string()
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
    }

    #[test]
    fn a_rewrite_sees_what_stripping_left_and_never_the_query() {
        let mut rules = rules("/api");
        rules.set_rewrite(Arc::new(|path| format!("/v2{path}")));
        assert_eq!(sent(&rules, "/api/users?a=1"), "/v2/users?a=1");
        rules.set_rewrite(Arc::new(|_| "no slash".to_owned()));
        assert!(rules.apply(&"/api/users".parse().unwrap()).is_none());
    }

    #[test]
    fn a_prefix_that_is_not_a_path_is_refused() {
        assert!(PathRules::default().set_prefix("api").is_err());
        assert!(PathRules::default().set_prefix("/a?b").is_err());
    }
}
