use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;

use super::balance::{Balance, Balancer};
use super::pool::Pool;
use super::server::Server;
use crate::origin::Origin;

/// The servers of one origin, shared by every client in the process. Cloning it is cheap, and a clone is the same upstream.
#[derive(Clone, Debug)]
pub struct Upstream(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) servers: Box<[Arc<Server>]>,
    pub(super) balancer: Balancer,
    pub(super) settings: Settings,
    /// Every client's connections: when a server can have no more, an idle one elsewhere is closed for one that is needed.
    pools: Mutex<Vec<Weak<Pool>>>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) connect_timeout: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) queue_timeout: Duration,
    pub(super) dns_refresh: Duration,
}

/// What is wrong with an upstream's settings.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidUpstream {
    /// There is nowhere to send a request.
    #[error("an upstream needs at least one server")]
    NoServer,
    /// Not `http://host[:port][/base]`.
    #[error("the server {0:?} must be http://host[:port][/path] without user info or query")]
    Server(String),
    /// A server that would never get a request.
    #[error("the weight of the server {0:?} must be at least 1")]
    Weight(String),
    /// A server that could never be connected to.
    #[error("a server needs at least one connection")]
    NoConnections,
}

/// Sets up an [`Upstream`].
#[derive(Clone, Debug)]
#[must_use]
pub struct UpstreamBuilder {
    servers: Vec<(String, u32)>,
    balance: Balance,
    max_connections: usize,
    settings: Settings,
    adopted: Option<Upstream>,
}

impl Upstream {
    /// An upstream of these servers, `http://host[:port][/base]` each, with everything else as by default.
    ///
    /// # Errors
    ///
    /// [`InvalidUpstream`] when there is none, or one is not such a URL.
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, InvalidUpstream> {
        servers.into_iter().fold(Self::builder(), |builder, server| builder.server(server, 1)).build()
    }

    /// An upstream with settings of its own.
    pub fn builder() -> UpstreamBuilder {
        UpstreamBuilder {
            servers: Vec::new(),
            balance: Balance::default(),
            max_connections: 1024,
            settings: Settings {
                connect_timeout: Duration::from_secs(1),
                keep_alive_timeout: Duration::from_secs(60),
                queue_timeout: Duration::from_secs(1),
                dns_refresh: Duration::from_secs(30),
            },
            adopted: None,
        }
    }

    /// Its servers, in the order they were given.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.0.servers
    }

    /// The server for a request that was tried at these already, where another is left.
    pub(super) fn choose(&self, tried: &[Arc<str>]) -> Option<(usize, Arc<str>)> {
        let servers = &self.0.servers;
        let choose = || self.0.balancer.choose(|server| servers[server].in_flight());
        let is_new = |server: &usize| !tried.contains(servers[*server].name());
        let mut server = choose();
        if !is_new(&server) {
            let drawn = (0..4).map(|_| choose()).find(is_new);
            server = drawn.or_else(|| (0..servers.len()).find(is_new)).unwrap_or(server);
        }
        Some((server, servers[server].name().clone()))
    }

    pub(super) fn register(&self, pool: &Arc<Pool>) {
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// Closes one idle connection to a server, whichever client holds it, if any does.
    pub(super) fn close_an_idle_connection(&self, server: usize) {
        let pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _ = pools.iter().filter_map(Weak::upgrade).any(|pool| pool.close_one(server));
    }
}

impl UpstreamBuilder {
    /// Adds a server, `http://host[:port][/base]`, with its share beside the others.
    pub fn server(mut self, url: impl Into<String>, weight: u32) -> Self {
        self.servers.push((url.into(), weight));
        self
    }

    /// How requests are spread over the servers.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// How long a connection may take to come about: name, TCP. 1 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// How long a connection is kept without a request. 60 s by default; below the origin's own is best.
    pub fn keep_alive_timeout(mut self, limit: Duration) -> Self {
        self.settings.keep_alive_timeout = limit;
        self
    }

    /// How many connections each server may have, from all clients of this upstream together. 1,024 by default.
    pub fn max_connections_per_server(mut self, limit: usize) -> Self {
        self.max_connections = limit;
        self
    }

    /// How long a request waits for one of them before it fails with
    /// [`Overloaded`](crate::UpstreamErrorKind::Overloaded). 1 s by default.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.settings.queue_timeout = limit;
        self
    }

    /// How long the addresses of a name are used before it is asked again. 30 s by default.
    pub fn dns_refresh(mut self, age: Duration) -> Self {
        self.settings.dns_refresh = age;
        self
    }

    /// Takes over the servers of `old` that are the same here, with what is in flight at them, their limit on connections
    /// and their addresses: a reload changes settings and forgets nothing. A server is the same when its URL, its weight
    /// and its limit are.
    pub fn adopt(mut self, old: &Upstream) -> Self {
        self.adopted = Some(old.clone());
        self
    }

    /// # Errors
    ///
    /// [`InvalidUpstream`] names the first setting that cannot be.
    pub fn build(self) -> Result<Upstream, InvalidUpstream> {
        if self.servers.is_empty() {
            return Err(InvalidUpstream::NoServer);
        }
        if self.max_connections == 0 {
            return Err(InvalidUpstream::NoConnections);
        }
        let known = self.adopted.as_ref().map_or(&[][..], Upstream::servers);
        let servers = self.servers.iter().map(|(url, weight)| {
            let new = server(url, *weight, self.max_connections)?;
            Ok(known.iter().find(|old| old.is_same(&new)).cloned().unwrap_or(new))
        });
        let servers = servers.collect::<Result<Box<[_]>, _>>()?;
        let weights: Vec<u32> = servers.iter().map(|server| server.weight()).collect();
        Ok(Upstream(Arc::new(Shared {
            balancer: Balancer::new(self.balance, &weights),
            servers,
            settings: self.settings,
            pools: Mutex::default(),
        })))
    }
}

fn server(url: &str, weight: u32, max_connections: usize) -> Result<Arc<Server>, InvalidUpstream> {
    let invalid = || InvalidUpstream::Server(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let origin = Origin::new(&uri).filter(|origin| *origin.scheme() == Scheme::HTTP).ok_or_else(invalid)?;
    if weight == 0 {
        return Err(InvalidUpstream::Weight(url.to_owned()));
    }
    Ok(Arc::new(Server::new(origin, weight, max_connections).ok_or_else(invalid)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_keeps_the_servers_that_stay_and_what_is_in_flight_at_them() {
        let old = Upstream::builder().server("http://a:1", 1).server("http://b:1", 1).build().unwrap();
        let _in_flight = old.servers()[1].enter();
        let new = Upstream::builder().server("http://b:1", 1).server("http://a:1", 2).adopt(&old).build().unwrap();
        assert_eq!(new.servers()[0].in_flight(), 1);
        assert!(Arc::ptr_eq(&new.servers()[0], &old.servers()[1]));
        assert!(!Arc::ptr_eq(&new.servers()[1], &old.servers()[0]), "its weight has changed");
    }

    #[test]
    fn what_cannot_be_an_upstream_is_refused_with_its_name() {
        let message = |result: Result<Upstream, InvalidUpstream>| result.unwrap_err().to_string();
        assert!(message(Upstream::new([] as [&str; 0])).contains("at least one server"));
        for url in ["127.0.0.1:3001", "https://a", "http://a/?q", "http://u@a", "http:///x"] {
            assert!(message(Upstream::new([url])).contains(url), "{url}");
        }
        assert!(message(Upstream::builder().server("http://a", 0).build()).contains("weight"));
        let none = Upstream::builder().server("http://a", 1).max_connections_per_server(0).build();
        assert!(message(none).contains("connection"));
    }
}
