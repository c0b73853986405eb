use http::{HeaderName, HeaderValue, Method, Uri};
use thiserror::Error;

use super::host;
use crate::aside::aside;
use crate::{Head, RouteName};

/// Which requests a route is for. See the [module](super) for how one of several is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub(super) name: Option<RouteName>,
    /// Empty: any.
    pub(super) hosts: Vec<HostPattern>,
    pub(super) path: Box<str>,
    pub(super) exact: bool,
    /// `None`: all.
    pub(super) methods: Option<Vec<Method>>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) answers_preflights: bool,
}

/// A route that no request could ever match.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The path does not begin with `/`, or holds more than a path.
    #[error("the path {0:?} must begin with \"/\" and hold no query, fragment or character that a URI has not")]
    Path(String),
    /// The host is no name, address or wildcard.
    #[error("the host {0:?} must be a name, an address or a wildcard such as \"*.example.com\", without a port")]
    Host(String),
}

/// One of a route's hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern {
    /// Of a wildcard, what comes after `*.`.
    pub(super) name: Box<str>,
    pub(super) wildcard: bool,
}

impl Route {
    /// All paths that begin with `path`, by whole segments. A slash at its end changes nothing.
    ///
    /// # Errors
    ///
    /// [`RouteError::Path`].
    pub fn prefix(path: &str) -> Result<Self, RouteError> {
        Self::new(path, false)
    }

    /// This path alone.
    ///
    /// # Errors
    ///
    /// [`RouteError::Path`].
    pub fn exact(path: &str) -> Result<Self, RouteError> {
        Self::new(path, true)
    }

    fn new(path: &str, exact: bool) -> Result<Self, RouteError> {
        let is_path = path.starts_with('/') && path.parse::<Uri>().is_ok_and(|uri| uri.path() == path);
        if !is_path {
            return Err(RouteError::Path(path.to_owned()));
        }
        Ok(Self {
            name: None,
            hosts: Vec::new(),
            path: path.into(),
            exact,
            methods: None,
            headers: Vec::new(),
            answers_preflights: false,
        })
    }

    /// The name that the context is told: the route's label in logs and metrics. None by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<RouteName>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The hosts it is for: names, addresses, or wildcards such as `*.example.com`. Any host by default, and where none is
    /// given.
    ///
    /// # Errors
    ///
    /// [`RouteError::Host`] for the first that is none of these.
    pub fn hosts<H: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = H>) -> Result<Self, RouteError> {
        self.hosts = hosts.into_iter().map(|host| HostPattern::parse(host.as_ref())).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// The methods it takes; `GET` implies `HEAD`. All by default.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        let mut methods: Vec<_> = methods.into_iter().collect();
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        self.methods = Some(methods);
        self
    }

    /// A header field that has to be there with this value, besides those required before.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says that the route's service answers CORS preflights itself. They come to it when it takes the method, and may be
    /// sent the header fields, that they ask for. By default a preflight is an OPTIONS request like others.
    #[must_use]
    pub fn answers_preflights(mut self, answers: bool) -> Self {
        self.answers_preflights = answers;
        self
    }

    pub(super) fn takes_headers(&self, request: &Asked<'_>) -> bool {
        self.headers.is_empty() || self.takes_these_headers(request)
    }

    #[inline(never)]
    fn takes_these_headers(&self, request: &Asked<'_>) -> bool {
        self.headers.iter().all(|(name, value)| {
            request.head.headers().get_all(name).iter().any(|own| own == value)
                || self.answers_preflights && request.preflight.is_some() && request.announces(name)
        })
    }

    pub(super) fn takes_method(&self, request: &Asked<'_>) -> bool {
        self.methods.as_ref().is_none_or(|methods| self.takes_one_of(methods, request))
    }

    #[inline(never)]
    fn takes_one_of(&self, methods: &[Method], request: &Asked<'_>) -> bool {
        match &request.preflight {
            Some(method) if self.answers_preflights => methods.contains(method),
            _ => methods.contains(request.head.method()),
        }
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, RouteError> {
        let error = || RouteError::Host(text.to_owned());
        let (rest, wildcard) = text.strip_prefix("*.").map_or((text, false), |rest| (rest, true));
        let name = host::normal(rest).ok_or_else(error)?;
        let is_address = name.starts_with('[') && name.ends_with(']') && !wildcard;
        let is_name = || {
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            name.split('.').all(|label| !label.is_empty() && label.bytes().all(of_name))
        };
        if !is_address && !is_name() {
            return Err(error());
        }
        Ok(Self { name: name.into(), wildcard })
    }
}

/// A request, and what it asks for as a CORS preflight.
pub(super) struct Asked<'a> {
    head: Head<'a>,
    /// The method that it asks for, where it is one.
    preflight: Option<Method>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(head: Head<'a>) -> Self {
        Self { head, preflight: asks_for(head) }
    }

    /// True when a preflight says that the request it asks for will have this field.
    fn announces(&self, name: &HeaderName) -> bool {
        let lines = self.head.headers().get_all(http::header::ACCESS_CONTROL_REQUEST_HEADERS);
        lines
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .any(|own| own.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    }
}

/// The method that a CORS preflight asks for. `None` where the request is none (Fetch standard, section 3.3).
///
/// ```
/// use http::{Method, Request};
/// use tower_gateway::{Head, route::asks_for};
///
/// let preflight = Request::options("/")
///     .header("origin", "https://app.example")
///     .header("access-control-request-method", "PUT")
///     .body(())?;
/// assert_eq!(asks_for(Head::of(&preflight)), Some(Method::PUT));
/// # Ok::<(), http::Error>(())
/// ```
pub fn asks_for(head: Head<'_>) -> Option<Method> {
    use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
    if *head.method() != Method::OPTIONS {
        return None;
    }
    aside();
    if !head.headers().contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(head.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_a_slash_and_is_nothing_but_a_path() {
        for bad in ["", "api", "*", "/a?b", "/a#b", "/a b", "http://a/b"] {
            assert_eq!(Route::prefix(bad), Err(RouteError::Path(bad.to_owned())));
            assert_eq!(Route::exact(bad), Err(RouteError::Path(bad.to_owned())));
        }
        assert!(Route::prefix("/a//b/").is_ok() && Route::exact("/%2F").is_ok());
    }

    #[test]
    fn a_host_is_a_name_an_address_or_a_wildcard_of_whole_labels() {
        let parse = |host: &str| Route::prefix("/").unwrap().hosts([host]).map(|route| route.hosts[0].clone());
        let pattern = |name: &str, wildcard| HostPattern { name: name.into(), wildcard };
        assert_eq!(parse("API.example.com."), Ok(pattern("api.example.com", false)));
        assert_eq!(parse("*.Example.com"), Ok(pattern("example.com", true)));
        assert_eq!(parse("[2001:DB8::1]"), Ok(pattern("[2001:db8::1]", false)));
        assert_eq!(parse("192.0.2.1"), Ok(pattern("192.0.2.1", false)));
        for bad in
            ["", ".", "*", "*.", "*a.example", "a.*.example", "a..b", "a:80", "[::1]:80", "*.[::1]", "a/b", "ä.de"]
        {
            assert_eq!(parse(bad), Err(RouteError::Host(bad.to_owned())), "{bad}");
        }
    }
}
