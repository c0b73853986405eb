use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderMap, Uri, header};
use thiserror::Error;

use super::balance::{Balance, Balancer, HashBy, Servers, digest};
use super::condition::{Usable, now};
use super::ejection::OutlierEjection;
use super::h2::connections::Pings;
use super::health::HealthCheck;
use super::pool::Pool;
use super::server::{InFlight, Server};
use crate::classify::{Classifier, HttpClassifier, Outcome};
use crate::origin::Origin;
use crate::{BoxError, Head, RequestContext, Share};
use tokio::time::Instant;
#[cfg(feature = "tls")]
use {
    super::secure::ToServer,
    crate::tls::{ClientTls, PreparedTls},
};

/// The servers of one origin, shared by every client in the process. Cloning it is cheap, and a clone is the same upstream.
#[derive(Clone, Debug)]
pub struct Upstream(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) servers: Box<[Arc<Server>]>,
    pub(super) balancer: Balancer,
    pub(super) settings: Settings,
    /// Requests in flight at all servers, where the balancer has to know.
    pub(super) in_flight: Option<Arc<AtomicUsize>>,
    /// So few servers are well that all are used.
    panic: AtomicBool,
    /// Held to eject a server.
    ejecting: Mutex<()>,
    /// Every client's connections: when a server can have no more, an idle one elsewhere is closed for one that is needed.
    pools: Mutex<Vec<Weak<Pool>>>,
}

#[derive(Clone)]
pub(super) struct Settings {
    balance: Balance,
    slow_start: Duration,
    panic_threshold: Share,
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
    /// HTTP/1.1, which every server speaks.
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
    max_connections: usize,
    settings: Settings,
    adopted: Option<Upstream>,
    #[cfg(feature = "tls")]
    tls: ClientTls,
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
            max_connections: 1024,
            settings: Settings {
                balance: Balance::default(),
                slow_start: Duration::ZERO,
                panic_threshold: Share::NONE,
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
            #[cfg(feature = "tls")]
            tls: ClientTls::default(),
        }
    }

    /// Its servers, in the order they were given.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.0.servers
    }

    /// Asks each server whether it is well, again and again, on tasks of `runtime`. They end with this upstream.
    pub fn start_health_checks(&self, check: &HealthCheck, runtime: &tokio::runtime::Handle) {
        for server in self.servers() {
            let watch = check.clone().watch(
                Arc::downgrade(&self.0),
                server.clone(),
                self.0.settings.dns_refresh,
                self.0.settings.protocol,
            );
            runtime.spawn(watch);
        }
    }

    /// True when every server passes its checks and none is left out because of its answers.
    pub fn is_well(&self) -> bool {
        self.servers().iter().all(|server| server.condition.is_good())
    }

    /// A server for a request that a client of your own sends: chosen as for [`Client`](super::Client), counted as in flight
    /// there, and told what becomes of it by [`Assignment::record`]. `None` when no server is left.
    ///
    /// ```
    /// use http::Request;
    /// use tower_gateway::Head;
    /// use tower_gateway::classify::Outcome;
    /// use tower_gateway::upstream::Upstream;
    ///
    /// let users = Upstream::new(["http://10.0.0.1:3001", "http://10.0.0.2:3001"])?;
    /// # tokio_test::block_on(async {
    /// let request = Request::get("/users/7").body(()).unwrap();
    /// let assignment = users.assign(Head::of(&request)).unwrap();
    /// assert_eq!(assignment.server().in_flight(), 1);
    /// // It is sent to assignment.server().name(), and answered.
    /// assignment.record(Outcome::Success);
    /// # });
    /// # Ok::<(), tower_gateway::upstream::InvalidUpstream>(())
    /// ```
    pub fn assign(&self, head: Head<'_>) -> Option<Assignment> {
        let (headers, context) = (head.headers(), head.context());
        let server = match context {
            Some(own) => own.choose_server(|tried| self.choose(tried, headers, context)),
            None => self.choose(&[], headers, None).map(|(server, _)| server),
        }?;
        let in_flight = self.servers()[server].enter(self.0.in_flight.as_ref());
        Some(Assignment { upstream: self.clone(), server, began: Instant::now(), _in_flight: in_flight })
    }

    /// For measurements: the choice alone.
    #[doc(hidden)]
    pub fn choose_index(&self, head: Head<'_>) -> Option<usize> {
        self.choose(&[], head.headers(), head.context()).map(|(server, _)| server)
    }

    /// The server for a request that was tried at these already. Those are not asked again while another is left.
    #[inline]
    pub(super) fn choose(
        &self,
        tried: &[Arc<str>],
        headers: &HeaderMap,
        context: Option<&RequestContext>,
    ) -> Option<(usize, Arc<str>)> {
        let shared = &*self.0;
        let key = match &shared.settings.balance {
            Balance::Hash(by) => key(by, headers, context),
            _ => None,
        };
        let view = |tried| View { shared, tried, panic: shared.panic.load(Ordering::Relaxed), now: OnceCell::new() };
        let mut server = shared.balancer.choose(&view(tried), key);
        if server.is_none() && !tried.is_empty() {
            server = shared.balancer.choose(&view(&[]), key);
        }
        server.map(|server| (server, shared.servers[server].name().clone()))
    }

    /// True when what becomes of each request has to be known.
    pub(super) fn watches(&self) -> bool {
        self.0.settings.ejection.is_some() || self.0.settings.balance == Balance::PeakEwma
    }

    /// The time that an answer took to its head.
    pub(super) fn observe(&self, server: usize, took: Duration) {
        if self.0.settings.balance == Balance::PeakEwma {
            self.0.servers[server].condition.observe(took);
        }
    }

    pub(super) fn record(&self, server: usize, outcome: Outcome) {
        let shared = &*self.0;
        if let Some(ejection) = &shared.settings.ejection
            && ejection.record(&shared.servers, server, outcome, &shared.ejecting)
        {
            shared.count_healthy();
        }
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

/// A request in flight at one server, for as long as it lives. Made by [`Upstream::assign`].
#[derive(Debug)]
pub struct Assignment {
    upstream: Upstream,
    server: usize,
    began: Instant,
    _in_flight: InFlight,
}

impl Assignment {
    /// The server.
    pub fn server(&self) -> &Arc<Server> {
        &self.upstream.servers()[self.server]
    }

    /// What became of the request, from which ejection and [`Balance::PeakEwma`] learn. The time it took is taken to end here.
    pub fn record(self, outcome: Outcome) {
        self.upstream.observe(self.server, self.began.elapsed());
        self.upstream.record(self.server, outcome);
    }
}

impl Shared {
    /// Finds out anew whether enough servers are well.
    pub(super) fn count_healthy(&self) {
        let good = self.servers.iter().filter(|server| server.condition.is_good()).count() as u64;
        let enough = self.settings.panic_threshold.is_reached(good, self.servers.len() as u64);
        self.panic.store(!enough, Ordering::Relaxed);
    }
}

/// The servers, as one request sees them.
struct View<'a> {
    shared: &'a Shared,
    tried: &'a [Arc<str>],
    panic: bool,
    /// Read when it is first asked for.
    now: OnceCell<u64>,
}

impl Servers for View<'_> {
    fn load(&self, server: usize) -> u64 {
        self.shared.servers[server].in_flight() as u64
    }

    fn latency(&self, server: usize) -> f64 {
        self.shared.servers[server].condition.latency(*self.now.get_or_init(now))
    }

    #[inline]
    fn is_usable(&self, server: usize) -> bool {
        let server = &self.shared.servers[server];
        let well = match server.condition.is_usable() {
            Usable::Yes => true,
            Usable::Again => {
                self.shared.count_healthy();
                true
            }
            Usable::No => self.panic,
        };
        well && (self.tried.is_empty() || !self.tried.contains(server.name()))
    }

    #[inline]
    fn has_its_turn(&self, server: usize) -> bool {
        self.shared.servers[server].condition.has_its_turn(self.shared.settings.slow_start)
    }

    fn total_load(&self) -> u64 {
        self.shared.in_flight.as_ref().map_or(0, |all| all.load(Ordering::Relaxed) as u64)
    }
}

/// What the request is assigned by, if it has that.
fn key(by: &HashBy, headers: &HeaderMap, context: Option<&RequestContext>) -> Option<u64> {
    match by {
        HashBy::Subject => Some(digest(context?.identity()?.subject()?.as_bytes())),
        HashBy::ClientIp => Some(match context?.client_ip()?.address() {
            std::net::IpAddr::V4(address) => digest(&address.octets()),
            std::net::IpAddr::V6(address) => digest(&address.octets()),
        }),
        HashBy::Header(name) => headers.get(name).map(|value| digest(value.as_bytes())),
        HashBy::Cookie(name) => {
            let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
            let mut pairs =
                cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(own, _)| own == name).map(|(_, value)| digest(value.as_bytes()))
        }
    }
}

impl UpstreamBuilder {
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

    /// What is spoken with the servers. HTTP/1.1 by default.
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
        let secure = self.secure();
        let known = self.adopted.as_ref().map_or(&[][..], Upstream::servers);
        let servers = self.servers.iter().map(|(url, weight)| {
            let new = server(url, *weight, self.max_connections, &secure)?;
            Ok(known.iter().find(|old| old.is_same(&new)).cloned().unwrap_or_else(|| {
                if !known.is_empty() && !self.settings.slow_start.is_zero() {
                    new.condition.begin_anew(now());
                }
                new
            }))
        });
        let servers = servers.collect::<Result<Box<[_]>, _>>()?;
        let weights: Vec<u32> = servers.iter().map(|server| server.weight()).collect();
        let counts_all = matches!(self.settings.balance, Balance::Hash(_));
        let shared = Shared {
            balancer: Balancer::new(&self.settings.balance, &weights),
            servers,
            settings: self.settings,
            in_flight: counts_all.then(Arc::default),
            panic: AtomicBool::new(false),
            ejecting: Mutex::new(()),
            pools: Mutex::default(),
        };
        shared.count_healthy();
        Ok(Upstream(Arc::new(shared)))
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("balance", &self.balance)
            .field("ejection", &self.ejection)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// What a server with `https://` is given. Made for the first of them: it may read files.
type Secure<'a> = dyn Fn(&mut Server) -> Result<(), BoxError> + 'a;

impl UpstreamBuilder {
    #[cfg(feature = "tls")]
    fn secure(&self) -> Box<Secure<'static>> {
        let (tls, prepared) = (self.tls.clone(), OnceCell::<Arc<PreparedTls>>::new());
        let protocol: &[u8] = match self.settings.protocol {
            Protocol::Http2 => b"h2",
            Protocol::Auto | Protocol::Http1 => b"http/1.1",
        };
        Box::new(move |server| {
            let prepared = match prepared.get() {
                Some(prepared) => prepared.clone(),
                None => {
                    let new = Arc::new(PreparedTls::new(tls.clone(), vec![protocol.to_vec()])?);
                    prepared.get_or_init(|| new).clone()
                }
            };
            server.tls = Some(ToServer::new(server.origin().authority().host(), prepared)?);
            Ok(())
        })
    }

    #[cfg(not(feature = "tls"))]
    fn secure(&self) -> Box<Secure<'static>> {
        Box::new(|_| Err("https:// needs the feature tls of tower-gateway".into()))
    }
}

fn server(url: &str, weight: u32, max_connections: usize, secure: &Secure<'_>) -> Result<Arc<Server>, InvalidUpstream> {
    let invalid = || InvalidUpstream::Server(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let origin = Origin::new(&uri).ok_or_else(invalid)?;
    let is_secure = *origin.scheme() == Scheme::HTTPS;
    if weight == 0 {
        return Err(InvalidUpstream::Weight(url.to_owned()));
    }
    let mut server = Server::new(origin, weight, max_connections).ok_or_else(invalid)?;
    if is_secure {
        secure(&mut server).map_err(|source| InvalidUpstream::Tls { server: url.to_owned(), source })?;
    }
    Ok(Arc::new(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_keeps_the_servers_that_stay_and_what_is_in_flight_at_them() {
        let old = Upstream::builder().server("http://a:1", 1).server("http://b:1", 1).build().unwrap();
        let _in_flight = old.servers()[1].enter(None);
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
