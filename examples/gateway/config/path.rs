//! Paths of requests, as they are compared with those on the wire.

use http::uri::PathAndQuery;
use serde_json::Value as Json;
use tower_gateway::strict::normal_path;

use super::schema;
use super::value::{Form, Value};

/// An absolute path without a query (RFC 3986, section 3.3), percent-encoded where a request's is.
pub(super) struct RequestPath;

impl Form for RequestPath {
    type Output = String;

    fn expects() -> String {
        r#"a path that begins with "/", such as "/api/users""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        let text = value.text::<Self>()?;
        if !text.text.starts_with('/') {
            value.is_not::<Self>();
            return None;
        }
        if let Some(problem) = problem(&text.text) {
            value.fault(&format!("{} {problem}", text.quoted()));
            return None;
        }
        match normal_path(&text.text) {
            None => {
                value.fault(&format!("{} is refused in every request; write another path", text.quoted()));
                return None;
            }
            Some(normal) if normal != text.text => {
                let quoted = text.quoted();
                value.fault(&format!("{quoted} is {normal:?} when it is matched; write that"));
                return None;
            }
            Some(_) => {}
        }
        Some(text.text)
    }

    fn schema() -> Json {
        schema::string(&["/", "/api/users", "/api", "/orders", "/a%20b"])
    }
}

/// Why no request can have this path.
fn problem(path: &str) -> Option<&'static str> {
    if path.contains(['?', '#']) {
        Some("holds a query or a fragment; write the path alone")
    } else if !path.is_ascii() || path.parse::<PathAndQuery>().is_err() {
        Some("holds characters that no path has on the wire; write them percent-encoded, such as \"%20\"")
    } else {
        None
    }
}

/// What is taken off the front of a path, by whole segments; without a slash at its end.
pub(super) struct PathPrefix;

impl Form for PathPrefix {
    type Output = String;

    fn expects() -> String {
        RequestPath::expects()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        let path = RequestPath::read(value)?;
        let prefix = path.trim_end_matches('/');
        if prefix.is_empty() {
            value.fault(&format!("{} takes nothing off; leave it out", value.as_written()));
            return None;
        }
        Some(prefix.to_owned())
    }

    fn schema() -> Json {
        schema::string(&["/api"])
    }
}

/// Whether `prefix` is `path` or a parent of it: "/api" of "/api/users", not of "/apis".
pub(super) fn is_prefix_by_segments(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
