use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore};

use super::{CacheStore, Known, Record};
use crate::{BoxError, Clock};

/// A store of bytes outside this process: what you write to keep responses in a place of your own. Its methods may be
/// written as `async fn`; [`Remote`] makes a [`CacheStore`] of it.
pub trait ByteStore: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, BoxError>> + Send;

    /// Keeps a value, for so long at most.
    fn put(&self, key: &str, value: Bytes, keep: Duration) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Forgets a key.
    fn remove(&self, key: &str) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// A [`ByteStore`] as a store of responses. What fails, takes too long, or is no record is as if it were not there. Writes go
/// on in the background, in the order in which they came for each key, and so many at once; more are given up.
pub struct Remote<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    store: T,
    deadline: Duration,
    max_value: usize,
    writing: Arc<Semaphore>,
    /// By the key's place: writes of one key wait for each other.
    turns: Box<[Mutex<()>]>,
    clock: Clock,
}

impl<T: ByteStore> Remote<T> {
    /// Over `store`, with 50 ms to answer a read, 4 MiB for one record, and 256 writes at once.
    pub fn new(store: T) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                deadline: Duration::from_millis(50),
                max_value: 4 * 1024 * 1024,
                writing: Arc::new(Semaphore::new(256)),
                turns: (0..64).map(|_| Mutex::default()).collect(),
                clock: Clock::system(),
            }),
        }
    }

    /// How long a read, and a write in the background, may take.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|shared| shared.deadline = deadline)
    }

    /// The longest record that is sent, in bytes: all responses of one key together.
    #[must_use]
    pub fn max_value(self, bytes: usize) -> Self {
        self.with(|shared| shared.max_value = bytes)
    }

    /// Where the time is read.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|shared| shared.clock = clock)
    }

    fn with(mut self, change: impl FnOnce(&mut Shared<T>)) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
        self
    }

    fn write<F>(&self, key: &str, write: impl FnOnce(Arc<Shared<T>>, String) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), BoxError>> + Send,
    {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Ok(permit) = self.shared.writing.clone().try_acquire_owned() else { return };
        let (shared, key) = (self.shared.clone(), key.to_owned());
        runtime.spawn(async move {
            let place = key.bytes().fold(0usize, |place, byte| place.wrapping_mul(31).wrapping_add(byte.into()));
            let turns = shared.clone();
            let turn = turns.turns[place % turns.turns.len()].lock().await;
            let deadline = shared.deadline;
            // What is not written is asked of the origin again.
            let _ = tokio::time::timeout(deadline, write(shared, key)).await;
            drop((turn, permit));
        });
    }
}

impl<T: ByteStore> CacheStore for Remote<T> {
    type Get = Pin<Box<dyn Future<Output = Option<Arc<Record>>> + Send>>;

    fn now(&self, _: &str) -> Known {
        Known::Ask
    }

    fn get(&self, key: &str) -> Self::Get {
        let (shared, key) = (self.shared.clone(), key.to_owned());
        Box::pin(async move {
            let read = tokio::time::timeout(shared.deadline, shared.store.get(&key)).await;
            let bytes = read.ok()?.ok()??;
            Record::decode(bytes, &key, shared.clock.now(), shared.clock.wall()).map(Arc::new)
        })
    }

    fn put(&self, key: &str, record: Arc<Record>, keep: Duration) {
        if record.size() > self.shared.max_value {
            // The old one would be served in its place.
            return self.remove(key);
        }
        self.write(key, move |shared, key| async move {
            let value = record.encode(shared.clock.now(), shared.clock.wall());
            shared.store.put(&key, value, keep).await
        });
    }

    fn remove(&self, key: &str) {
        self.write(key, |shared, key| async move { shared.store.remove(&key).await });
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("deadline", &self.shared.deadline).finish_non_exhaustive()
    }
}
