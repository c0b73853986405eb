//! `[redis]`: what several gateways share.

use std::time::Duration;

use serde_json::Value as Json;

use super::duration::PositiveDuration;
use super::forms::ListOf;
use super::schema;
use super::secret::Secret;
use super::table::{Keys, Table};
use super::value::{Form, Value};
use super::word::{Choice, Word};

/// `[redis]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redis {
    /// One that can be read.
    pub(crate) url: Secret,
    /// One command's deadline.
    pub(crate) timeout: Duration,
    pub(crate) key_prefix: String,
    pub(crate) share: Vec<Shared>,
}

/// What lives there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    RateLimits,
    Cache,
    ApiKeys,
}

impl Redis {
    /// True when a connection by the one serves the other, whatever lives there.
    pub(crate) fn is_reached_like(&self, other: &Self) -> bool {
        let Self { url, timeout, key_prefix, share: _ } = self;
        (url, timeout, key_prefix) == (&other.url, &other.timeout, &other.key_prefix)
    }
}

impl Table for Redis {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let url = keys.required::<RedisUrl>("url", "where it is; a password in it is better put into a variable");
        let timeout = keys.or::<PositiveDuration>("timeout", "50ms", "how long one command may take");
        let key_prefix = keys.or::<AnyText>("key_prefix", "gw:", "what all keys begin with");
        let share = keys.or::<ListOf<Word<Shared>>>("share", ["rate_limits", "cache"], "what lives there");
        Some(Redis { url: url?, timeout, key_prefix, share })
    }
}

impl Choice for Shared {
    const BUILT: &'static [(&'static str, Self)] =
        &[("rate_limits", Self::RateLimits), ("cache", Self::Cache), ("api_keys", Self::ApiKeys)];
    const NOT_BUILT: &'static [&'static str] = &["breakers"];
}

/// A URL that may hold a password, and so is never printed.
struct RedisUrl;

impl Form for RedisUrl {
    type Output = Secret;

    fn expects() -> String {
        r#"a URL such as "redis://127.0.0.1:6379"; redis://, rediss://, unix:// and redis-cluster://host,host are known"#
            .to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Secret> {
        let url = value.text::<Self>()?;
        if let Err(error) = tower_gateway::redis::Redis::new(&url.text) {
            value.fault(&format!("{error}; write {}", Self::expects()));
            return None;
        }
        Some(Secret::from(url.text))
    }

    fn schema() -> Json {
        schema::string(&["redis://127.0.0.1:6379"])
    }
}

/// Any text, also none.
struct AnyText;

impl Form for AnyText {
    type Output = String;

    fn expects() -> String {
        r#"a text such as "gw:""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        value.text::<Self>().map(|text| text.text)
    }

    fn schema() -> Json {
        schema::string(&["gw:"])
    }
}
