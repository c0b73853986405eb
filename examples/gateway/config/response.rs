//! `response` of a route: what is done to the header fields of its answers.

use http::HeaderName;
use tower_gateway::transform::Template;

use super::fields::{Fields, SettableName};
use super::forms::{ListOf, MapOf};
use super::table::{Keys, Table};
use super::template::Templated;

/// `[routes.NAME.response]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResponseRules {
    pub(crate) remove_headers: Vec<HeaderName>,
    pub(crate) set_headers: Fields<Template>,
    pub(crate) response_time: bool,
    pub(crate) server_timing: bool,
}

impl Table for ResponseRules {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let removed =
            keys.or::<ListOf<HeaderName>>("remove_headers", ["server", "x-powered-by"], "taken off, in any spelling");
        let set = keys.optional::<MapOf<SettableName, Templated>>("set_headers", "set after that: templates");
        Some(Self {
            remove_headers: removed,
            set_headers: set.unwrap_or_default(),
            response_time: keys.or::<bool>("response_time", true, "X-Response-Time: 12ms"),
            server_timing: keys.or::<bool>("server_timing", false, "Server-Timing: gateway;dur=12.345"),
        })
    }
}
