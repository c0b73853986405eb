//! Text with gaps that each request fills in.

mod parse;
mod scope;

use std::fmt::{self, Write as _};
use std::str::FromStr;

use bytes::Bytes;
use http::HeaderValue;
use thiserror::Error;

use self::parse::parse;
pub use self::parse::{TemplateError, TemplateFault};
pub(super) use self::scope::Scope;
use crate::Head;

/// A text such as `"{subject}@{host}"`, parsed once and filled in for each request.
///
/// | placeholder | stands for |
/// |---|---|
/// | `{subject}` `{role}` `{plan}` | the identity's: empty for an anonymous request; several roles are separated by commas |
/// | `{client_ip}` `{request_id}` `{route}` | what the [`RequestContext`](crate::RequestContext) knows |
/// | `{path}` | the path as it came in; empty for the `*` of OPTIONS |
/// | `{query}` | the query with its `?`; empty where there is none |
/// | `{host}` | the host that the request names, in lower case and without its port |
///
/// `{subject|nobody}` is `nobody` where there is no subject, or an empty one. `{{` and `}}` are braces.
///
/// ```
/// use http::Request;
/// use tower_gateway::Head;
/// use tower_gateway::transform::Template;
///
/// let template: Template = "https://{host}{path}{query}#{subject|nobody}".parse()?;
/// let request = Request::get("/a/b?c=d").header("host", "Example.com:8080").body(())?;
/// assert_eq!(template.render(Head::of(&request)), "https://example.com/a/b?c=d#nobody");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Gap { field: Field, fallback: Box<str> },
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Subject,
    Role,
    Plan,
    ClientIp,
    RequestId,
    Route,
    Path,
    Host,
    Query,
}

/// A filled-in template that no header field can carry (RFC 9110 section 5.5): with a control character in it, or with
/// space around what a placeholder stands for, which every recipient would take off and so read as another value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the value holds what no header field may")]
pub struct NotAHeaderValue;

/// How what the placeholders stand for is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    AsItIs,
    /// For a URI: what is not part of one by itself already is percent-encoded.
    InUri,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] with the first fault and where it is.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { source: text.into(), parts: parse(text)?.into() })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// True when it is the same for every request of one identity.
    pub fn depends_on_the_identity_alone(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Text(_) => true,
            Part::Gap { field, .. } => matches!(field, Field::Subject | Field::Role | Field::Plan),
        })
    }

    /// The text for this request, whatever its values hold.
    pub fn render(&self, head: Head<'_>) -> String {
        self.write(&Scope::of(head), Writing::AsItIs)
    }

    /// The text for this request as the value of a header field. `None` where it is empty: there is no such field then.
    ///
    /// # Errors
    ///
    /// [`NotAHeaderValue`] where a value holds what a field cannot carry. It is never cut, split or changed to fit.
    pub fn header_value(&self, head: Head<'_>) -> Result<Option<HeaderValue>, NotAHeaderValue> {
        self.header_value_in(&Scope::of(head))
    }

    /// The text for this request as a URI or a part of one: path, query and host are put in as they came, everything else
    /// percent-encoded, so that no value ends the part that it stands in.
    pub fn render_uri(&self, head: Head<'_>) -> String {
        self.render_uri_in(&Scope::of(head))
    }

    /// The same with another path than the request's, such as what was left of it.
    ///
    /// ```
    /// # use tower_gateway::{Head, transform::Template};
    /// let proxied: Template = "/v2{path}".parse()?;
    /// let request = http::Request::get("/api/users?a=b").body(())?;
    /// assert_eq!(proxied.render_path(Head::of(&request), "/users"), "/v2/users");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn render_path(&self, head: Head<'_>, path: &str) -> String {
        self.render_uri_in(&Scope::of(head).with_path(path))
    }

    pub(super) fn header_value_in(&self, scope: &Scope<'_>) -> Result<Option<HeaderValue>, NotAHeaderValue> {
        for part in &self.parts {
            if let Part::Gap { field, .. } = part
                && scope.get(*field).is_some_and(|value| value.trim_matches([' ', '\t']) != value)
            {
                return Err(NotAHeaderValue);
            }
        }
        let value = self.write(scope, Writing::AsItIs);
        let trimmed = value.trim_matches([' ', '\t']);
        if trimmed.is_empty() {
            return Ok(None);
        }
        let bytes = if trimmed.len() == value.len() { Bytes::from(value) } else { Bytes::from(trimmed.to_owned()) };
        HeaderValue::from_maybe_shared(bytes).map(Some).map_err(|_| NotAHeaderValue)
    }

    fn render_uri_in(&self, scope: &Scope<'_>) -> String {
        self.write(scope, Writing::InUri)
    }

    /// The text, where it is the same for every request.
    pub(super) fn as_constant(&self) -> Option<String> {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Gap { .. } => None,
        });
        texts.collect()
    }

    /// True when the request's target or Host is asked for, and not only what its context knows.
    pub(super) fn reads_target(&self) -> bool {
        let reads = |part: &Part| matches!(part, Part::Gap { field: Field::Path | Field::Host | Field::Query, .. });
        self.parts.iter().any(reads)
    }

    fn write(&self, scope: &Scope<'_>, writing: Writing) -> String {
        let mut text = String::with_capacity(self.source.len() + 32);
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Gap { field, fallback } => match scope.get(*field).filter(|value| !value.is_empty()) {
                    None => text.push_str(fallback),
                    Some(value) if writing == Writing::AsItIs || field.is_uri() => text.push_str(&value),
                    Some(value) => push_encoded(&mut text, &value),
                },
            }
        }
        text
    }
}

impl Field {
    const ALL: [(&str, Self); 9] = [
        ("subject", Self::Subject),
        ("role", Self::Role),
        ("plan", Self::Plan),
        ("client_ip", Self::ClientIp),
        ("request_id", Self::RequestId),
        ("route", Self::Route),
        ("path", Self::Path),
        ("host", Self::Host),
        ("query", Self::Query),
    ];

    /// True for what came as part of a URI.
    fn is_uri(self) -> bool {
        matches!(self, Self::Path | Self::Host | Self::Query)
    }
}

/// All but unreserved characters (RFC 3986 section 2.3) percent-encoded.
fn push_encoded(text: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.source)
    }
}

#[cfg(test)]
mod tests;
