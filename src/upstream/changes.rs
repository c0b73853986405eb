//! Servers that come and go while requests are sent.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;

use super::builder::{InvalidUpstream, server_origin, server_weight};
use super::condition::now;
use super::fleet::Fleet;
use super::server::Server;
use super::upstream::{Shared, Upstream};
use crate::origin::Origin;

/// One change of an upstream's servers, as whoever discovers them tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerChange(Change);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set(Origin, u32),
    Remove(Origin),
}

impl ServerChange {
    /// The server `http(s)://host[:port][/base]` is there, with this share beside the others.
    ///
    /// # Errors
    ///
    /// [`InvalidUpstream`] when it is not such a URL, or its weight is zero.
    pub fn set(url: &str, weight: u32) -> Result<Self, InvalidUpstream> {
        Ok(Self(Change::Set(server_origin(url)?, server_weight(url, weight)?)))
    }

    /// The server is gone.
    ///
    /// # Errors
    ///
    /// [`InvalidUpstream`] when it is not such a URL.
    pub fn remove(url: &str) -> Result<Self, InvalidUpstream> {
        Ok(Self(Change::Remove(server_origin(url)?)))
    }
}

impl Upstream {
    /// Adds a server, or gives one that is there another weight: what is known of it, and what is in flight there, stays. A new
    /// one gets its share [little by little](super::UpstreamBuilder::slow_start) where the upstream says so, and is asked
    /// whether it is well where the others are.
    ///
    /// ```
    /// use tower_gateway::upstream::Upstream;
    ///
    /// let users = Upstream::new(["http://10.0.0.1:3001"])?;
    /// users.set_server("http://10.0.0.2:3001", 2)?;
    /// assert!(users.remove_server("http://10.0.0.1:3001")?);
    /// assert_eq!(&**users.servers()[0].name(), "10.0.0.2:3001");
    /// # Ok::<(), tower_gateway::upstream::InvalidUpstream>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidUpstream`] when it is not `http(s)://host[:port][/base]`, or its weight is zero.
    pub fn set_server(&self, url: &str, weight: u32) -> Result<(), InvalidUpstream> {
        self.apply(&ServerChange::set(url, weight)?).map(|_| ())
    }

    /// Takes a server out. Requests that are in flight there finish; its idle connections are closed. False when it was not
    /// there.
    ///
    /// # Errors
    ///
    /// [`InvalidUpstream`] when it is not `http(s)://host[:port][/base]`.
    pub fn remove_server(&self, url: &str) -> Result<bool, InvalidUpstream> {
        self.apply(&ServerChange::remove(url)?)
    }

    /// Makes one change. False when it changes nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidUpstream::Tls`] when a server is to be spoken to over TLS and cannot be.
    pub fn apply(&self, change: &ServerChange) -> Result<bool, InvalidUpstream> {
        // One at a time: each is made to what the one before has left.
        let checks = self.0.changing();
        let mut servers = self.servers().to_vec();
        let (Change::Set(origin, _) | Change::Remove(origin)) = &change.0;
        let known = servers.iter().position(|server| server.origin() == origin);
        match (&change.0, known) {
            (Change::Remove(_), None) => return Ok(false),
            (Change::Remove(_), Some(at)) => {
                let removed = servers.remove(at);
                self.0.install(servers);
                removed.retire();
                self.close_idle_connections(&removed);
            }
            (Change::Set(_, weight), Some(at)) => {
                if servers[at].set_weight(*weight) == *weight {
                    return Ok(false);
                }
                self.0.install(servers);
            }
            (Change::Set(origin, weight), None) => {
                let slot = Fleet::free_slots(servers.iter()).next().unwrap_or_default();
                let settings = &self.0.settings;
                let new = settings.server(origin.clone(), *weight, slot, &*self.0.secure)?;
                if !servers.is_empty() && !settings.slow_start.is_zero() {
                    new.condition.begin_anew(now());
                }
                let new = Arc::new(new);
                servers.push(new.clone());
                self.0.install(servers);
                for (check, runtime) in checks.iter() {
                    self.watch(&new, check, runtime);
                }
            }
        }
        Ok(true)
    }

    /// Makes the changes of a stream as they come, on a task of `runtime`, until the stream ends or the upstream is gone; a server that TLS cannot be had for is left out. What
    /// tower calls `Discover`: a registry, a file that is watched, the names of a service.
    ///
    /// ```
    /// use futures_util::stream;
    /// use tower_gateway::upstream::{ServerChange, Upstream};
    ///
    /// # tokio_test::block_on(async {
    /// let users = Upstream::builder().may_be_empty(true).build()?;
    /// let found = stream::iter([ServerChange::set("http://10.0.0.1:3001", 1)?]);
    /// users.follow(found, &tokio::runtime::Handle::current());
    /// # while users.servers().is_empty() { tokio::task::yield_now().await; }
    /// # Ok::<(), tower_gateway::upstream::InvalidUpstream>(())
    /// # }).unwrap();
    /// ```
    pub fn follow(&self, changes: impl Stream<Item = ServerChange> + Send + 'static, runtime: &Handle) {
        let upstream = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            let mut changes = pin!(changes);
            while let Some(change) = changes.next().await {
                let Some(shared) = upstream.upgrade() else { return };
                // One that cannot be spoken to is left out.
                let _ = Self(shared).apply(&change);
            }
        });
    }
}

impl Shared {
    fn install(&self, servers: Vec<Arc<Server>>) {
        let fleet = Fleet::new(servers, &self.settings.balance);
        self.fleet.store(Arc::new(fleet));
        self.count_healthy(&self.fleet.load().servers);
    }
}

impl Server {
    /// The weight it had before.
    fn set_weight(&self, weight: u32) -> u32 {
        self.weight.swap(weight, Ordering::Relaxed)
    }
}
