//! `[rate_limits.NAME]`: how much each caller may use. Routes that name the same limit share its counters.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use serde_json::Value as Json;
use tower_gateway::rate_limit::{Algorithm, Quota};

use super::count::Count;
use super::duration::PositiveDuration;
use super::forms::{AnyKey, ListOf, MapOf, OneOrMany};
use super::schema;
use super::table::{Keys, Listed, Table};
use super::value::{Form, Value};
use super::word::{Choice, Word};

/// `[rate_limits.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub(crate) quota: Quota,
    /// By the identity's plan.
    pub(crate) plans: BTreeMap<String, Quota>,
    /// All of them together. Never empty.
    pub(crate) key: Vec<KeyPart>,
    pub(crate) stage: Stage,
    pub(crate) headers: Vec<HeaderKind>,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) dry_run: bool,
}

/// What callers are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyPart {
    Subject,
    ClientIp,
    ApiKey,
    Header(HeaderName),
    Route,
}

/// Where a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    BeforeAuth,
    AfterAuth,
}

/// Which fields tell a caller how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderKind {
    Ietf,
    Legacy,
}

/// What becomes of requests while Redis has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnStoreError {
    Local,
    Open,
    Closed,
}

impl Table for RateLimit {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let limit = keys.required::<Count>("limit", "how much in each window");
        let window = keys.required::<PositiveDuration>("window", "how long a window is");
        let burst = keys.optional::<Count>("burst", "how much at once after a pause: the limit; gcra only");
        let algorithm = keys.or::<Word<Algorithm>>("algorithm", "gcra", "how use is counted");
        let key = keys.or::<OneOrMany<KeyPart>>("key", "subject", "whose use; callers without it: their address");
        let plans = keys.optional::<MapOf<AnyKey, Count>>("plans", "another limit for identities on a plan");
        let stage = keys.or::<Word<Stage>>("stage", "after_auth", "before or after credentials are looked at");
        let headers = keys.or::<ListOf<Word<HeaderKind>>>(
            "headers",
            ["ietf", "legacy"],
            "which fields tell a caller how it stands",
        );
        keys.or::<Word<Mode>>("mode", "exact", "whether each request is asked about in Redis");
        let on_store_error = keys.or::<Word<OnStoreError>>(
            "on_store_error",
            "local",
            "while Redis fails: counted here, let through, or a 503",
        );
        let dry_run = keys.or::<bool>("dry_run", false, "count and label, and refuse nobody");

        let fault = |keys: &Keys<'_>, key: &str, problem: String| {
            let path = format!("{}.{key}", keys.path);
            keys.reader.fault(&keys.header_of(key), &path, format!("{path}: {problem}"));
        };
        let quota = quota(limit?.get() as u64, window?, burst.map(|burst| burst.get() as u64), algorithm);
        let quota = quota.map_err(|(key, problem)| fault(keys, key, problem)).ok()?;
        let mut of_plans = BTreeMap::new();
        for (plan, limit) in plans.into_iter().flatten() {
            match quota.with_limit(limit.get() as u64) {
                Ok(quota) => drop(of_plans.insert(plan, quota)),
                Err(error) => fault(keys, "plans", format!("{plan}: {error}")),
            }
        }
        if stage == Stage::BeforeAuth {
            let needs_identity = |part: &KeyPart| matches!(part, KeyPart::Subject | KeyPart::ApiKey);
            if key.iter().any(needs_identity) {
                let problem = r#"nobody is known before auth; write "client_ip", "header:NAME" or "route", or stage = "after_auth""#;
                fault(keys, "key", problem.to_owned());
            }
            if !of_plans.is_empty() {
                fault(
                    keys,
                    "plans",
                    r#"no plan is known before auth; remove it, or write stage = "after_auth""#.to_owned(),
                );
            }
        }
        Some(RateLimit { quota, plans: of_plans, key, stage, headers, on_store_error, dry_run })
    }
}

/// Which key is wrong, and why.
fn quota(
    limit: u64,
    window: Duration,
    burst: Option<u64>,
    algorithm: Algorithm,
) -> Result<Quota, (&'static str, String)> {
    let quota = Quota::new(limit, window).map_err(|error| ("window", error.to_string()))?;
    let quota = match burst {
        None => quota,
        Some(_) if algorithm != Algorithm::Gcra => {
            return Err(("burst", r#"a window has no burst; remove it, or write algorithm = "gcra""#.to_owned()));
        }
        Some(burst) => quota.burst(burst).map_err(|error| ("burst", error.to_string()))?,
    };
    quota.algorithm(algorithm).map_err(|error| ("algorithm", error.to_string()))
}

impl Listed for RateLimit {
    const SECTION: &'static str = "rate_limits";
    const KIND: &'static str = "rate limit";
}

impl Choice for Algorithm {
    const BUILT: &'static [(&'static str, Self)] =
        &[("gcra", Self::Gcra), ("sliding_window", Self::SlidingWindow), ("fixed_window", Self::FixedWindow)];
}

impl Choice for Stage {
    const BUILT: &'static [(&'static str, Self)] =
        &[("after_auth", Self::AfterAuth), ("before_auth", Self::BeforeAuth)];
}

impl Choice for HeaderKind {
    const BUILT: &'static [(&'static str, Self)] = &[("ietf", Self::Ietf), ("legacy", Self::Legacy)];
}

impl Choice for OnStoreError {
    const BUILT: &'static [(&'static str, Self)] =
        &[("local", Self::Local), ("open", Self::Open), ("closed", Self::Closed)];
}

/// Whether each request is asked about where the gateways share their counters.
#[derive(Debug, Clone, Copy)]
struct Mode;

impl Choice for Mode {
    const BUILT: &'static [(&'static str, Self)] = &[("exact", Self)];
    const NOT_BUILT: &'static [&'static str] = &["local_first"];
}

impl Form for KeyPart {
    type Output = KeyPart;

    fn expects() -> String {
        r#""subject", "client_ip", "api_key", "route" or a header such as "header:x-tenant""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<KeyPart> {
        let text = value.text::<Self>()?;
        let part = match text.text.as_str() {
            "subject" => Some(KeyPart::Subject),
            "client_ip" => Some(KeyPart::ClientIp),
            "api_key" => Some(KeyPart::ApiKey),
            "route" => Some(KeyPart::Route),
            other => other.strip_prefix("header:").and_then(|name| name.parse().ok()).map(KeyPart::Header),
        };
        if part.is_none() {
            value.is_not::<Self>();
        }
        part
    }

    fn schema() -> Json {
        schema::string(&["subject", "client_ip", "header:x-tenant"])
    }
}
