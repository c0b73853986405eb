//! What a store said, remembered for a moment.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::{KeyStore, StoreUnavailable};
use crate::Clock;
use crate::auth::api_key::{ApiKey, KeyDigest};

/// So many keys that exist, and so many that do not, are remembered. Apart, so that who sends made-up ones cannot have the
/// others forgotten.
const MAX: usize = 16_384;

/// A store in front of another, that remembers its answers for [5 s](Self::remember_for): so long it takes for a change to be
/// seen, and so long a store may be gone without anybody noticing.
pub struct CachedKeyStore<K> {
    inner: K,
    memory: Arc<Memory>,
}

struct Memory {
    fresh_for: Duration,
    bridge: Duration,
    clock: Clock,
    known: Mutex<HashMap<KeyDigest, Remembered>>,
    unknown: Mutex<HashMap<KeyDigest, Remembered>>,
}

#[derive(Clone)]
struct Remembered {
    answer: Option<ApiKey>,
    at: Instant,
}

impl<K> CachedKeyStore<K> {
    /// In front of `inner`.
    pub fn new(inner: K) -> Self {
        Self { inner, memory: Arc::new(Memory::new(Duration::from_secs(5), Duration::ZERO, Clock::system())) }
    }

    /// How long an answer is remembered. 5 s by default.
    #[must_use]
    pub fn remember_for(self, time: Duration) -> Self {
        let memory = Memory::new(time, self.memory.bridge, self.memory.clock.clone());
        Self { memory: Arc::new(memory), ..self }
    }

    /// For how much longer an answer is good while the store cannot be asked. Not at all by default: what cannot be looked up
    /// is a 503 then.
    #[must_use]
    pub fn bridge(self, time: Duration) -> Self {
        let memory = Memory::new(self.memory.fresh_for, time, self.memory.clock.clone());
        Self { memory: Arc::new(memory), ..self }
    }

    /// The clock that answers grow old by.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { memory: Arc::new(Memory::new(self.memory.fresh_for, self.memory.bridge, clock)), ..self }
    }
}

impl Memory {
    fn new(fresh_for: Duration, bridge: Duration, clock: Clock) -> Self {
        Self { fresh_for, bridge, clock, known: Mutex::default(), unknown: Mutex::default() }
    }

    /// What was answered no longer ago than this.
    fn get(&self, digest: &KeyDigest, within: Duration) -> Option<Option<ApiKey>> {
        let now = self.clock.now();
        [&self.known, &self.unknown].into_iter().find_map(|map| {
            let map = map.lock().unwrap_or_else(PoisonError::into_inner);
            let found = map.get(digest).filter(|one| now.saturating_duration_since(one.at) < within)?;
            Some(found.answer.clone())
        })
    }

    fn put(&self, digest: KeyDigest, answer: Option<ApiKey>) {
        let now = self.clock.now();
        let (own, other) = if answer.is_some() { (&self.known, &self.unknown) } else { (&self.unknown, &self.known) };
        other.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        let mut map = own.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX && !map.contains_key(&digest) {
            let within = self.fresh_for + self.bridge;
            map.retain(|_, one| now.saturating_duration_since(one.at) < within);
            // Unless that has made some room, all of them go: whoever sends made-up keys must not have it done for each.
            if map.len() > MAX / 2 {
                map.clear();
            }
        }
        map.insert(digest, Remembered { answer, at: now });
    }
}

impl<K: KeyStore> KeyStore for CachedKeyStore<K> {
    type Find = CachedFind<K::Find>;

    fn now(&self, digest: &KeyDigest) -> Option<Option<ApiKey>> {
        self.memory.get(digest, self.memory.fresh_for).or_else(|| self.inner.now(digest))
    }

    fn find(&self, digest: &KeyDigest) -> Self::Find {
        CachedFind { inner: self.inner.find(digest), memory: self.memory.clone(), digest: *digest }
    }
}

pin_project! {
    /// The look-up of a [`CachedKeyStore`].
    pub struct CachedFind<F> {
        #[pin]
        inner: F,
        memory: Arc<Memory>,
        digest: KeyDigest,
    }
}

impl<F> Future for CachedFind<F>
where
    F: Future<Output = Result<Option<ApiKey>, StoreUnavailable>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(answer) => {
                this.memory.put(*this.digest, answer.clone());
                Ok(answer)
            }
            Err(error) => this.memory.get(this.digest, this.memory.fresh_for + this.memory.bridge).ok_or(error),
        })
    }
}

impl<K: fmt::Debug> fmt::Debug for CachedKeyStore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedKeyStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for CachedFind<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedFind")
    }
}
