//! Where responses are kept.
//!
//! [`MemoryStore`] is in this process and answers at once. A [`ByteStore`] is a place of your own outside it, which
//! [`Remote`] makes a store of; with the feature `redis` there is one already. [`Tiered`] puts memory in front.
//!
//! What one gateway forgets it forgets in the shared store too; what others hold in their memory they keep until it is
//! stale.

mod envelope;
mod memory;
mod recent;
#[cfg(feature = "redis")]
mod redis;
mod remote;
mod tiered;

pub use self::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;
pub use self::remote::{ByteStore, Remote};
pub use self::tiered::{OptionalGet, Tiered, TieredGet};
pub use super::record::Record;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What a store knows without waiting.
#[derive(Clone, Debug)]
pub enum Known {
    /// This is what it has.
    Found(Arc<Record>),
    /// It has nothing.
    Nothing,
    /// It has to be [asked](CacheStore::get).
    Ask,
}

/// A store of responses, by key. Keys are text: a URI, and what else tells responses apart.
///
/// Reading may wait; writing never does: a store that is elsewhere sends what it is given in the background. A store that
/// fails has nothing, and loses what it is given: the cache goes on without it.
pub trait CacheStore: Send + Sync + 'static {
    /// Waits for what the store has.
    type Get: Future<Output = Option<Arc<Record>>> + Send + 'static;

    /// What it knows without waiting: memory answers here, before the request is moved anywhere.
    fn now(&self, key: &str) -> Known;

    /// Asks it.
    fn get(&self, key: &str) -> Self::Get;

    /// Keeps a record for a time, in the place of what it had for this key.
    fn put(&self, key: &str, record: Arc<Record>, keep: Duration);

    /// Forgets a key.
    fn remove(&self, key: &str);

    /// Forgets everything, as far as it can: what stays is refused when it is read.
    fn clear(&self) {}

    /// Entries and bytes that are held in this process.
    fn held(&self) -> (u64, u64) {
        (0, 0)
    }
}
