//! State that several gateways share, in one Redis (6.2 or later), Valkey, or a cluster of them.
//!
//! [`Redis`] is a handle as cheap to clone as an `Arc`, for layers and for stores of your own. It connects when it is
//! first used, and connects again when it has to.
//!
//! ```no_run
//! # async fn example() -> Result<(), tower_gateway::BoxError> {
//! use std::time::Duration;
//! use tower_gateway::redis::{Redis, cmd};
//!
//! let redis = Redis::builder("redis://127.0.0.1:6379")?.timeout(Duration::from_millis(50)).key_prefix("gw:").build();
//! let greeting: Option<String> = redis.query(cmd("GET").arg(redis.key("greeting"))).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a request pays
//!
//! - **A deadline for each command**, connecting included. Whatever becomes of the server, no call takes longer.
//! - **Nothing while the server is down.** One that fails three times running (no answer in time, no connection, or an
//!   answer that it cannot serve now) is taken as down: calls fail at once with [`RedisError::Down`], and a task in the
//!   background tries it every quarter of a second. The first success lets calls through again.
//! - **No other thread.** Each tokio runtime has a connection of its own, whose driver is a task of that runtime: on
//!   runtimes of one thread a command wakes nobody elsewhere, which would cost two context switches each way. Commands of
//!   one runtime share its connection and are pipelined. The connection ends with its runtime.
//!
//! # URLs
//!
//! `redis://[user:password@]host[:port][/db]`, the same with `rediss://` for TLS, `unix:///path/to/socket`, and
//! `redis-cluster://[user:password@]host[:port],host[:port]`.

mod builder;
mod circuit;
mod connection;
mod error;
mod losses;
mod probe;
mod script;
mod target;
mod tls;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::redis::FromRedisValue;
use tokio::runtime::{Handle, Id};

pub use self::builder::RedisBuilder;
pub use self::error::{RedisError, RedisUrlError};
pub use self::script::Script;
/// The commands and values of the client library.
pub use ::redis::{Cmd, FromRedisValue as FromValue, Pipeline, ToRedisArgs as ToArgs, Value, cmd, pipe};

use self::circuit::Circuit;
use self::connection::{Link, Slot};
pub(crate) use self::losses::Losses;
use self::target::Target;

/// One Redis, or one cluster. See the [module](self).
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    target: Target,
    timeout: Duration,
    key_prefix: Box<str>,
    circuit: Circuit,
    losses: Arc<Losses>,
    /// Where the server is tried while it is down. None: the runtime whose command failed last.
    background: Option<Handle>,
    /// One connection for each runtime. There are a few of them, so a list is searched faster than a map.
    slots: RwLock<Vec<(Id, Arc<Slot>)>>,
}

impl Redis {
    /// The server at `url`, with the defaults of [`builder`](Self::builder).
    pub fn new(url: &str) -> Result<Self, RedisUrlError> {
        Ok(Self::builder(url)?.build())
    }

    /// Begins with the server at `url`: a deadline of 50 ms for each command, and no prefix.
    pub fn builder(url: &str) -> Result<RedisBuilder, RedisUrlError> {
        RedisBuilder::new(url)
    }

    /// The key of this name, with the prefix.
    pub fn key(&self, name: &str) -> String {
        [&self.0.key_prefix, name].concat()
    }

    /// What all keys begin with.
    pub fn key_prefix(&self) -> &str {
        &self.0.key_prefix
    }

    /// The deadline of one command.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// True when the other one is a clone of this.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// True while calls fail at once because the server has failed three times running.
    pub fn is_down(&self) -> bool {
        self.0.circuit.is_down()
    }

    /// Fails at once while the server is taken as down, and sees to it that it is tried in the background.
    pub(crate) fn ensure_up(&self) -> Result<(), RedisError> {
        if !self.is_down() {
            return Ok(());
        }
        if let Some(ticket) = self.0.circuit.take_probe() {
            self.spawn(probe::until_up(self.clone(), ticket));
        }
        Err(RedisError::Down)
    }

    /// How often the server was lost, for whoever remembers what it said.
    pub(crate) fn losses(&self) -> &Arc<Losses> {
        &self.0.losses
    }

    /// Whether the server gives a sign; whatever it says is one. Where it gives none it is lost, and asked again until it does or is
    /// taken as down.
    #[cfg(feature = "rate-limit")]
    pub(crate) async fn is_there(&self) -> bool {
        for _ in 0..circuit::TRIPS_AT {
            match self.on_a_link(async |link| link.command(&cmd("PING")).await).await {
                Err(RedisError::Down) => return false,
                Err(error) if error.is_of_the_server() => self.0.losses.add_one(),
                _ => return true,
            }
        }
        false
    }

    /// True when keys are spread over the nodes of a cluster: what one command or script touches has to be in one slot.
    pub fn is_cluster(&self) -> bool {
        self.0.target.is_cluster()
    }

    /// Sends one command.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let value = self.on_a_link(async |link| link.command(command).await).await?;
        T::from_redis_value(value).map_err(|error| RedisError::Answer(error.into()))
    }

    /// Sends several commands in one trip. In a cluster, all to one slot.
    pub async fn pipeline<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let values = self.on_a_link(async |link| link.pipeline(commands).await).await?;
        T::from_redis_value(values).map_err(|error| RedisError::Answer(error.into()))
    }

    /// Within the deadline, and counted by the circuit.
    async fn on_a_link<T>(&self, call: impl AsyncFnOnce(Link) -> Result<T, RedisError>) -> Result<T, RedisError> {
        self.ensure_up()?;
        let slot = self.slot();
        let outcome = tokio::time::timeout(self.0.timeout, async {
            let (generation, link) = slot.link(self).await?;
            let outcome = call(link).await;
            if outcome.as_ref().is_err_and(RedisError::ends_the_connection) && slot.discard(generation) {
                self.0.losses.add_one();
            }
            outcome
        });
        let outcome = outcome.await.unwrap_or(Err(RedisError::Deadline));
        match &outcome {
            Err(error) if error.is_of_the_server() => self.failed(),
            _ => self.0.circuit.succeeded(),
        }
        outcome
    }

    fn failed(&self) {
        if self.0.circuit.failed() {
            // What is still on these connections is not waited for by anybody.
            self.slots_mut(Vec::clear);
            self.0.losses.add_one();
            let _ = self.ensure_up();
        }
    }

    /// The connection of the runtime that this runs on.
    fn slot(&self) -> Arc<Slot> {
        let id = Handle::current().id();
        let slots = self.0.slots.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = slots.iter().find(|(own, _)| *own == id) {
            return slot.clone();
        }
        drop(slots);
        self.slots_mut(|slots| {
            if let Some((_, slot)) = slots.iter().find(|(own, _)| *own == id) {
                return slot.clone();
            }
            // Those of runtimes that have ended are empty: their driver went with the runtime.
            slots.retain(|(_, slot)| !slot.is_idle() || Arc::strong_count(slot) > 1);
            let slot = Arc::new(Slot::default());
            slots.push((id, slot.clone()));
            slot
        })
    }

    fn slots_mut<T>(&self, change: impl FnOnce(&mut Vec<(Id, Arc<Slot>)>) -> T) -> T {
        change(&mut self.0.slots.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// In the background. Outside of a runtime, where none was set, the task is dropped as it would be with its runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.0.background.clone().or_else(|| Handle::try_current().ok()) {
            drop(runtime.spawn(task));
        }
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("timeout", &self.0.timeout)
            .field("key_prefix", &self.0.key_prefix)
            .field("down", &self.is_down())
            .finish_non_exhaustive()
    }
}
