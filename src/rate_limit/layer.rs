use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::digest::Digests;
use super::handle::{Counters, RateLimitHandle};
use super::limit::Limit;
use super::store::memory::MemoryStore;
use super::{Quota, RateLimit, RateLimitHeaders, Store};
use crate::Clock;
use crate::gate::{Gate, gate_setters};

/// Limits how much each caller may use. See the [module](super).
pub struct RateLimitLayer<St = MemoryStore> {
    pub(super) settings: Arc<Settings<St>>,
}

pub(super) struct Settings<St> {
    pub(super) gate: Gate,
    pub(super) limits: Vec<Prepared>,
    pub(super) store: Arc<St>,
    pub(super) counters: Arc<Counters>,
    pub(super) on_store_error: OnStoreError,
    pub(super) headers: RateLimitHeaders,
    pub(super) retry_jitter: Duration,
    pub(super) clock: Clock,
}

/// A limit, and its keys' digests as its store wants them.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) limit: Limit,
    pub(super) digests: Digests,
}

/// What becomes of requests while the store has no answer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OnStoreError {
    /// They pass and are not counted.
    Open,
    /// They are refused with a 503.
    #[default]
    Closed,
    /// They are counted in memory, at a share of the quota: with `1, 4` each of four gateways gives out a quarter.
    Local {
        /// Where.
        store: MemoryStore,
        /// So many parts of the quota.
        share: (u32, u32),
    },
}

impl RateLimitLayer {
    /// `limit` requests a second for each client address, counted in memory.
    ///
    /// # Panics
    ///
    /// When `limit` is 0, as the others do.
    pub fn per_second(limit: u32) -> Self {
        Self::new([Limit::new("default", Quota::per_second(limit))])
    }

    /// `limit` requests a minute for each client address, counted in memory.
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    pub fn per_minute(limit: u32) -> Self {
        Self::new([Limit::new("default", Quota::per_minute(limit))])
    }

    /// `limit` requests an hour for each client address, counted in memory.
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    pub fn per_hour(limit: u32) -> Self {
        Self::new([Limit::new("default", Quota::per_hour(limit))])
    }

    /// These limits, counted in memory. A request is admitted by all of them, or charged to none. Of two with the same name
    /// the later one counts.
    pub fn new(limits: impl IntoIterator<Item = Limit>) -> Self {
        Self::with_store(limits, MemoryStore::new())
    }
}

impl<St: Store> RateLimitLayer<St> {
    /// These limits, counted in `store`. Layers that have limits of the same name and clones of one store share counters.
    pub fn with_store(limits: impl IntoIterator<Item = Limit>, store: St) -> Self {
        let digests = store.digests();
        let mut prepared: Vec<Prepared> = Vec::new();
        for limit in limits {
            prepared.retain(|known| known.limit.name() != limit.name());
            prepared.push(Prepared { digests: digests.of_limit(limit.name()), limit });
        }
        Self {
            settings: Arc::new(Settings {
                gate: Gate::default(),
                limits: prepared,
                store: Arc::new(store),
                counters: Arc::default(),
                on_store_error: OnStoreError::default(),
                headers: RateLimitHeaders::default(),
                retry_jitter: Duration::ZERO,
                clock: Clock::system(),
            }),
        }
    }

    /// What becomes of requests while the store has no answer: refused, unless it is set. A memory store always has one.
    #[must_use]
    pub fn on_store_error(mut self, on_store_error: OnStoreError) -> Self {
        Arc::make_mut(&mut self.settings).on_store_error = on_store_error;
        self
    }

    /// Which header fields answers carry. By default those of the IETF's draft, and the legacy ones.
    #[must_use]
    pub fn headers(mut self, headers: RateLimitHeaders) -> Self {
        Arc::make_mut(&mut self.settings).headers = headers;
        self
    }

    /// Adds up to so much, at random, to what refused callers are told to wait, so that they do not all come back at once.
    /// None by default.
    #[must_use]
    pub fn retry_jitter(mut self, most: Duration) -> Self {
        Arc::make_mut(&mut self.settings).retry_jitter = most;
        self
    }

    /// Where the date for `X-RateLimit-Reset` is read. What is counted goes by the store's clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.settings).clock = clock;
        self
    }

    gate_setters!(refuses);

    /// For operators: how things stand, and to forget what somebody has used.
    pub fn handle(&self) -> RateLimitHandle<St> {
        RateLimitHandle::new(self.settings.clone())
    }

    /// Counts on where `old` has counted: by its store, in which limits of the same name keep what was used. The layer's
    /// own store is given up.
    #[must_use]
    pub fn adopt(mut self, old: &Self) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        settings.store = old.settings.store.clone();
        settings.counters = old.settings.counters.clone();
        let digests = settings.store.digests();
        for prepared in &mut settings.limits {
            prepared.digests = digests.of_limit(prepared.limit.name());
        }
        self
    }
}

impl<S, St> Layer<S> for RateLimitLayer<St> {
    type Service = RateLimit<S, St>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, settings: self.settings.clone() }
    }
}

// By hand, as a store need not be one that can be cloned.
impl<St> Clone for RateLimitLayer<St> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<St> Clone for Settings<St> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            limits: self.limits.clone(),
            store: self.store.clone(),
            counters: self.counters.clone(),
            on_store_error: self.on_store_error.clone(),
            headers: self.headers,
            retry_jitter: self.retry_jitter,
            clock: self.clock.clone(),
        }
    }
}

impl<St> fmt::Debug for RateLimitLayer<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateLimitLayer").field(&self.settings).finish()
    }
}

impl<St> fmt::Debug for Settings<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("gate", &self.gate)
            .field("limits", &self.limits.iter().map(|prepared| &prepared.limit).collect::<Vec<_>>())
            .field("on_store_error", &self.on_store_error)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
