//! The connection of one runtime.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster_async::ClusterConnection;
use ::redis::{Cmd, Pipeline, Value};
use futures_util::future::{FutureExt, Shared};
use tokio::sync::oneshot;

use super::{Redis, RedisError};

/// A connection, shared by all that use it at once.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What moves the bytes of a [`Link::One`]; a cluster's are moved by tasks of the client library.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Link {
    pub(super) async fn command(mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match &mut self {
            Self::One(link) => link.req_packed_command(command).await,
            Self::Cluster(link) => link.req_packed_command(command).await,
        };
        Ok(answer?.extract_error()?)
    }

    /// The answers to all, or the first that is an error.
    pub(super) async fn pipeline(mut self, commands: &Pipeline) -> Result<Value, RedisError> {
        let count = commands.cmd_iter().count();
        let answers = match &mut self {
            Self::One(link) => link.req_packed_commands(commands, 0, count).await,
            Self::Cluster(link) => link.req_packed_commands(commands, 0, count).await,
        };
        Ok(Value::Array(answers?).extract_error()?)
    }
}

/// The place of one connection: nobody's, being made, or made.
#[derive(Default)]
pub(super) struct Slot(Mutex<Place>);

#[derive(Default)]
struct Place {
    /// Counts the connections that were made here, so that one that failed does not take the next one with it.
    generation: u64,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// Made by a task, which goes on when whoever asked first has left. All who need it meanwhile wait for the same.
    Connecting(Shared<oneshot::Receiver<Result<Link, RedisError>>>),
    /// With what tells the task that keeps it when it is given up.
    Ready(Link, #[expect(dead_code, reason = "held for its drop")] oneshot::Sender<Infallible>),
}

impl Slot {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.place().state, State::Idle)
    }

    /// The connection, made now if there is none.
    pub(super) async fn link(self: &Arc<Self>, redis: &Redis) -> Result<(u64, Link), RedisError> {
        let (generation, connecting) = {
            let mut place = self.place();
            let connecting = match &place.state {
                State::Ready(link, _) => return Ok((place.generation, link.clone())),
                State::Connecting(connecting) => connecting.clone(),
                State::Idle => {
                    let (done, connecting) = oneshot::channel();
                    place.generation += 1;
                    tokio::spawn(Self::connect(self.clone(), place.generation, redis.clone(), done));
                    let connecting = connecting.shared();
                    place.state = State::Connecting(connecting.clone());
                    connecting
                }
            };
            (place.generation, connecting)
        };
        // The sender is dropped unsent only when the runtime ends.
        connecting.await.unwrap_or(Err(RedisError::Deadline)).map(|link| (generation, link))
    }

    async fn connect(slot: Arc<Self>, generation: u64, redis: Redis, done: oneshot::Sender<Result<Link, RedisError>>) {
        let patience = redis.0.target.patience(redis.0.timeout);
        let lost = LostWithItsRuntime { slot: Arc::downgrade(&slot), generation };
        let attempt = tokio::time::timeout(patience, redis.0.target.connect()).await;
        // From here on it lives as long as the handle does, which must not live as long as it.
        let losses = redis.0.losses.clone();
        drop(redis);
        match attempt.unwrap_or(Err(RedisError::Deadline)) {
            Err(error) => {
                drop(lost);
                let _ = done.send(Err(error));
            }
            Ok((link, driver)) => {
                let (kept, given_up) = oneshot::channel();
                slot.keep(generation, link.clone(), kept);
                drop(slot);
                let _ = done.send(Ok(link));
                match driver {
                    // A connection that the server closes is known as such at once, before anybody uses it.
                    Some(driver) => {
                        driver.await;
                        if lost.slot.upgrade().is_some_and(|slot| slot.discard(generation)) {
                            losses.add_one();
                        }
                    }
                    // A cluster's looks after itself.
                    None => drop(given_up.await),
                }
            }
        }
    }

    /// Forgets the connection. False when it was forgotten before, or is another one by now.
    pub(super) fn discard(&self, generation: u64) -> bool {
        let mut place = self.place();
        let is_here = place.generation == generation && !matches!(place.state, State::Idle);
        if is_here {
            place.state = State::Idle;
        }
        is_here
    }

    fn keep(&self, generation: u64, link: Link, kept: oneshot::Sender<Infallible>) {
        let mut place = self.place();
        if place.generation == generation {
            place.state = State::Ready(link, kept);
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection goes with the task that drives it, however that ends.
struct LostWithItsRuntime {
    slot: Weak<Slot>,
    generation: u64,
}

impl Drop for LostWithItsRuntime {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.upgrade() {
            slot.discard(self.generation);
        }
    }
}
