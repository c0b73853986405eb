use std::time::Duration;

use bytes::Bytes;

use super::ByteStore;
use crate::BoxError;
use crate::redis::{Redis, cmd};

/// Responses in Redis, for [`Remote`](super::Remote): one value a key, which Redis forgets by itself when it can be of no
/// use any more, stale windows included. While Redis is down a read costs nothing and finds nothing.
///
/// ```no_run
/// # async fn example() -> Result<(), tower_gateway::BoxError> {
/// use tower_gateway::cache::CacheLayer;
/// use tower_gateway::cache::store::{MemoryStore, RedisStore, Remote, Tiered};
/// use tower_gateway::redis::Redis;
///
/// let redis = Redis::new("redis://127.0.0.1:6379")?;
/// let store = Tiered::new(MemoryStore::new(256 * 1024 * 1024), Remote::new(RedisStore::new(redis)));
/// let layer = CacheLayer::with_store(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedisStore {
    redis: Redis,
}

impl RedisStore {
    /// Under the prefix of `redis`, and `cache:`.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn key(&self, key: &str) -> String {
        self.redis.key(&["cache:", key].concat())
    }
}

impl ByteStore for RedisStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BoxError> {
        let value: Option<Vec<u8>> = self.redis.query(cmd("GET").arg(self.key(key))).await?;
        Ok(value.map(Bytes::from))
    }

    async fn put(&self, key: &str, value: Bytes, keep: Duration) -> Result<(), BoxError> {
        let milliseconds = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut set = cmd("SET");
        set.arg(self.key(key)).arg(&value[..]).arg("PX").arg(milliseconds);
        Ok(self.redis.query::<()>(&set).await?)
    }

    async fn remove(&self, key: &str) -> Result<(), BoxError> {
        Ok(self.redis.query::<()>(cmd("DEL").arg(self.key(key))).await?)
    }
}
