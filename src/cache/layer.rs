use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use thiserror::Error;
use tower_layer::Layer;

use super::handle::CacheHandle;
use super::key::QueryParameters;
use super::service::Cache;
use super::settings::{Authenticated, Settings};
use super::store::{CacheStore, MemoryStore};
use super::stream::WhenAbandoned;
use crate::gate::gate_setters;
use crate::{Clock, Head};

/// A shared HTTP cache. See the [module](super) for what it does.
///
/// A clone shares the state: give clones other settings, and routes with rules of their own share one store, one budget and
/// one [`handle`](Self::handle).
pub struct CacheLayer<St = MemoryStore> {
    settings: Arc<Settings<St>>,
}

/// A name that cannot stand in `Cache-Status`.
#[derive(Debug, Error)]
#[error("the name {0:?} must be a token that begins with a letter or `*` (RFC 9211 section 2)")]
pub struct InvalidCacheName(String);

impl CacheLayer {
    /// A cache in this process's memory, of 64 MiB.
    pub fn new() -> Self {
        Self::with_store(MemoryStore::new(MemoryStore::DEFAULT_BUDGET))
    }

    /// A cache in this process's memory, of at most `budget` bytes.
    pub fn in_memory(budget: u64) -> Self {
        Self::with_store(MemoryStore::new(budget))
    }
}

impl Default for CacheLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<St: CacheStore> CacheLayer<St> {
    /// A cache over a store of your choice.
    pub fn with_store(store: St) -> Self {
        Self { settings: Arc::new(Settings::new(store)) }
    }

    /// How long a response is fresh that says nothing of it itself, and has no `Last-Modified` to guess by. Absent by
    /// default: such responses are not stored.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.change(|settings| Arc::make_mut(&mut settings.defaults).ttl = Some(ttl.as_secs()));
        self
    }

    /// The statuses that [`ttl`](Self::ttl) applies to. 200 by default.
    #[must_use]
    pub fn ttl_statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        let statuses = statuses.into_iter().collect();
        self.change(|settings| Arc::make_mut(&mut settings.defaults).ttl_statuses = statuses);
        self
    }

    /// Whether a response with `Last-Modified` that states no freshness is fresh for a tenth of the time since (RFC 9111
    /// section 4.2.2). On by default.
    #[must_use]
    pub fn heuristic(mut self, on: bool) -> Self {
        self.change(|settings| Arc::make_mut(&mut settings.defaults).heuristic = on);
        self
    }

    /// The longest body that is stored, in bytes. A longer one is passed on as it comes. 1 MiB by default.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.change(|settings| settings.max_body = bytes);
        self
    }

    /// How long after its lifetime a response is served while it is revalidated in the background (RFC 5861), where it
    /// states no such time itself. Not at all by default.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.change(|settings| settings.stale_while_revalidate = window.as_secs());
        self
    }

    /// How long after its lifetime a response stands in for an error of the origin (RFC 5861), where it states no such
    /// time itself. Not at all by default.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.change(|settings| settings.stale_if_error = window.as_secs());
        self
    }

    /// How long after its lifetime a response is kept, to be validated, or to stand in for an origin that is dead where
    /// nothing forbids that (RFC 9111 section 4.2.4). An hour by default.
    #[must_use]
    pub fn keep_stale(mut self, time: Duration) -> Self {
        self.change(|settings| settings.keep_stale = time);
        self
    }

    /// What becomes of requests with an accepted credential. They pass by, by default.
    #[must_use]
    pub fn authenticated(mut self, rule: Authenticated) -> Self {
        self.change(|settings| {
            settings.authenticated = rule;
            if rule == Authenticated::PerSubject {
                settings.shared.keys_add_to_uri.store(true, Ordering::Relaxed);
            }
        });
        self
    }

    /// Whether responses with `Set-Cookie` are stored when they are explicitly cacheable. On by default, as RFC 6265 and
    /// RFC 9111 have it; such responses are never given to those who wait for another's.
    #[must_use]
    pub fn set_cookie(mut self, stored: bool) -> Self {
        self.change(|settings| settings.stores_set_cookie = stored);
        self
    }

    /// Whether what clients say in `Cache-Control` and `Pragma` is heeded, as RFC 9111 has it. On by default; off, no client
    /// can make your origin work.
    #[must_use]
    pub fn client_directives(mut self, heeded: bool) -> Self {
        self.change(|settings| settings.heeds_clients = heeded);
        self
    }

    /// Whether concurrent requests for one key ask the origin once. On by default.
    #[must_use]
    pub fn coalesce(mut self, on: bool) -> Self {
        self.change(|settings| settings.coalesces = on);
        self
    }

    /// How long a request waits for the head of the answer to another one, before it asks for itself. 5 s by default.
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.change(|settings| settings.max_wait = wait);
        self
    }

    /// How many requests wait for one answer at most. 10,000 by default; more ask for themselves.
    #[must_use]
    pub fn max_followers(mut self, followers: usize) -> Self {
        self.change(|settings| settings.max_followers = followers);
        self
    }

    /// How many responses that differ by the request's fields (`Vary`) are kept for one key. 32 by default.
    #[must_use]
    pub fn max_variants(mut self, variants: usize) -> Self {
        self.change(|settings| settings.max_variants = variants);
        self
    }

    /// For how long a key whose answer could not be shared is remembered: nobody waits for another's answer to it
    /// meanwhile. 10 s by default.
    #[must_use]
    pub fn uncacheable_for(mut self, time: Duration) -> Self {
        self.change(|settings| settings.uncacheable_for = time);
        self
    }

    /// What becomes of a body that nobody reads any more. It is finished by default, and stored.
    #[must_use]
    pub fn when_abandoned(mut self, what: WhenAbandoned) -> Self {
        self.change(|settings| settings.when_abandoned = what);
        self
    }

    /// Which parameters of the query are part of the key. All by default.
    #[must_use]
    pub fn query(mut self, parameters: QueryParameters) -> Self {
        self.change(|settings| Arc::make_mut(&mut settings.keys).query = parameters);
        self
    }

    /// Whether the parameters of the query are sorted in the key. Off by default.
    #[must_use]
    pub fn sort_query(mut self, sorted: bool) -> Self {
        self.change(|settings| Arc::make_mut(&mut settings.keys).sort_query = sorted);
        self
    }

    /// Whether `http` and `https` have the same responses. Off by default.
    #[must_use]
    pub fn ignore_scheme(mut self, ignored: bool) -> Self {
        self.change(|settings| Arc::make_mut(&mut settings.keys).ignore_scheme = ignored);
        self
    }

    /// Request fields that are part of the key, beside those that responses name in `Vary`.
    #[must_use]
    pub fn key_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = names.into_iter().collect();
        self.change_keys(|settings| Arc::make_mut(&mut settings.keys).headers = names);
        self
    }

    /// Writes what else responses depend on into the key.
    ///
    /// ```
    /// use tower_gateway::cache::CacheLayer;
    ///
    /// let layer = CacheLayer::new().key_with(|head, key| {
    ///     let beta = head.headers().get("cookie").is_some_and(|cookie| cookie.as_bytes().starts_with(b"beta=1"));
    ///     key.push_str(if beta { "beta" } else { "stable" });
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn key_with(mut self, write: impl Fn(&Head<'_>, &mut String) + Send + Sync + 'static) -> Self {
        self.change_keys(|settings| Arc::make_mut(&mut settings.keys).hook = Some(Arc::new(write)));
        self
    }

    /// Keeps the responses of this layer apart from those of others that share its state: of routes that answer the same
    /// URIs differently.
    #[must_use]
    pub fn partition(mut self, name: &str) -> Self {
        let name = Some(name.into());
        self.change_keys(|settings| Arc::make_mut(&mut settings.keys).partition = name);
        self
    }

    /// Under which name the cache stands in `Cache-Status` (RFC 9211). `tower-gateway` by default.
    ///
    /// # Errors
    ///
    /// [`InvalidCacheName`] when it is no token.
    pub fn name(mut self, name: &str) -> Result<Self, InvalidCacheName> {
        let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'*');
        if !begins || name.len() > 64 || !name.bytes().all(is_token_byte) {
            return Err(InvalidCacheName(name.to_owned()));
        }
        self.change(|settings| settings.name = name.into());
        Ok(self)
    }

    /// Whether `X-Cache` says `HIT`, `MISS`, `STALE`, `REVALIDATED` or `BYPASS`, beside `Cache-Status`. Off by default.
    #[must_use]
    pub fn x_cache(mut self, on: bool) -> Self {
        self.change(|settings| settings.x_cache = on);
        self
    }

    /// Whether `Cache-Status` tells the key, which helps while keys are chosen, and may tell a client of others' choices.
    /// Off by default.
    #[must_use]
    pub fn show_key(mut self, on: bool) -> Self {
        self.change(|settings| settings.shows_key = on);
        self
    }

    /// Where the time is read. The system's clocks by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.change(|settings| settings.clock = clock);
        self
    }

    gate_setters!();
    gate_setters!(answers);

    /// Purges and statistics of the running cache.
    pub fn handle(&self) -> CacheHandle<St> {
        CacheHandle::new(self.settings.clone())
    }

    /// Takes over what another cache has stored and what it is fetching, under this one's settings: what a reload does.
    #[must_use]
    pub fn adopt(mut self, old: &Self) -> Self {
        let shared = old.settings.shared.clone();
        if self.settings.keys_add_to_uri() {
            shared.keys_add_to_uri.store(true, Ordering::Relaxed);
        }
        self.change(|settings| settings.shared = shared);
        self
    }

    fn change(&mut self, change: impl FnOnce(&mut Settings<St>)) {
        change(Arc::make_mut(&mut self.settings));
    }

    fn change_keys(&mut self, change: impl FnOnce(&mut Settings<St>)) {
        self.change(|settings| {
            change(settings);
            settings.shared.keys_add_to_uri.store(true, Ordering::Relaxed);
        });
    }
}

impl<St> Settings<St> {
    fn keys_add_to_uri(&self) -> bool {
        self.keys.adds_to_uri() || self.authenticated == Authenticated::PerSubject
    }
}

impl<St> Clone for CacheLayer<St> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<St> fmt::Debug for CacheLayer<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").field("settings", &self.settings).finish()
    }
}

impl<St: CacheStore, S> Layer<S> for CacheLayer<St> {
    type Service = Cache<S, St>;

    fn layer(&self, inner: S) -> Self::Service {
        Cache { inner, settings: self.settings.clone() }
    }
}
