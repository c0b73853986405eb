//! Which requests a route is for: `hosts`, `path`, `match`, `methods` and `headers`.

use http::{HeaderValue, Method};
use serde_json::Value as Json;

use super::fields::{FieldName, FieldValue, Fields};
use super::forms::{MapOf, NonEmpty};
use super::path::RequestPath;
use super::schema;
use super::table::Keys;
use super::value::{Form, Value};
use super::word::{Choice, Word};

/// Which requests a route is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Matching {
    /// In lower case; empty: any.
    pub(crate) hosts: Vec<String>,
    /// Begins with "/".
    pub(crate) path: String,
    pub(crate) path_match: PathMatch,
    /// `None`: all.
    pub(crate) methods: Option<Vec<Method>>,
    /// All must be there.
    pub(crate) headers: Fields<HeaderValue>,
}

/// How a route's path is compared with a request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PathMatch {
    /// By whole segments.
    Prefix,
    Exact,
}

impl Matching {
    const KEYS: [&'static str; 5] = ["hosts", "path", "match", "methods", "headers"];

    /// Nothing where a fault has been reported.
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let hosts = keys.optional::<NonEmpty<HostName>>("hosts", "the hosts it is for; absent: any");
        let path = keys.required::<RequestPath>("path", "the requests it is for: by path");
        let path_match =
            keys.or::<Word<PathMatch>>("match", "prefix", "by whole segments from the front, or the whole");
        let methods =
            keys.optional::<NonEmpty<MethodName>>("methods", "the methods it takes, GET implies HEAD; absent: all");
        let headers = keys.optional::<MapOf<FieldName, FieldValue>>("headers", "header fields that must be there");
        let matching = Self {
            hosts: hosts.unwrap_or_default(),
            path: path?,
            path_match,
            methods,
            headers: headers.unwrap_or_default(),
        };
        keys.are_sound(&Self::KEYS).then_some(matching)
    }

    /// The path by which it is found: a slash at the end of a prefix changes nothing.
    pub(super) fn place(&self) -> (&str, PathMatch) {
        match self.path_match {
            PathMatch::Exact if self.path == "/" => ("", PathMatch::Exact),
            PathMatch::Exact => (&self.path, PathMatch::Exact),
            PathMatch::Prefix => (self.path.trim_end_matches('/'), PathMatch::Prefix),
        }
    }

    /// Whether some requests of one place are for both, and nothing says for which.
    pub(super) fn is_the_same_as(&self, other: &Self) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (None, None) => true,
            (Some(own), Some(others)) => own.iter().any(|method| others.contains(method)),
            // The one that names them goes first.
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.place() == other.place() && self.shares_host(other) && self.headers == other.headers && methods
    }

    pub(super) fn shares_host(&self, other: &Self) -> bool {
        self.hosts.is_empty() && other.hosts.is_empty() || self.hosts.iter().any(|host| other.hosts.contains(host))
    }
}

impl Choice for PathMatch {
    const BUILT: &'static [(&'static str, Self)] = &[("prefix", Self::Prefix), ("exact", Self::Exact)];
}

/// A name, an address, or a wildcard for one label or more.
struct HostName;

impl Form for HostName {
    type Output = String;

    fn expects() -> String {
        r#"a host such as "api.example.com" or "*.example.com", without a port"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        use tower_gateway::route::Route;
        let is_host = |host: &str| Route::prefix("/").and_then(|route| route.hosts([host])).is_ok();
        let normal = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
        value.parsed::<Self, _>(|text| is_host(text).then(|| normal(text)))
    }

    fn schema() -> Json {
        schema::string(&["api.example.com", "*.example.com"])
    }
}

/// A method as it is sent: their names are compared letter by letter (RFC 9110, section 9.1).
pub(super) struct MethodName;

impl Form for MethodName {
    type Output = Method;

    fn expects() -> String {
        r#"a method such as "GET", in upper case"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Method> {
        let is_upper = |text: &str| !text.bytes().any(|byte| byte.is_ascii_lowercase());
        let method = value.parsed::<Self, _>(|text| text.parse::<Method>().ok().filter(|_| is_upper(text)))?;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            value.fault(&format!("{} is answered with a 501 before any route; leave it out", value.as_written()));
            return None;
        }
        Some(method)
    }

    fn schema() -> Json {
        schema::string(&["GET", "POST"])
    }
}
