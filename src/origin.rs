//! Where requests go: an origin's scheme, authority and base path.

use std::borrow::Cow;
use std::fmt;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// An origin that every request goes to: what an absolute URI needs besides the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Authority,
    /// Put before the request's path; without its trailing slash, mostly empty.
    base: Box<str>,
}

impl Origin {
    /// `None` when `uri` is not `http(s)://host[:port][/base]`, or carries user info or a query.
    pub(crate) fn new(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme().filter(|scheme| **scheme == Scheme::HTTP || **scheme == Scheme::HTTPS)?.clone();
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?.clone();
        if uri.query().is_some() || authority.host().is_empty() {
            return None;
        }
        Some(Self { scheme, authority, base: uri.path().trim_end_matches('/').into() })
    }

    pub(crate) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `path` below this origin's base. `None` when the result is not a path.
    pub(crate) fn path<'a>(&self, path: &'a PathAndQuery) -> Option<Cow<'a, PathAndQuery>> {
        if self.base.is_empty() {
            return Some(Cow::Borrowed(path));
        }
        if !path.path().starts_with('/') {
            // The `*` of OPTIONS is the whole server, which has no place below a base.
            return None;
        }
        join(&[&self.base, path.path()].concat(), path.query()).map(Cow::Owned)
    }

    /// The absolute URI of `path` below this origin's base.
    #[inline(never)]
    pub(crate) fn uri(&self, path: &PathAndQuery) -> Option<Uri> {
        if !path.path().starts_with('/') {
            return None;
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(self.path(path)?.into_owned());
        Uri::from_parts(parts).ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base)
    }
}

/// `path` and `query` as one. `None` when the path does not begin with `/` or holds what no path may: a query or fragment
/// of its own above all.
pub(crate) fn join(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return None;
    }
    match query {
        None => path.parse().ok(),
        Some(query) => PathAndQuery::try_from([path, "?", query].concat()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origins_base_comes_before_the_path() {
        let origin = Origin::new(&"http://o:1/base/".parse().unwrap()).unwrap();
        let path = PathAndQuery::from_static("/a?b");
        assert_eq!(origin.uri(&path).unwrap(), "http://o:1/base/a?b");
        let origin = Origin::new(&"http://o:1".parse().unwrap()).unwrap();
        assert_eq!(origin.uri(&path).unwrap(), "http://o:1/a?b");
    }

    #[test]
    fn the_target_of_options_has_no_place_below_a_base() {
        let star = PathAndQuery::from_static("*");
        let origin = |url: &str| Origin::new(&url.parse().unwrap()).unwrap();
        assert_eq!(origin("http://o:1").path(&star).as_deref(), Some(&star));
        assert_eq!(origin("http://o:1/base").path(&star), None);
        assert_eq!(origin("http://o:1").uri(&star), None);
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_base() {
        for bad in ["ftp://o/", "/path", "http://user@o/", "http://o/?q"] {
            assert!(Origin::new(&bad.parse().unwrap()).is_none(), "{bad}");
        }
    }
}
