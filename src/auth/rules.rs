//! Who may pass, once it is known who it is.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use serde_json::Value;

use crate::strict::normal_path;
use crate::{Head, Identity};

type Check = Arc<dyn Fn(&Identity, &Head<'_>) -> bool + Send + Sync>;
type ClaimTest = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct Rules {
    pub(super) optional: bool,
    pub(super) open_paths: Vec<Box<str>>,
    pub(super) open_methods: Vec<Method>,
    pub(super) open_preflight: bool,
    pub(super) scopes: Vec<Box<str>>,
    pub(super) roles: Vec<Box<str>>,
    pub(super) claims: Vec<(Box<str>, ClaimTest)>,
    pub(super) checks: Vec<Check>,
}

/// What an identity lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Scope,
    Role,
    Other,
}

impl Rules {
    /// True for requests that nobody has to be known for.
    pub(super) fn is_open(&self, head: &Head<'_>) -> bool {
        self.open_methods.contains(head.method())
            || (self.open_preflight && is_preflight(head))
            || (!self.open_paths.is_empty() && self.is_open_path(head.uri().path()))
    }

    /// By whole segments, and for a path in its normal form alone: of another, the origin may make what is not open.
    fn is_open_path(&self, path: &str) -> bool {
        let is_below = |prefix: &str| {
            let prefix = prefix.trim_end_matches('/');
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.open_paths.iter().any(|prefix| is_below(prefix)) && normal_path(path).is_some_and(|normal| normal == path)
    }

    pub(super) fn check(&self, identity: &Identity, head: &Head<'_>) -> Result<(), Lack> {
        if !self.scopes.iter().all(|scope| identity.has_scope(scope)) {
            return Err(Lack::Scope);
        }
        if !self.roles.is_empty() && !self.roles.iter().any(|role| identity.has_role(role)) {
            return Err(Lack::Role);
        }
        let holds = |(path, test): &(Box<str>, ClaimTest)| identity.claim(path).is_some_and(|value| test(value));
        if !self.claims.iter().all(holds) || !self.checks.iter().all(|check| check(identity, head)) {
            return Err(Lack::Other);
        }
        Ok(())
    }
}

/// What a browser asks before it sends a request to another origin, without credentials (Fetch, section 3.3.2).
fn is_preflight(head: &Head<'_>) -> bool {
    let headers = head.headers();
    *head.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("optional", &self.optional)
            .field("open_paths", &self.open_paths)
            .field("open_methods", &self.open_methods)
            .field("open_preflight", &self.open_preflight)
            .field("scopes", &self.scopes)
            .field("roles", &self.roles)
            .field("claims", &self.claims.iter().map(|(path, _)| path).collect::<Vec<_>>())
            .field("checks", &self.checks.len())
            .finish()
    }
}
