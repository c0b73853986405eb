use std::fmt;
use std::sync::Arc;

use super::purge::PurgeOf;
use super::settings::{CacheStatistics, Settings};
use super::store::CacheStore;

/// A running cache, for operators: purges and statistics. It lives on when a reload [adopts](super::CacheLayer::adopt) the
/// cache.
pub struct CacheHandle<St> {
    settings: Arc<Settings<St>>,
}

impl<St: CacheStore> CacheHandle<St> {
    pub(super) fn new(settings: Arc<Settings<St>>) -> Self {
        Self { settings }
    }

    /// Takes what `what` names out of the cache: what is stored, and what is being received now.
    ///
    /// ```
    /// use tower_gateway::cache::{CacheLayer, PurgeOf};
    ///
    /// let layer = CacheLayer::new();
    /// layer.handle().purge(&PurgeOf::Tag("users".into()));
    /// layer.handle().purge(&PurgeOf::Url(http::Uri::from_static("https://api.example.com/users/7")));
    /// ```
    pub fn purge(&self, what: &PurgeOf) {
        self.add(what, false);
    }

    /// Makes it stale instead: it is revalidated before it is served again, and serves as stale responses do while that is
    /// under way or the origin fails.
    pub fn purge_softly(&self, what: &PurgeOf) {
        self.add(what, true);
    }

    fn add(&self, what: &PurgeOf, soft: bool) {
        let shared = &self.settings.shared;
        let now = self.settings.clock.now();
        match what {
            PurgeOf::Url(uri) => {
                let key = self.settings.keys.named(uri);
                shared.purges.add_uri(key.uri(), now, soft);
                if !soft {
                    shared.flights.close(key.as_str());
                    shared.store.remove(key.as_str());
                }
            }
            PurgeOf::Prefix(prefix) => shared.purges.add_prefix(prefix, now, soft),
            PurgeOf::Tag(tag) => shared.purges.add_tag(tag, now, soft),
            PurgeOf::All => {
                shared.purges.add_all(now, soft);
                if !soft {
                    shared.store.clear();
                }
            }
        }
    }

    /// What the cache has done, and what it holds. Counting what is held takes a moment.
    pub fn statistics(&self) -> CacheStatistics {
        let shared = &self.settings.shared;
        shared.counters.statistics(shared.flights.count(), shared.store.held())
    }
}

impl<St> Clone for CacheHandle<St> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<St> fmt::Debug for CacheHandle<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle").finish_non_exhaustive()
    }
}
