//! From `[cache]`, `[redis]` and `[routes.NAME.cache]` to the layers of routes, and where responses are kept.

use tower_gateway::cache::CacheLayer;
use tower_gateway::cache::store::{MemoryStore, RedisStore, Remote, Tiered};
use tower_gateway::redis::Redis;

use crate::config;
use crate::config::cache::RouteCache;
use crate::config::matching::Matching;

/// Memory, and behind it Redis where responses are shared: one type, as a reload may choose the other.
pub(crate) type Store = Tiered<Option<Remote<RedisStore>>>;
/// The cache of a route.
pub(crate) type Cache = CacheLayer<Store>;

/// What all routes with a cache have in common: what is stored, and what is being fetched.
pub(crate) struct Responses {
    settings: config::Cache,
    redis: Option<Redis>,
    layer: Cache,
}

impl Responses {
    /// `redis` is there where responses are to be shared. Another size or another Redis begins with nothing.
    pub(crate) fn new(settings: config::Cache, redis: Option<&Redis>, old: Option<&Self>) -> Self {
        let layer = CacheLayer::with_store(store(settings.memory, redis));
        let is_as_before = |old: &&Self| {
            let same_redis = match (&old.redis, redis) {
                (Some(one), Some(other)) => one.is(other),
                (None, None) => true,
                _ => false,
            };
            old.settings.memory == settings.memory && same_redis
        };
        let layer = match old.filter(is_as_before) {
            Some(old) => layer.adopt(&old.layer),
            None => layer,
        };
        Self { settings, redis: redis.cloned(), layer: layer.x_cache(settings.x_cache) }
    }

    /// A route's part of it.
    pub(crate) fn of_route(&self, settings: &RouteCache, name: &str, matching: &Matching) -> Cache {
        let mut cache = self
            .layer
            .clone()
            .ttl_statuses(settings.statuses.iter().copied())
            .max_body(settings.max_body.unwrap_or(u64::MAX))
            .authenticated(settings.authenticated);
        if let Some(ttl) = settings.ttl {
            cache = cache.ttl(ttl);
        }
        if let Some(window) = settings.stale_while_revalidate {
            cache = cache.stale_while_revalidate(window);
        }
        if let Some(window) = settings.stale_if_error {
            cache = cache.stale_if_error(window);
        }
        // Another route may answer the same URIs.
        if matching.headers.is_empty() { cache } else { cache.partition(name) }
    }
}

/// A cache that does nothing.
pub(crate) fn off() -> Cache {
    CacheLayer::with_store(store(0, None)).enabled(false)
}

fn store(memory: u64, redis: Option<&Redis>) -> Store {
    let remote = |redis: &Redis| Remote::new(RedisStore::new(redis.clone())).deadline(redis.timeout());
    Tiered::new(MemoryStore::new(memory), redis.map(remote))
}
