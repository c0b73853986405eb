//! From `[rate_limits]` and `[redis]` to the layers of a route, and where they count.

use tower_gateway::rate_limit::{
    BoxStore, Key, Limit, MemoryStore, OnStoreError, RateLimitHeaders, RateLimitLayer, RedisStore,
};
use tower_gateway::redis::Redis;

use crate::config::rate_limit::{self, HeaderKind, KeyPart, RateLimit, Stage};
use crate::config::{self, Config};

/// Any store by one type, as a reload may choose another.
pub(crate) type Limiter = RateLimitLayer<BoxStore>;

/// Where limits are counted: once for all routes, so that those that name the same limit share its counters, and the same
/// after a reload.
#[derive(Clone)]
pub(crate) struct Counters {
    memory: MemoryStore,
    /// What counts while the shared store fails.
    local: MemoryStore,
    shared: Option<(Redis, RedisStore)>,
}

/// The limits of one route. Each group is admitted by all of its limits or charged to none.
#[derive(Default)]
pub(crate) struct RouteLimits {
    pub(crate) before_auth: Option<Limiter>,
    /// Those that refuse nobody yet.
    pub(crate) trial: Option<Limiter>,
    pub(crate) after_auth: Option<Limiter>,
}

impl Counters {
    /// `redis` is there where the limits are to be shared.
    pub(crate) fn new(redis: Option<&Redis>, old: Option<&Self>) -> Self {
        let (memory, local) = match old {
            Some(old) => (old.memory.clone(), old.local.clone()),
            None => (MemoryStore::new(), MemoryStore::new()),
        };
        let shared = redis.map(|redis| match old.and_then(|old| old.shared.as_ref()) {
            Some((same, store)) if same.is(redis) => (same.clone(), store.clone()),
            _ => (redis.clone(), RedisStore::new(redis.clone())),
        });
        Self { memory, local, shared }
    }

    /// The layers that `route` has by the limits it names.
    pub(crate) fn of_route(&self, config: &Config, route: &config::Route) -> RouteLimits {
        let named = || route.rate_limit.iter().filter_map(|name| Some((name.as_str(), config.rate_limits.get(name)?)));
        let of_stage =
            |stage| self.layer(named().filter(|(_, limit)| !limit.dry_run && limit.stage == stage).collect());
        RouteLimits {
            before_auth: of_stage(Stage::BeforeAuth),
            trial: self.layer(named().filter(|(_, limit)| limit.dry_run).collect()).map(|trial| trial.dry_run(true)),
            after_auth: of_stage(Stage::AfterAuth),
        }
    }

    fn layer(&self, limits: Vec<(&str, &RateLimit)>) -> Option<Limiter> {
        if limits.is_empty() {
            return None;
        }
        let store = match &self.shared {
            Some((_, store)) => BoxStore::new(store.clone()),
            None => BoxStore::new(self.memory.clone()),
        };
        // Of several that would do different things, the strictest is done.
        let wants = |wanted| limits.iter().any(|(_, limit)| limit.on_store_error == wanted);
        let on_store_error = if wants(rate_limit::OnStoreError::Closed) {
            OnStoreError::Closed
        } else if wants(rate_limit::OnStoreError::Local) {
            OnStoreError::Local { store: self.local.clone(), share: (1, 1) }
        } else {
            OnStoreError::Open
        };
        let tells = |kind| limits.iter().any(|(_, limit)| !limit.dry_run && limit.headers.contains(&kind));
        let headers = RateLimitHeaders::none().ietf(tells(HeaderKind::Ietf)).legacy(tells(HeaderKind::Legacy));
        let limits = limits.into_iter().map(|(name, settings)| limit(name, settings));
        Some(RateLimitLayer::with_store(limits, store).on_store_error(on_store_error).headers(headers))
    }
}

fn limit(name: &str, settings: &RateLimit) -> Limit {
    let parts = settings.key.iter().map(key);
    let limit = Limit::new(name, settings.quota).key(parts.reduce(Key::and).unwrap_or(Key::client_ip()));
    settings.plans.iter().fold(limit, |limit, (plan, quota)| limit.plan(plan.as_str(), *quota))
}

/// Nobody escapes by leaving a part out: who is known by nothing else is known by the address.
fn key(part: &KeyPart) -> Key {
    match part {
        KeyPart::ClientIp => Key::client_ip(),
        KeyPart::Subject => Key::subject().or(Key::api_key()).or(Key::client_ip()),
        KeyPart::ApiKey => Key::api_key().or(Key::subject()).or(Key::client_ip()),
        KeyPart::Header(name) => Key::header(name.clone()).or(Key::client_ip()),
        KeyPart::Route => Key::route(),
    }
}
