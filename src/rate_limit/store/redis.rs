//! Counting in a Redis that several gateways share.

mod batch;
mod denied;
mod pulse;
mod question;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use self::batch::Batch;
use self::denied::Denied;
use self::question::{Operation, Question};
use super::{Store, StoreError};
use crate::rate_limit::{Charge, Charges, Decision};
use crate::redis::{Redis, RedisError, Script};

/// Counts in a [`Redis`], exactly, for all gateways that have the same limits there.
///
/// - **One step.** A script charges all quotas of a request, by the server's own clock, or none of them.
/// - **One trip for many.** Requests that a runtime has at hand at the same time are asked about together.
/// - **No trip for those who are out of quota.** Until they may try again they are refused here, for as long as Redis is there.
///   Where there is anybody to refuse and nothing has been answered for 100 ms, it is asked for a sign (`PING`) in the background.
/// - **What Redis said ends with it**: at once where a connection breaks, and else 100 ms and the deadline after its last answer, and
///   of a cluster with any of its nodes. For so long somebody may still be refused for what is lost by then. What others delete
///   (`FLUSHALL`) is not seen from here: who was refused before is refused until its time.
/// - **A deadline for each, and nothing while the server is down**: see [`Redis`]. What then becomes of requests is the
///   layer's [`OnStoreError`](crate::rate_limit::OnStoreError).
///
/// In a cluster, all charges of one key are in one slot and are one step. Charges of different keys are asked about one after the
/// other, and given back when a later one refuses: for as long as that takes, somebody else may be refused who need not be.
///
/// As cheap to clone as an `Arc`; clones are the same store. It has to be used within a tokio runtime.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    redis: Redis,
    script: Script,
    denied: Denied,
    /// What the requests of each runtime ask.
    batches: RwLock<Vec<(Id, Arc<Batch>)>>,
}

/// The answer of a [`RedisStore`].
pub struct RedisStoreFuture(State);

enum State {
    Known(Option<Result<Decision, StoreError>>),
    Asked(oneshot::Receiver<Result<Decision, RedisError>>),
}

impl RedisStore {
    /// Counts in `redis`, under keys that begin with its prefix and `rl:`.
    pub fn new(redis: Redis) -> Self {
        Self(Arc::new(Inner {
            denied: Denied::new(redis.timeout()),
            redis,
            script: Script::new(include_str!("redis/acquire.lua")),
            batches: RwLock::default(),
        }))
    }

    fn ask(&self, operation: Operation, charges: &[Charge]) -> RedisStoreFuture {
        if charges.is_empty() {
            return RedisStoreFuture(State::Known(Some(Ok(Decision::admit(u64::MAX, std::time::Duration::ZERO)))));
        }
        // Before anything is made ready for a server that is known to be down.
        if let Err(error) = self.0.redis.ensure_up() {
            return RedisStoreFuture(State::Known(Some(Err(StoreError::new(error)))));
        }
        let (answer, asked) = oneshot::channel();
        let question = Question { operation, charges: Charges::from_slice(charges), answer };
        if self.0.redis.is_cluster() {
            tokio::spawn(batch::ask_in_a_cluster(self.0.clone(), question));
        } else {
            let batch = self.batch();
            if batch.push(question) {
                // The first sees to it that all are sent, in a task of its own: whoever asked may leave.
                tokio::spawn(batch::send(self.0.clone(), batch));
            }
        }
        RedisStoreFuture(State::Asked(asked))
    }

    /// The batch of the runtime that this runs on: what it asks goes over its connection.
    fn batch(&self) -> Arc<Batch> {
        let id = Handle::current().id();
        let batches = self.0.batches.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, batch)) = batches.iter().find(|(own, _)| *own == id) {
            return batch.clone();
        }
        drop(batches);
        let mut batches = self.0.batches.write().unwrap_or_else(PoisonError::into_inner);
        // Nobody pushes to those of runtimes that have ended, and nobody misses one that is empty.
        batches.retain(|(_, batch)| !batch.is_empty());
        let batch = Arc::<Batch>::default();
        batches.push((id, batch.clone()));
        batch
    }
}

impl Store for RedisStore {
    type Future = RedisStoreFuture;

    /// Only refusals, of keys that are known to be out of quota, by a server that is there.
    fn now(&self, charges: &[Charge]) -> Option<Decision> {
        let Inner { redis, denied, .. } = &*self.0;
        if redis.is_down() {
            return None;
        }
        let era = redis.losses().count();
        let refusals =
            charges.iter().enumerate().filter_map(|(n, charge)| Some(denied.refusal(charge, era)?.of_charge(n)));
        let refusal = refusals.reduce(Decision::tightest)?;
        // Whoever did may have gone with its runtime.
        self.0.watch();
        Some(refusal)
    }

    fn acquire(&self, charges: &[Charge]) -> Self::Future {
        self.ask(Operation::Acquire, charges)
    }

    fn debit(&self, charges: &[Charge]) -> Self::Future {
        self.ask(Operation::Debit, charges)
    }

    fn refund(&self, charges: &[Charge]) -> Self::Future {
        self.ask(Operation::Refund, charges)
    }

    fn peek(&self, charges: &[Charge]) -> Self::Future {
        self.ask(Operation::Peek, charges)
    }

    fn reset(&self, charges: &[Charge]) -> Self::Future {
        self.ask(Operation::Reset, charges)
    }
}

impl Future for RedisStoreFuture {
    type Output = Result<Decision, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(known) => Poll::Ready(known.take().expect("polled after it had completed")),
            State::Asked(asked) => Pin::new(asked).poll(cx).map(|answer| match answer {
                Ok(answer) => answer.map_err(StoreError::new),
                // The runtime that asked has ended.
                Err(_) => Err(StoreError::new(RedisError::Deadline)),
            }),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.0.redis).finish()
    }
}

impl fmt::Debug for RedisStoreFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreFuture").finish_non_exhaustive()
    }
}
