//! `request` of a route: what requests may bring, and what is done to their header fields.

use http::HeaderName;
use serde_json::Value as Json;
use tower_gateway::limits::MediaTypes;
use tower_gateway::transform::Template;

use super::fields::{Fields, SettableName};
use super::forms::{ListOf, MapOf, NonEmpty, OrNone};
use super::literal::EMPTY;
use super::schema;
use super::size::Bytes;
use super::table::{Keys, Table};
use super::template::Templated;
use super::value::{Form, Value};

/// `[routes.NAME.request]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestRules {
    pub(crate) max_body_bytes: BodyLimit,
    /// `None`: any.
    pub(crate) content_types: Option<Vec<String>>,
    pub(crate) remove_headers: Vec<HeaderName>,
    pub(crate) set_headers: Fields<Template>,
}

/// How long a request's body may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BodyLimit {
    #[default]
    AsTheServer,
    /// Absent: it is not limited.
    Own(Option<u64>),
}

impl Table for RequestRules {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let about = "how long a body may be: 413; absent: as long as the server's";
        let limit = keys.optional::<OrNone<Bytes>>("max_body_bytes", about);
        let types = keys.optional::<NonEmpty<MediaType>>("content_types", "of a request with a body: 415; absent: any");
        let removed = keys.or::<ListOf<HeaderName>>("remove_headers", EMPTY, "taken off, in any spelling");
        let set = keys.optional::<MapOf<SettableName, Templated>>("set_headers", "set after that: templates");
        Some(Self {
            max_body_bytes: limit.map_or(BodyLimit::AsTheServer, BodyLimit::Own),
            content_types: types,
            remove_headers: removed,
            set_headers: set.unwrap_or_default(),
        })
    }
}

/// A media type without parameters, or all of a kind.
struct MediaType;

impl Form for MediaType {
    type Output = String;

    fn expects() -> String {
        r#"a media type such as "application/json" or "image/*""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        value.parsed::<Self, _>(|text| MediaTypes::new([text]).is_ok().then(|| text.to_ascii_lowercase()))
    }

    fn schema() -> Json {
        schema::string(&["application/json", "image/*"])
    }
}
