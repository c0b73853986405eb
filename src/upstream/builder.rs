use std::fmt;
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;

use super::balance::Balance;
use super::condition::now;
use super::ejection::OutlierEjection;
use super::fleet::Fleet;
use super::h2::connections::Pings;
use super::server::Server;
use super::upstream::{Shared, Upstream};
use crate::classify::{Classifier, HttpClassifier};
use crate::origin::Origin;
use crate::{BoxError, Share};
#[cfg(feature = "tls")]
use {
    super::secure::ToServer,
    crate::tls::{ClientTls, PreparedTls},
};

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) balance: Balance,
    pub(super) slow_start: Duration,
    pub(super) panic_threshold: Share,
    pub(super) max_connections: usize,
    pub(super) ejection: Option<OutlierEjection>,
    pub(super) classifier: Arc<dyn Classifier>,
    pub(super) connect_timeout: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) queue_timeout: Duration,
    pub(super) dns_refresh: Duration,
    pub(super) protocol: Protocol,
    pub(super) pings: Pings,
}

/// What is spoken with the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1, which every server speaks; and over TLS what the server chooses for each connection, HTTP/2 first
    /// (ALPN, RFC 7301). WebSocket is asked for over HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, of which the servers are known to speak it (prior knowledge, RFC 9113 section 3.3).
    Http2,
}

/// What is wrong with an upstream's settings.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidUpstream {
    /// There is nowhere to send a request.
    #[error("an upstream needs at least one server")]
    NoServer,
    /// Not `http(s)://host[:port][/base]`.
    #[error("the server {0:?} must be http://host[:port][/path] or https://.. without user info or query")]
    Server(String),
    /// TLS cannot be had. `https://` needs the feature `tls`.
    #[error("the server {server:?} cannot be spoken to over TLS: {source}")]
    Tls {
        /// The server.
        server: String,
        /// Why.
        source: BoxError,
    },
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
    settings: Settings,
    adopted: Option<Upstream>,
    may_be_empty: bool,
    #[cfg(feature = "tls")]
    tls: ClientTls,
}

impl UpstreamBuilder {
    pub(super) fn new() -> Self {
        Self {
            servers: Vec::new(),
            settings: Settings {
                balance: Balance::default(),
                slow_start: Duration::ZERO,
                panic_threshold: Share::NONE,
                max_connections: 1024,
                ejection: None,
                classifier: Arc::new(HttpClassifier::default()),
                connect_timeout: Duration::from_secs(1),
                keep_alive_timeout: Duration::from_secs(60),
                queue_timeout: Duration::from_secs(1),
                dns_refresh: Duration::from_secs(30),
                protocol: Protocol::default(),
                pings: Pings { interval: Duration::from_secs(15), timeout: Duration::from_secs(10) },
            },
            adopted: None,
            may_be_empty: false,
            #[cfg(feature = "tls")]
            tls: ClientTls::default(),
        }
    }

    /// Adds a server, `http(s)://host[:port][/base]`, with its share beside the others.
    pub fn server(mut self, url: impl Into<String>, weight: u32) -> Self {
        self.servers.push((url.into(), weight));
        self
    }

    /// How requests are spread over the servers.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.settings.balance = balance;
        self
    }

    /// A server that is new beside others, or back, gets its share over this time, beginning with a tenth of it. Not by
    /// default. Keys of [`Balance::Hash`] go to their server at once.
    pub fn slow_start(mut self, time: Duration) -> Self {
        self.settings.slow_start = time;
        self
    }

    /// When a smaller share of the servers than this is well, all are used: the few that are left would not be for long. By
    /// default that is never so, and with no server left requests fail at once.
    pub fn panic_threshold(mut self, share: Share) -> Self {
        self.settings.panic_threshold = share;
        self
    }

    /// Leaves out servers whose answers fail. None by default.
    pub fn outlier_ejection(mut self, ejection: impl Into<Option<OutlierEjection>>) -> Self {
        self.settings.ejection = ejection.into();
        self
    }

    /// What a failure is to [`outlier_ejection`](Self::outlier_ejection). [`HttpClassifier`] by default.
    pub fn classifier(mut self, classifier: impl Classifier) -> Self {
        self.settings.classifier = Arc::new(classifier);
        self
    }

    /// How `https://` servers are spoken to. By default whom this machine trusts is trusted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = tls;
        self
    }

    /// How long a connection may take to come about: name, TCP, TLS. 1 s by default.
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
        self.settings.max_connections = limit;
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

    /// What is spoken with the servers. [`Protocol::Auto`] by default.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.settings.protocol = protocol;
        self
    }

    /// When nothing comes for so long over an HTTP/2 connection whose requests wait, the server is asked for a sign of life
    /// (PING), for which it has `timeout`. 15 s and 10 s by default.
    pub fn ping(mut self, interval: Duration, timeout: Duration) -> Self {
        self.settings.pings = Pings { interval, timeout };
        self
    }

    /// Takes over the servers of `old` that are the same here, with what is in flight at them, their limit on connections
    /// and their addresses: a reload changes settings and forgets nothing. A server is the same when its URL, its weight,
    /// its limit and what is spoken with it are.
    pub fn adopt(mut self, old: &Upstream) -> Self {
        self.adopted = Some(old.clone());
        self
    }

    /// Whether it may begin without a server, for upstreams whose servers are [discovered](Upstream::follow): until there is
    /// one, requests fail with [`NoServer`](crate::UpstreamErrorKind::NoServer). It may not by default.
    pub fn may_be_empty(mut self, may: bool) -> Self {
        self.may_be_empty = may;
        self
    }

    /// # Errors
    ///
    /// [`InvalidUpstream`] names the first setting that cannot be.
    pub fn build(self) -> Result<Upstream, InvalidUpstream> {
        if self.servers.is_empty() && !self.may_be_empty {
            return Err(InvalidUpstream::NoServer);
        }
        if self.settings.max_connections == 0 {
            return Err(InvalidUpstream::NoConnections);
        }
        let secure = self.secure();
        let settings = self.settings;
        let known = self.adopted.as_ref().map(Upstream::servers).unwrap_or_default();
        // A server that is taken over keeps the number by which connections know it.
        let mut slots = Fleet::free_slots(known.iter()).peekable();
        let servers = self.servers.iter().map(|(url, weight)| {
            let slot = slots.peek().copied().unwrap_or_default();
            let new = settings.server(server_origin(url)?, server_weight(url, *weight)?, slot, &*secure)?;
            if let Some(old) = known.iter().find(|old| old.is_same(&new)) {
                return Ok(old.clone());
            }
            slots.next();
            if !known.is_empty() && !settings.slow_start.is_zero() {
                new.condition.begin_anew(now());
            }
            Ok(Arc::new(new))
        });
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        Ok(Upstream(Arc::new(Shared::new(Fleet::new(servers, &settings.balance), settings, secure))))
    }
}

/// What a server with `https://` is given. Made for the first of them: it may read files.
pub(super) type Secure = dyn Fn(&mut Server) -> Result<(), BoxError> + Send + Sync;

impl UpstreamBuilder {
    #[cfg(feature = "tls")]
    fn secure(&self) -> Box<Secure> {
        let (tls, prepared) = (self.tls.clone(), OnceLock::<Arc<PreparedTls>>::new());
        let protocols: &[&[u8]] = match self.settings.protocol {
            Protocol::Auto => &[b"h2", b"http/1.1"],
            Protocol::Http1 => &[b"http/1.1"],
            Protocol::Http2 => &[b"h2"],
        };
        Box::new(move |server| {
            let prepared = match prepared.get() {
                Some(prepared) => prepared.clone(),
                None => {
                    let new = Arc::new(PreparedTls::new(tls.clone(), protocols)?);
                    prepared.get_or_init(|| new).clone()
                }
            };
            server.tls = Some(ToServer::new(server.origin().authority().host(), prepared)?);
            Ok(())
        })
    }

    #[cfg(not(feature = "tls"))]
    fn secure(&self) -> Box<Secure> {
        Box::new(|_| Err("https:// needs the feature tls of tower-gateway".into()))
    }
}

impl Settings {
    /// A server by these settings.
    pub(super) fn server(
        &self,
        origin: Origin,
        weight: u32,
        slot: usize,
        secure: &Secure,
    ) -> Result<Server, InvalidUpstream> {
        let (url, is_secure) = (origin.to_string(), *origin.scheme() == Scheme::HTTPS);
        let server = Server::new(origin, weight, self.max_connections, self.protocol, slot);
        let mut server = server.ok_or_else(|| InvalidUpstream::Server(url.clone()))?;
        if is_secure {
            secure(&mut server).map_err(|source| InvalidUpstream::Tls { server: url, source })?;
        }
        Ok(server)
    }
}

/// Where a server is.
pub(super) fn server_origin(url: &str) -> Result<Origin, InvalidUpstream> {
    let invalid = || InvalidUpstream::Server(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    Origin::new(&uri).ok_or_else(invalid)
}

pub(super) fn server_weight(url: &str, weight: u32) -> Result<u32, InvalidUpstream> {
    if weight == 0 { Err(InvalidUpstream::Weight(url.to_owned())) } else { Ok(weight) }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("balance", &self.balance)
            .field("ejection", &self.ejection)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_keeps_the_servers_that_stay_and_what_is_in_flight_at_them() {
        let old = Upstream::builder().server("http://a:1", 1).server("http://b:1", 1).build().unwrap();
        let _in_flight = old.servers()[1].clone().enter(None);
        let new = Upstream::builder().server("http://b:1", 1).server("http://a:1", 2).adopt(&old).build().unwrap();
        assert_eq!(new.servers()[0].in_flight(), 1);
        assert!(Arc::ptr_eq(&new.servers()[0], &old.servers()[1]));
        assert!(!Arc::ptr_eq(&new.servers()[1], &old.servers()[0]), "its weight has changed");
    }

    #[test]
    fn what_cannot_be_an_upstream_is_refused_with_its_name() {
        let message = |result: Result<Upstream, InvalidUpstream>| result.unwrap_err().to_string();
        assert!(message(Upstream::new([] as [&str; 0])).contains("at least one server"));
        for url in ["127.0.0.1:3001", "ftp://a", "http://a/?q", "http://u@a", "http:///x"] {
            assert!(message(Upstream::new([url])).contains(url), "{url}");
        }
        assert!(message(Upstream::builder().server("http://a", 0).build()).contains("weight"));
        let none = Upstream::builder().server("http://a", 1).max_connections_per_server(0).build();
        assert!(message(none).contains("connection"));
    }
}
