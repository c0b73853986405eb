use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::assignment::Assignment;
use super::balance::Balance;
use super::builder::{InvalidUpstream, Secure, Settings, UpstreamBuilder};
use super::choice::{View, key};
use super::fleet::Fleet;
use super::health::HealthCheck;
use super::pool::Pool;
use super::server::Server;
use crate::aside::aside;
use crate::classify::Outcome;
use crate::{Head, RequestContext};

/// The servers of one origin, shared by every client in the process. Cloning it is cheap, and a clone is the same upstream.
///
/// Servers may [come and go](Self::set_server) while requests are sent: a choice takes what there is at that moment, and
/// locks nothing.
#[derive(Clone, Debug)]
pub struct Upstream(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) fleet: ArcSwap<Fleet>,
    pub(super) settings: Settings,
    pub(super) secure: Box<Secure>,
    /// Requests in flight at all servers, where the balancer has to know.
    pub(super) in_flight: Option<Arc<AtomicUsize>>,
    /// So few servers are well that all are used.
    panic: AtomicBool,
    /// Held to eject a server.
    ejecting: Mutex<()>,
    /// Held to change the fleet; and how its servers are asked whether they are well.
    pub(super) checks: Mutex<Vec<(HealthCheck, Handle)>>,
    /// Every client's connections: when a server can have no more, an idle one elsewhere is closed for one that is needed.
    pools: Mutex<Vec<Weak<Pool>>>,
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
        UpstreamBuilder::new()
    }

    /// Its servers as they are now, in the order they were given or came.
    pub fn servers(&self) -> Arc<[Arc<Server>]> {
        self.0.fleet.load().servers.clone()
    }

    /// Asks each server whether it is well, again and again, on tasks of `runtime`. They end with this upstream, and a server
    /// that comes later has its own.
    pub fn start_health_checks(&self, check: &HealthCheck, runtime: &Handle) {
        let mut checks = self.0.changing();
        checks.push((check.clone(), runtime.clone()));
        for server in self.servers().iter() {
            self.watch(server, check, runtime);
        }
    }

    pub(super) fn watch(&self, server: &Arc<Server>, check: &HealthCheck, runtime: &Handle) {
        let (upstream, settings) = (Arc::downgrade(&self.0), &self.0.settings);
        runtime.spawn(check.clone().watch(upstream, server.clone(), settings.dns_refresh));
    }

    /// True when every server passes its checks and none is left out because of its answers.
    pub fn is_well(&self) -> bool {
        self.0.fleet.load().servers.iter().all(|server| server.condition.is_good())
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
        let server = self.choose_for(headers, context)?;
        let in_flight = server.enter(self.0.in_flight.as_ref());
        Some(Assignment { upstream: self.clone(), began: Instant::now(), in_flight })
    }

    /// For measurements: the choice alone.
    #[doc(hidden)]
    pub fn choose_index(&self, head: Head<'_>) -> Option<usize> {
        let fleet = self.0.fleet.load();
        self.choose(&fleet, &[], head.headers(), head.context())
    }

    /// The server for a request, which its context is told of.
    #[inline]
    pub(super) fn choose_for(&self, headers: &HeaderMap, context: Option<&RequestContext>) -> Option<Arc<Server>> {
        let fleet = self.0.fleet.load();
        let server = match context {
            Some(own) => own.choose_server(|tried| {
                let server = self.choose(&fleet, tried, headers, context)?;
                Some((server, fleet.servers[server].name().clone()))
            }),
            None => {
                aside();
                self.choose(&fleet, &[], headers, None)
            }
        };
        server.map(|server| fleet.servers[server].clone())
    }

    /// The server for a request that was tried at these already. Those are not asked again while another is left.
    #[inline]
    fn choose(
        &self,
        fleet: &Fleet,
        tried: &[Arc<str>],
        headers: &HeaderMap,
        context: Option<&RequestContext>,
    ) -> Option<usize> {
        let shared = &*self.0;
        let panic = shared.panic.load(Ordering::Relaxed);
        let view = |tried| View { shared, servers: &fleet.servers, tried, panic, even_ejected: false };
        let key = match &shared.settings.balance {
            Balance::Hash(by) => key(by, headers, context),
            Balance::Sticky(cookie) => {
                let own = cookie.read(headers).and_then(|token| fleet.of_token(token));
                if let Some(own) = own.filter(|own| view(tried).can_be_used(*own)) {
                    return Some(own);
                }
                None
            }
            _ => None,
        };
        let server = fleet.balancer.choose(&view(tried), key);
        match server {
            // One that may have come round before one that has just failed this request.
            None if !tried.is_empty() => {
                let others = View { even_ejected: true, ..view(tried) };
                fleet.balancer.choose(&others, key).or_else(|| fleet.balancer.choose(&view(&[]), key))
            }
            server => server,
        }
    }

    /// The cookie that leads a client back to `server`, unless its request had that.
    pub(super) fn cookie_for(&self, server: &Server, request: &HeaderMap) -> Option<HeaderValue> {
        let Balance::Sticky(cookie) = &self.0.settings.balance else { return None };
        let token = cookie.token(&server.origin().to_string());
        if cookie.read(request) == Some(token) { None } else { cookie.set(token) }
    }

    /// True when what becomes of each request has to be known.
    pub(super) fn watches(&self) -> bool {
        self.0.settings.ejection.is_some() || self.0.settings.balance == Balance::PeakEwma
    }

    /// The time that an answer took to its head.
    pub(super) fn observe(&self, server: &Server, took: Duration) {
        if self.0.settings.balance == Balance::PeakEwma {
            server.condition.observe(took);
        }
    }

    pub(super) fn record(&self, server: &Server, outcome: Outcome) {
        let shared = &*self.0;
        if let Some(ejection) = &shared.settings.ejection {
            let fleet = shared.fleet.load();
            if ejection.record(&fleet.servers, server, outcome, &shared.ejecting) {
                shared.count_healthy(&fleet.servers);
            }
        }
    }

    pub(super) fn register(&self, pool: &Arc<Pool>) {
        let mut pools = self.0.pools();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// Closes one idle connection to a server, whichever client holds it, if any does.
    pub(super) fn close_an_idle_connection(&self, server: &Server) {
        let pools = self.0.pools().clone();
        let _ = pools.iter().filter_map(Weak::upgrade).any(|pool| pool.close_one(server));
    }

    /// Closes all of them.
    pub(super) fn close_idle_connections(&self, server: &Server) {
        let pools = self.0.pools().clone();
        pools.iter().filter_map(Weak::upgrade).for_each(|pool| pool.forget(server));
    }
}

impl Shared {
    pub(super) fn new(fleet: Fleet, settings: Settings, secure: Box<Secure>) -> Self {
        let counts_all = matches!(settings.balance, Balance::Hash(_));
        let shared = Self {
            fleet: ArcSwap::from_pointee(fleet),
            settings,
            secure,
            in_flight: counts_all.then(Arc::default),
            panic: AtomicBool::new(false),
            ejecting: Mutex::new(()),
            checks: Mutex::default(),
            pools: Mutex::default(),
        };
        shared.count_healthy(&shared.fleet.load().servers);
        shared
    }

    /// Finds out anew whether enough servers are well.
    pub(super) fn count_healthy(&self, servers: &[Arc<Server>]) {
        let good = servers.iter().filter(|server| server.condition.is_good()).count() as u64;
        let enough = self.settings.panic_threshold.is_reached(good, servers.len() as u64);
        self.panic.store(!enough, Ordering::Relaxed);
    }

    pub(super) fn changing(&self) -> MutexGuard<'_, Vec<(HealthCheck, Handle)>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = &self.fleet.load().servers;
        f.debug_struct("Upstream").field("servers", servers).field("settings", &self.settings).finish_non_exhaustive()
    }
}
