//! The entries of `servers`: a URL, or a URL and its weight.

use std::num::NonZeroU32;

use http::Uri;
use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::forms::{ListOf, NonEmpty};
use super::schema::{either, number_or_boolean};
use super::table::{Keys, Table};
use super::url::ServerUrl;
use super::value::{Form, Value};

/// One entry of an upstream's `servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpstreamServer {
    /// `http` or `https`, with a host and without user information or query. The path, which is put before a request's, has no
    /// slash at its end and is "/" where there is none.
    pub(crate) url: Uri,
    /// From 1 to 65535, so that sums of weights do not overflow.
    pub(crate) weight: NonZeroU32,
}

/// The list of servers, at least one.
pub(super) struct UpstreamServers;

impl Form for UpstreamServers {
    type Output = Vec<UpstreamServer>;

    fn expects() -> String {
        ListOf::<Entry>::expects()
    }

    fn read(value: &Value<'_>) -> Option<Vec<UpstreamServer>> {
        let servers = ListOf::<Entry>::read(value)?;
        if servers.is_empty() {
            value.fault(&format!("no server to send requests to; write {}", Self::expects()));
            return None;
        }
        Some(servers)
    }

    fn schema() -> Json {
        NonEmpty::<Entry>::schema()
    }
}

struct Entry;

impl Form for Entry {
    type Output = UpstreamServer;

    fn expects() -> String {
        r#"a URL such as "http://127.0.0.1:3001" or { url = "http://127.0.0.1:3002", weight = 2 }"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<UpstreamServer> {
        match value.node.get_ref() {
            DeValue::String(_) => Some(UpstreamServer { url: ServerUrl::read(value)?, weight: NonZeroU32::MIN }),
            DeValue::Table(_) => <UpstreamServer as Form>::read(value),
            _ => {
                value.is_not::<Self>();
                None
            }
        }
    }

    fn schema() -> Json {
        either(ServerUrl::schema(), <UpstreamServer as Form>::schema())
    }
}

impl Table for UpstreamServer {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let url = keys.required::<ServerUrl>("url", "where it is; a path is put before the request's");
        let weight = keys.or::<Weight>("weight", 1, "its share beside the others'");
        Some(UpstreamServer { url: url?, weight })
    }
}

struct Weight;

impl Form for Weight {
    type Output = NonZeroU32;

    fn expects() -> String {
        "a whole number from 1 to 65535".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<NonZeroU32> {
        let weight = value.whole_number::<Self>(1..=65_535)?;
        u32::try_from(weight).ok().and_then(NonZeroU32::new)
    }

    fn schema() -> Json {
        number_or_boolean(json!({ "type": "integer", "minimum": 1, "maximum": 65_535 }))
    }
}
