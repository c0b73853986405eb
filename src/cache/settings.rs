//! What a cache is told, and the state that it shares with the caches made from it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::flight::Flights;
use super::key::KeyRules;
use super::policy::freshness::Defaults;
use super::purge::Purges;
use super::record::Record;
use super::stream::WhenAbandoned;
use super::uncacheable::Uncacheable;
use crate::gate::Gate;
use crate::{CacheOutcome, Clock};

/// What becomes of a request that carries an accepted credential, of any kind: one with an
/// [`Identity`](crate::Identity) in its context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authenticated {
    /// It passes by the cache: nothing is looked up for it, stored of its answer, or joined.
    #[default]
    Skip,
    /// Each subject has responses of its own. One without a subject passes by.
    PerSubject,
    /// The answer is the same for everybody who is let through to it: a statement about your origin.
    Shared,
}

pub(super) struct Settings<St> {
    pub(super) gate: Gate,
    pub(super) clock: Clock,
    pub(super) name: Arc<str>,
    pub(super) x_cache: bool,
    pub(super) shows_key: bool,
    pub(super) keys: Arc<KeyRules>,
    pub(super) defaults: Arc<Defaults>,
    pub(super) max_body: u64,
    pub(super) stale_while_revalidate: u64,
    pub(super) stale_if_error: u64,
    pub(super) keep_stale: Duration,
    pub(super) authenticated: Authenticated,
    pub(super) stores_set_cookie: bool,
    pub(super) heeds_clients: bool,
    pub(super) coalesces: bool,
    pub(super) max_wait: Duration,
    pub(super) max_followers: usize,
    pub(super) max_variants: usize,
    pub(super) uncacheable_for: Duration,
    pub(super) when_abandoned: WhenAbandoned,
    pub(super) shared: Arc<Shared<St>>,
}

impl<St> Settings<St> {
    pub(super) fn new(store: St) -> Self {
        Self {
            gate: Gate::default(),
            clock: Clock::system(),
            name: "tower-gateway".into(),
            x_cache: false,
            shows_key: false,
            keys: Arc::default(),
            defaults: Arc::new(Defaults { heuristic: true, ttl: None, ttl_statuses: vec![StatusCode::OK] }),
            max_body: 1024 * 1024,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            keep_stale: Duration::from_secs(3600),
            authenticated: Authenticated::default(),
            stores_set_cookie: true,
            heeds_clients: true,
            coalesces: true,
            max_wait: Duration::from_secs(5),
            max_followers: 10_000,
            max_variants: 32,
            uncacheable_for: Duration::from_secs(10),
            when_abandoned: WhenAbandoned::default(),
            shared: Arc::new(Shared::new(store)),
        }
    }
}

impl<St> Clone for Settings<St> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            clock: self.clock.clone(),
            name: self.name.clone(),
            keys: self.keys.clone(),
            defaults: self.defaults.clone(),
            shared: self.shared.clone(),
            ..*self
        }
    }
}

/// What all caches of one state have in common.
pub(super) struct Shared<St> {
    pub(super) store: St,
    pub(super) flights: Arc<Flights>,
    pub(super) uncacheable: Uncacheable,
    pub(super) purges: Purges,
    pub(super) counters: Counters,
    /// Some keys are more than a URI, so that forgetting the URI's own is not enough.
    pub(super) keys_add_to_uri: AtomicBool,
}

impl<St> Shared<St> {
    fn new(store: St) -> Self {
        Self {
            store,
            flights: Arc::new(Flights::new()),
            uncacheable: Uncacheable::new(),
            purges: Purges::default(),
            counters: Counters::default(),
            keys_add_to_uri: AtomicBool::new(false),
        }
    }
}

impl<St> Shared<St> {
    /// True when what a store has returned was invalidated since it was asked for.
    pub(super) fn outdates(&self, record: &Record) -> bool {
        let mut heads = record.variants.iter().map(|entry| &entry.head);
        heads.any(|head| self.purges.outdated(head.key.uri(), head.times.requested))
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    revalidated: AtomicU64,
    bypassed: AtomicU64,
    pub(super) collapsed: AtomicU64,
    pub(super) stored: AtomicU64,
}

/// What a cache has done since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Requests answered from the store, or with what another was just being answered with.
    pub hits: u64,
    /// Requests that went to the origin.
    pub misses: u64,
    /// Requests answered with what was fresh no longer.
    pub stale: u64,
    /// Requests answered with what the origin said still holds.
    pub revalidated: u64,
    /// Requests that the cache had nothing to do with.
    pub bypassed: u64,
    /// Those of the hits that waited for another's answer.
    pub collapsed: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Requests to the origin that others may be waiting for.
    pub in_flight: usize,
    /// Keys that are held in this process.
    pub entries: u64,
    /// The bytes they take.
    pub bytes: u64,
}

impl Counters {
    pub(super) fn count(&self, outcome: CacheOutcome) {
        let counter = match outcome {
            CacheOutcome::Hit => &self.hits,
            CacheOutcome::Miss => &self.misses,
            CacheOutcome::Stale => &self.stale,
            CacheOutcome::Revalidated => &self.revalidated,
            CacheOutcome::Bypass => &self.bypassed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn statistics(&self, in_flight: usize, (entries, bytes): (u64, u64)) -> CacheStatistics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStatistics {
            hits: of(&self.hits),
            misses: of(&self.misses),
            stale: of(&self.stale),
            revalidated: of(&self.revalidated),
            bypassed: of(&self.bypassed),
            collapsed: of(&self.collapsed),
            stored: of(&self.stored),
            in_flight,
            entries,
            bytes,
        }
    }
}

impl<St> fmt::Debug for Settings<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("gate", &self.gate)
            .field("keys", &self.keys)
            .field("defaults", &self.defaults)
            .field("max_body", &self.max_body)
            .field("authenticated", &self.authenticated)
            .finish_non_exhaustive()
    }
}
