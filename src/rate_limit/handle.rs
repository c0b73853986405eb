use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;

use super::layer::Settings;
use super::{Charges, Store};
use crate::Head;

/// A running [`RateLimitLayer`](super::RateLimitLayer), for operators.
pub struct RateLimitHandle<St> {
    settings: Arc<Settings<St>>,
}

/// How often a layer did what is worth a look. What it admits is not counted: that would be a write for each request.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) refused: AtomicU64,
    pub(super) would_refuse: AtomicU64,
    pub(super) missing_keys: AtomicU64,
    pub(super) store_errors: AtomicU64,
}

/// What a [`RateLimitHandle`] has counted since the layer was made, or the one it has adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitStatistics {
    /// Requests that were refused for want of quota.
    pub refused: u64,
    /// Those that would have been, in a dry run.
    pub would_refuse: u64,
    /// Requests that had no key, and were refused or skipped.
    pub missing_keys: u64,
    /// Requests for which the store had no answer.
    pub store_errors: u64,
}

impl<St: Store> RateLimitHandle<St> {
    pub(super) fn new(settings: Arc<Settings<St>>) -> Self {
        Self { settings }
    }

    /// What has happened so far.
    pub fn statistics(&self) -> RateLimitStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { refused, would_refuse, missing_keys, store_errors } = &*self.settings.counters;
        RateLimitStatistics {
            refused: read(refused),
            would_refuse: read(would_refuse),
            missing_keys: read(missing_keys),
            store_errors: read(store_errors),
        }
    }

    /// Where use is counted.
    pub fn store(&self) -> &St {
        &self.settings.store
    }

    /// How things stand for whoever would send `request`: its head, with a context that says who it is. Nothing is charged.
    pub fn peek<B>(&self, request: &Request<B>) -> St::Future {
        self.settings.store.peek(&self.charges(request))
    }

    /// Forgets what whoever would send `request` has used.
    pub fn reset<B>(&self, request: &Request<B>) -> St::Future {
        self.settings.store.reset(&self.charges(request))
    }

    fn charges<B>(&self, request: &Request<B>) -> Charges {
        let head = Head::of(request);
        let limits = self.settings.limits.iter();
        limits
            .filter_map(|prepared| prepared.limit.charge(&prepared.digests, &head))
            .map(|(charge, _)| charge)
            .collect()
    }
}

impl<St> Clone for RateLimitHandle<St> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<St> fmt::Debug for RateLimitHandle<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitHandle").field("counters", &self.settings.counters).finish_non_exhaustive()
    }
}
