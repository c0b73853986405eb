use std::collections::HashMap;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{KeyStore, StoreUnavailable};
use crate::auth::api_key::{ApiKey, KeyDigest};

/// API keys in memory, which can be exchanged while they are used. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryKeyStore(Arc<ArcSwap<HashMap<KeyDigest, ApiKey>>>);

impl MemoryKeyStore {
    /// These keys. Of two with one digest, the last one.
    pub fn new(keys: impl IntoIterator<Item = (KeyDigest, ApiKey)>) -> Self {
        let store = Self::default();
        store.replace(keys);
        store
    }

    /// Exchanges all keys for these, at once.
    pub fn replace(&self, keys: impl IntoIterator<Item = (KeyDigest, ApiKey)>) {
        self.0.store(Arc::new(keys.into_iter().collect()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.load().len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeyStore for MemoryKeyStore {
    type Find = Ready<Result<Option<ApiKey>, StoreUnavailable>>;

    fn now(&self, digest: &KeyDigest) -> Option<Option<ApiKey>> {
        Some(self.0.load().get(digest).cloned())
    }

    fn find(&self, digest: &KeyDigest) -> Self::Find {
        ready(Ok(self.0.load().get(digest).cloned()))
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").field("keys", &self.len()).finish()
    }
}
