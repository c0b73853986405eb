//! `[api_keys]`, and the file of keys that it names.

use std::time::{Duration, SystemTime};

use http::HeaderName;
use tower_gateway::auth::{ApiKey, KeyDigest};

use super::date::PointInTime;
use super::duration::AnyDuration;
use super::file::TableFile;
use super::forms::ListOf;
use super::jwt::Plain;
use super::literal::EMPTY;
use super::schema;
use super::table::{Keys, Table};
use super::value::{Form, Value};

/// `[api_keys]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiKeys {
    pub(crate) header: HeaderName,
    /// Absent: they are in Redis.
    pub(crate) file: Option<KeyFile>,
    pub(crate) cache_for: Duration,
}

impl Table for ApiKeys {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let header = keys.or::<HeaderName>("header", "x-api-key", "the field that carries a key");
        let file = keys.optional::<TableFile<KeyFile>>("file", "a TOML file with a table [[keys]] for each key");
        let cache_for = keys.or::<AnyDuration>("cache_for", "5s", "how long a key that was looked up is remembered");
        keys.are_sound(&["file"]).then_some(ApiKeys { header, file, cache_for })
    }
}

/// The file with `[[keys]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFile {
    pub(crate) keys: Vec<KeyEntry>,
}

impl Table for KeyFile {
    fn read(file: &mut Keys<'_>) -> Option<Self> {
        let keys = file.or::<ListOf<KeyEntry>>("keys", EMPTY, "the keys");
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|other| other.sha256 == key.sha256) {
                let message = format!("keys: {:?} has the sha256 of another key; remove one of the two", key.id);
                file.reader.fault(&file.at, "keys", message);
            }
        }
        file.are_sound(&["keys"]).then_some(KeyFile { keys })
    }
}

/// One key, of which the digest alone is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyEntry {
    sha256: String,
    id: String,
    subject: Option<String>,
    roles: Vec<String>,
    plan: Option<String>,
    scopes: Vec<String>,
    expires: Option<SystemTime>,
    disabled: bool,
    limit: Option<u64>,
}

impl Table for KeyEntry {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let sha256 = keys.required::<Digest>("sha256", "the SHA-256 of the key, as `gateway keygen` prints it");
        let id = keys.required::<Plain>("id", "how logs and limits call it");
        let subject = keys.optional::<Plain>("subject", "whose key it is");
        let role = keys.optional::<Plain>("role", "the role of its owner");
        let roles = keys.or::<ListOf<Plain>>("roles", EMPTY, "several of them");
        let plan = keys.optional::<Plain>("plan", "the plan of its owner");
        let scopes = keys.or::<ListOf<Plain>>("scopes", EMPTY, "what it may be used for");
        let expires = keys.optional::<PointInTime>("expires", "when it ends");
        let disabled = keys.or::<bool>("disabled", false, "whether it is switched off");
        let limit = keys.optional::<Quota>("limit", "its own limit, before that of its plan");
        if !keys.are_sound(&["expires", "subject", "role", "plan", "limit"]) {
            return None;
        }
        Some(KeyEntry {
            sha256: sha256?,
            id: id?,
            subject,
            roles: role.into_iter().chain(roles).collect(),
            plan,
            scopes,
            expires,
            disabled,
            limit,
        })
    }
}

impl KeyEntry {
    pub(crate) fn key(&self) -> Option<(KeyDigest, ApiKey)> {
        let mut key = ApiKey::new(self.id.as_str())
            .roles(self.roles.iter().map(String::as_str))
            .scopes(self.scopes.iter().map(String::as_str))
            .disabled(self.disabled);
        if let Some(subject) = &self.subject {
            key = key.subject(subject.as_str());
        }
        if let Some(plan) = &self.plan {
            key = key.plan(plan.as_str());
        }
        if let Some(limit) = self.limit {
            key = key.limit(limit);
        }
        if let Some(end) = self.expires {
            key = key.expires_at(end);
        }
        Some((self.sha256.parse().ok()?, key))
    }
}

/// 64 hexadecimal digits. What stands there instead may be the key itself, and is not shown.
struct Digest;

impl Form for Digest {
    type Output = String;

    fn expects() -> String {
        "64 hexadecimal digits, as `gateway keygen` prints them".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        let Some(text) = value.node.get_ref().as_str().and_then(|_| value.text::<Self>()) else {
            value.fault(&format!("not a text; write {}", Self::expects()));
            return None;
        };
        if text.text.parse::<KeyDigest>().is_err() {
            value.fault(&format!("not the SHA-256 of a key; write {}", Self::expects()));
            return None;
        }
        Some(text.text.to_ascii_lowercase())
    }

    fn schema() -> serde_json::Value {
        schema::string(&["2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"])
    }
}

/// 0 is a limit as well: nothing.
struct Quota;

impl Form for Quota {
    type Output = u64;

    fn expects() -> String {
        "a whole number".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<u64> {
        value.whole_number::<Self>(0..=u64::from(u32::MAX))
    }

    fn schema() -> serde_json::Value {
        schema::number_or_boolean(serde_json::json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }))
    }
}
