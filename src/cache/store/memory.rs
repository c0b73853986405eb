use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::recent::{Recent, Seen};
use super::{CacheStore, Known, Record};

/// In this process's memory, within a budget of bytes.
///
/// What is asked for often stays: a scan of many keys that are asked for once does not push out the others (TinyLFU).
#[derive(Clone)]
pub struct MemoryStore {
    cache: Cache<Arc<str>, Held>,
    /// What was asked for last, before the cache itself is asked.
    recent: Arc<Recent>,
    /// Bytes that were put since the budget was last seen to.
    unsettled: Arc<AtomicU64>,
    /// So many of them, and it is seen to at once.
    slack: u64,
}

#[derive(Clone)]
struct Held {
    record: Arc<Record>,
    keep: Duration,
    size: u32,
}

impl MemoryStore {
    /// 64 MiB, for a store that nobody gave a size.
    pub(in crate::cache) const DEFAULT_BUDGET: u64 = 64 * 1024 * 1024;

    /// A store of at most `budget` bytes, counting content, fields and bookkeeping. A response that is larger by itself is
    /// not kept.
    pub fn new(budget: u64) -> Self {
        let cache = Cache::builder()
            .name("tower-gateway")
            .weigher(|_: &Arc<str>, held: &Held| held.size)
            .max_capacity(budget)
            .expire_after(UntilUseless)
            .build();
        Self { cache, recent: Arc::default(), unsettled: Arc::default(), slack: (budget / 32).max(1) }
    }
}

impl CacheStore for MemoryStore {
    type Get = Ready<Option<Arc<Record>>>;

    fn now(&self, key: &str) -> Known {
        let place = match self.recent.look(key) {
            Seen::Found(record) => return Known::Found(record),
            Seen::Nothing(place) => place,
        };
        match self.cache.get(key) {
            Some(held) => {
                if let Some(place) = place {
                    place.remember(key, &held.record);
                }
                Known::Found(held.record)
            }
            None => Known::Nothing,
        }
    }

    fn get(&self, key: &str) -> Self::Get {
        ready(self.cache.get(key).map(|held| held.record))
    }

    fn put(&self, key: &str, record: Arc<Record>, keep: Duration) {
        /// What the map itself needs for an entry.
        const OVERHEAD: usize = 256;
        let size = u32::try_from(record.size() + key.len() + OVERHEAD).unwrap_or(u32::MAX);
        self.cache.insert(key.into(), Held { record, keep, size });
        self.recent.forget(key);
        // Evictions are put off and done together; large responses would exceed the budget in the meantime.
        let unsettled = self.unsettled.fetch_add(size.into(), Ordering::Relaxed) + u64::from(size);
        if unsettled >= self.slack {
            self.unsettled.store(0, Ordering::Relaxed);
            self.cache.run_pending_tasks();
        }
    }

    fn remove(&self, key: &str) {
        self.cache.invalidate(key);
        self.recent.forget(key);
    }

    fn clear(&self) {
        self.cache.invalidate_all();
        self.recent.forget_all();
        self.cache.run_pending_tasks();
    }

    fn held(&self) -> (u64, u64) {
        self.cache.run_pending_tasks();
        (self.cache.entry_count(), self.cache.weighted_size())
    }
}

struct UntilUseless;

impl Expiry<Arc<str>, Held> for UntilUseless {
    fn expire_after_create(&self, _: &Arc<str>, held: &Held, _: Instant) -> Option<Duration> {
        Some(held.keep)
    }

    fn expire_after_update(&self, _: &Arc<str>, held: &Held, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(held.keep)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("budget", &self.cache.policy().max_capacity()).finish_non_exhaustive()
    }
}
