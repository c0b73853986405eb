//! What answers a route's requests: `upstream`, `respond` or `redirect`.

use http::{HeaderValue, StatusCode};
use serde_json::{Value as Json, json};
use tower_gateway::transform::Template;

use super::fields::{FieldName, FieldValue, Fields};
use super::forms::MapOf;
use super::path::PathPrefix;
use super::reference::NameOf;
use super::schema;
use super::table::{Keys, Table};
use super::template::Templated;
use super::upstream::Upstream;
use super::value::{Form, Value};

/// What answers a route's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The name of an upstream that exists.
    Upstream(String),
    Respond(Respond),
    Redirect(Redirect),
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Respond {
    pub(crate) status: StatusCode,
    pub(crate) headers: Fields<HeaderValue>,
    pub(crate) body: String,
}

/// The way to another place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) status: StatusCode,
    pub(crate) to: Template,
}

impl Target {
    /// Nothing where a fault has been reported.
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let upstream = keys.optional::<NameOf<Upstream>>("upstream", "the upstream that answers");
        let respond = keys.optional::<Respond>("respond", "a fixed answer, instead of an upstream");
        let redirect = keys.optional::<Redirect>("redirect", "the way to another place, instead of an upstream");
        let expects = format!("{}, or \"respond\" or \"redirect\" instead", NameOf::<Upstream>::expects());
        match keys.one_of(&["upstream", "respond", "redirect"], &expects)? {
            "upstream" => upstream.map(Self::Upstream),
            "respond" => respond.map(Self::Respond),
            _ => redirect.map(Self::Redirect),
        }
    }
}

impl Table for Respond {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let status = keys.required::<Status>("status", "of the answer");
        let headers = keys.optional::<MapOf<FieldName, FieldValue>>("headers", "its header fields");
        let body = keys.optional::<Content>("body", "its content").unwrap_or_default();
        let status = status?;
        // RFC 9110, sections 15.3.5 and 15.4.5.
        if !body.is_empty() && matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            let message = format!("{}: a {} has no body; leave one of the two out", keys.path, status.as_u16());
            keys.reader.fault(&keys.at, &keys.path, message);
            return None;
        }
        Some(Respond { status, headers: headers.unwrap_or_default(), body })
    }
}

impl Table for Redirect {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let status = keys.or::<RedirectStatus>("status", 308, "which kind of redirect");
        let to = keys.required::<Templated>("to", "where to: a template");
        Some(Redirect { status, to: to? })
    }
}

/// A final status (RFC 9110, section 15).
struct Status;

impl Form for Status {
    type Output = StatusCode;

    fn expects() -> String {
        "a status from 200 to 599".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<StatusCode> {
        let status = value.whole_number::<Self>(200..=599)?;
        StatusCode::from_u16(status as u16).ok()
    }

    fn schema() -> Json {
        schema::number_or_boolean(json!({ "type": "integer", "minimum": 200, "maximum": 599 }))
    }
}

/// A status that sends to the place in `Location` (RFC 9110, section 15.4).
struct RedirectStatus;

impl Form for RedirectStatus {
    type Output = StatusCode;

    fn expects() -> String {
        "301, 302, 303, 307 or 308".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<StatusCode> {
        let status = value.whole_number::<Self>(301..=308)? as u16;
        if !matches!(status, 301..=303 | 307 | 308) {
            value.is_not::<Self>();
            return None;
        }
        StatusCode::from_u16(status).ok()
    }

    fn schema() -> Json {
        schema::number_or_boolean(json!({ "enum": [301, 302, 303, 307, 308] }))
    }
}

/// Any text.
struct Content;

impl Form for Content {
    type Output = String;

    fn expects() -> String {
        "a text".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        value.text::<Self>().map(|text| text.text)
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

/// What becomes of the path on its way to an upstream: `strip_prefix` and `rewrite_path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PathRules {
    /// The first segments of the route's path; begins with "/" and does not end with it.
    pub(crate) strip_prefix: Option<String>,
    /// Its `{path}` is what stripping left.
    pub(crate) rewrite: Option<Template>,
}

impl PathRules {
    pub(super) fn read(keys: &mut Keys<'_>) -> (Option<super::forms::Located<String>>, Option<Template>) {
        use super::forms::Locate;
        let about = "what is taken off the front of the path";
        let strip_prefix = keys.optional::<Locate<PathPrefix>>("strip_prefix", about);
        let rewrite = keys.optional::<PathTemplate>("rewrite_path", "the path that is sent, by what strip_prefix left");
        (strip_prefix, rewrite)
    }
}

/// A template of a path: the query is sent as it came.
struct PathTemplate;

impl Form for PathTemplate {
    type Output = Template;

    fn expects() -> String {
        r#"a path with placeholders that begins with "/" or "{path}", such as "/v2{path}", without a query"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Template> {
        let template = Templated::read(value)?;
        let text = template.as_str();
        let is_path = text.starts_with('/') && !text.starts_with("//") || text.starts_with("{path}");
        if !is_path || text.contains(['?', '#']) || text.contains("{query") {
            value.is_not::<Self>();
            return None;
        }
        Some(template)
    }

    fn schema() -> Json {
        schema::string(&["/v2{path}"])
    }
}
