//! API keys in Redis, which several gateways share.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use super::{KeyStore, StoreUnavailable, timestamp};
use crate::auth::api_key::{ApiKey, KeyDigest};
use crate::redis::{Redis, cmd};

/// API keys in Redis: a hash `<prefix>apikey:<sha256 hex>` for each, with the fields `id`, `subject`, `role`, `roles`, `plan`,
/// `scopes`, `expires`, `disabled` and `limit`. Lists have spaces between their items, dates are RFC 3339, and `disabled` is
/// `true` or `1`.
///
/// A hash that cannot be understood is no key: what says when it ends must not be passed over. Put a
/// [`CachedKeyStore`](super::CachedKeyStore) in front, and each key costs one trip in five seconds.
///
/// ```no_run
/// use tower_gateway::auth::{ApiKeys, AuthLayer, CachedKeyStore, RedisKeyStore};
/// use tower_gateway::redis::Redis;
///
/// let redis = Redis::builder("redis://127.0.0.1:6379")?.key_prefix("gw:").build();
/// let layer = AuthLayer::new(ApiKeys::new(CachedKeyStore::new(RedisKeyStore::new(redis))));
/// # Ok::<(), tower_gateway::BoxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RedisKeyStore(Redis);

impl RedisKeyStore {
    /// The keys of this server.
    pub fn new(redis: Redis) -> Self {
        Self(redis)
    }
}

impl KeyStore for RedisKeyStore {
    type Find = Pin<Box<dyn Future<Output = Result<Option<ApiKey>, StoreUnavailable>> + Send>>;

    fn find(&self, digest: &KeyDigest) -> Self::Find {
        let (redis, name) = (self.0.clone(), self.0.key(&format!("apikey:{digest}")));
        Box::pin(async move {
            let fields: HashMap<String, String> =
                redis.query(cmd("HGETALL").arg(name)).await.map_err(StoreUnavailable::because)?;
            Ok(read(&fields))
        })
    }
}

fn read(fields: &HashMap<String, String>) -> Option<ApiKey> {
    let text = |name: &str| fields.get(name).filter(|text| !text.is_empty());
    let list = |name: &str| text(name).into_iter().flat_map(|text| text.split_ascii_whitespace());
    let mut key = ApiKey::new(text("id")?.as_str()).roles(list("role").chain(list("roles"))).scopes(list("scopes"));
    if let Some(subject) = text("subject") {
        key = key.subject(subject.as_str());
    }
    if let Some(plan) = text("plan") {
        key = key.plan(plan.as_str());
    }
    if let Some(limit) = text("limit") {
        key = key.limit(limit.parse().ok()?);
    }
    if let Some(expires) = text("expires") {
        key = key.expires_at(timestamp::parse(expires)?);
    }
    match text("disabled").map(String::as_str) {
        None | Some("false" | "0") => Some(key),
        Some("true" | "1") => Some(key.disabled(true)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fields: &[(&str, &str)]) -> Option<ApiKey> {
        read(&fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn every_field_of_a_key_is_read() {
        let key = key(&[
            ("id", "k1"),
            ("subject", "u1"),
            ("role", "user"),
            ("plan", "pro"),
            ("scopes", "read write"),
            ("expires", "2027-01-01T00:00:00Z"),
            ("disabled", "false"),
            ("limit", "500"),
        ])
        .unwrap();
        let identity = key.identity();
        assert_eq!((identity.key_id(), identity.subject(), identity.plan()), (Some("k1"), Some("u1"), Some("pro")));
        assert!(identity.has_role("user") && identity.has_scope("write") && identity.limit() == Some(500));
        assert_eq!(key.fault(0), None);
        assert!(key.fault(1_798_761_600_000).is_some());
    }

    #[test]
    fn what_cannot_be_understood_is_no_key() {
        assert!(key(&[]).is_none() && key(&[("subject", "u")]).is_none());
        for bad in
            [("expires", "soon"), ("expires", "2027-01-01"), ("disabled", "yes"), ("limit", "many"), ("limit", "-1")]
        {
            assert!(key(&[("id", "k"), bad]).is_none(), "{bad:?}");
        }
        assert!(key(&[("id", "k"), ("disabled", "1")]).unwrap().fault(0).is_some());
    }
}
