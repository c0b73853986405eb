use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::{CacheStore, Known, MemoryStore, Record};

/// Memory, and behind it a store that several gateways may share. Memory answers at once; what it does not have is asked of
/// the second, and remembered; what is stored goes to both.
#[derive(Clone, Debug)]
pub struct Tiered<S> {
    memory: MemoryStore,
    second: S,
}

impl<S: CacheStore> Tiered<S> {
    /// `memory` in front of `second`, which may be an `Option`: with `None` there is memory alone.
    pub fn new(memory: MemoryStore, second: S) -> Self {
        Self { memory, second }
    }
}

impl<S: CacheStore> CacheStore for Tiered<S> {
    type Get = TieredGet<S::Get>;

    fn now(&self, key: &str) -> Known {
        match self.memory.now(key) {
            Known::Found(record) => Known::Found(record),
            Known::Nothing | Known::Ask => self.second.now(key),
        }
    }

    fn get(&self, key: &str) -> Self::Get {
        TieredGet { asked: self.second.get(key), memory: self.memory.clone(), key: key.to_owned() }
    }

    fn put(&self, key: &str, record: Arc<Record>, keep: Duration) {
        self.memory.put(key, record.clone(), keep);
        self.second.put(key, record, keep);
    }

    fn remove(&self, key: &str) {
        self.memory.remove(key);
        self.second.remove(key);
    }

    fn clear(&self) {
        self.memory.clear();
        self.second.clear();
    }

    fn held(&self) -> (u64, u64) {
        self.memory.held()
    }
}

pin_project! {
    /// Asks the second of two [tiers](Tiered).
    #[derive(Debug)]
    pub struct TieredGet<F> {
        #[pin]
        asked: F,
        memory: MemoryStore,
        key: String,
    }
}

impl<F: Future<Output = Option<Arc<Record>>>> Future for TieredGet<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let found = ready!(this.asked.poll(cx));
        if let Some(record) = &found {
            this.memory.put(this.key, record.clone(), record.keep(Instant::now()));
        }
        Poll::Ready(found)
    }
}

/// None of a store: it has nothing, and forgets what it is given.
impl<S: CacheStore> CacheStore for Option<S> {
    type Get = OptionalGet<S::Get>;

    fn now(&self, key: &str) -> Known {
        self.as_ref().map_or(Known::Nothing, |store| store.now(key))
    }

    fn get(&self, key: &str) -> Self::Get {
        OptionalGet { asked: self.as_ref().map(|store| store.get(key)) }
    }

    fn put(&self, key: &str, record: Arc<Record>, keep: Duration) {
        if let Some(store) = self {
            store.put(key, record, keep);
        }
    }

    fn remove(&self, key: &str) {
        if let Some(store) = self {
            store.remove(key);
        }
    }

    fn clear(&self) {
        if let Some(store) = self {
            store.clear();
        }
    }

    fn held(&self) -> (u64, u64) {
        self.as_ref().map_or((0, 0), CacheStore::held)
    }
}

pin_project! {
    /// Asks a store, where there is one.
    #[derive(Debug)]
    pub struct OptionalGet<F> {
        #[pin]
        asked: Option<F>,
    }
}

impl<F: Future<Output = Option<Arc<Record>>>> Future for OptionalGet<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().asked.as_pin_mut() {
            Some(asked) => asked.poll(cx),
            None => Poll::Ready(None),
        }
    }
}
