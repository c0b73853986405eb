//! Where API keys are looked up.

mod cached;
#[cfg(feature = "auth-file")]
mod file;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "auth-file", feature = "redis"))]
mod timestamp;

pub use self::cached::{CachedFind, CachedKeyStore};
#[cfg(feature = "auth-file")]
pub use self::file::{FileKeyStore, KeyFileError};
pub use self::memory::MemoryKeyStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisKeyStore;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::api_key::{ApiKey, KeyDigest};
use crate::BoxError;

/// The store cannot be asked right now.
#[derive(Debug, thiserror::Error)]
#[error("the store of API keys cannot be asked")]
pub struct StoreUnavailable(#[source] Option<BoxError>);

impl StoreUnavailable {
    /// For this reason, which is for logs and never for clients.
    pub fn because(reason: impl Into<BoxError>) -> Self {
        Self(Some(reason.into()))
    }
}

/// Looks API keys up by their digest. For one of your own that is written with `async`, see [`key_store_fn`].
pub trait KeyStore: Send + Sync + 'static {
    /// A look-up on its way.
    type Find: Future<Output = Result<Option<ApiKey>, StoreUnavailable>> + Send + 'static;

    /// The answer, where it is known without waiting: `Some(None)` says that there is no such key. A store in memory answers
    /// every time.
    fn now(&self, digest: &KeyDigest) -> Option<Option<ApiKey>> {
        let _ = digest;
        None
    }

    /// Asks for a key.
    fn find(&self, digest: &KeyDigest) -> Self::Find;
}

/// A store made of an asynchronous function.
///
/// ```
/// use tower_gateway::auth::{ApiKey, ApiKeys, AuthLayer, CachedKeyStore, KeyDigest, StoreUnavailable, key_store_fn};
///
/// async fn ask_database(digest: KeyDigest) -> Result<Option<ApiKey>, StoreUnavailable> {
///     // SELECT .. FROM keys WHERE sha256 = ..
///     Ok((digest == KeyDigest::of(b"k")).then(|| ApiKey::new("k1").subject("u1")))
/// }
///
/// let store = CachedKeyStore::new(key_store_fn(ask_database));
/// let layer = AuthLayer::new(ApiKeys::new(store));
/// ```
pub fn key_store_fn<F, R>(find: F) -> KeyStoreFn<F>
where
    F: Fn(KeyDigest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Option<ApiKey>, StoreUnavailable>> + Send + 'static,
{
    KeyStoreFn(find)
}

/// The store that [`key_store_fn`] makes.
#[derive(Clone)]
pub struct KeyStoreFn<F>(F);

impl<F, R> KeyStore for KeyStoreFn<F>
where
    F: Fn(KeyDigest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Option<ApiKey>, StoreUnavailable>> + Send + 'static,
{
    type Find = Pin<Box<dyn Future<Output = Result<Option<ApiKey>, StoreUnavailable>> + Send>>;

    fn find(&self, digest: &KeyDigest) -> Self::Find {
        Box::pin((self.0)(*digest))
    }
}

impl<F> fmt::Debug for KeyStoreFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyStoreFn(..)")
    }
}
