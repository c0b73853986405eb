//! `[identity_headers]`: how upstreams are told who is asking.

use http::HeaderName;
use serde_json::Value as Json;
use tower_gateway::transform::Template;

use super::fields::{Fields, SettableName};
use super::forms::MapOf;
use super::template::Templated;
use super::value::{Form, Value};

/// The fields, and what each is filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdentityHeaders(pub(crate) Vec<(HeaderName, Template)>);

type Filled = MapOf<SettableName, Templated>;

impl Default for IdentityHeaders {
    fn default() -> Self {
        let fields = [("x-user-id", "{subject}"), ("x-user-role", "{role|user}"), ("x-user-plan", "{plan|free}")];
        let of = |(name, template): (&'static str, &str)| Some((HeaderName::from_static(name), template.parse().ok()?));
        Self(fields.into_iter().filter_map(of).collect())
    }
}

impl Form for IdentityHeaders {
    type Output = Self;

    fn expects() -> String {
        Filled::expects()
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let fields: Fields<Template> = Filled::read(value)?;
        // That each is a name was seen when it was read.
        let named = fields.into_iter().filter_map(|(name, template)| Some((name.parse().ok()?, template)));
        Some(Self(named.collect()))
    }

    fn schema() -> Json {
        Filled::schema()
    }
}
