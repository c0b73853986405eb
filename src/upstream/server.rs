//! One server of an upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::builder::Protocol;
use super::condition::Condition;
use super::h1::connection::Connection;
use super::limit::Limit;
use super::resolve::Resolver;
#[cfg(feature = "tls")]
use super::secure::ToServer;
use super::spoken::{LastAgreed, Spoken};
use crate::origin::Origin;
use http::HeaderValue;
use http::uri::Scheme;

/// A server: where it is, and what the whole process has going on with it.
#[derive(Debug)]
// What a choice looks at stands together at the beginning: among ten thousand servers it is in no near cache.
#[repr(C)]
pub struct Server {
    in_flight: AtomicUsize,
    pub(super) condition: Condition,
    pub(super) weight: AtomicU32,
    retired: AtomicBool,
    /// No other server of this process has it.
    id: u64,
    /// Where clients keep their connections to it: a small number that no other server of the same upstream has.
    slot: usize,
    name: Arc<str>,
    spoken: Spoken,
    pub(super) last_agreed: LastAgreed,
    origin: Origin,
    host: HeaderValue,
    max_connections: usize,
    connects: AtomicUsize,
    pub(super) connections: Arc<Limit<Box<Connection>>>,
    pub(super) resolver: Arc<Resolver>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ToServer>,
}

impl Server {
    pub(super) fn new(
        origin: Origin,
        weight: u32,
        max_connections: usize,
        protocol: Protocol,
        slot: usize,
    ) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let is_secure = *origin.scheme() == Scheme::HTTPS;
        let default_port = if is_secure { 443 } else { 80 };
        Some(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            slot,
            retired: AtomicBool::new(false),
            name: origin.authority().as_str().into(),
            host: HeaderValue::from_str(origin.authority().as_str()).ok()?,
            resolver: Arc::new(Resolver::new(origin.authority(), default_port)),
            #[cfg(feature = "tls")]
            tls: None,
            spoken: match protocol {
                Protocol::Http2 => Spoken::Http2,
                Protocol::Auto if is_secure => Spoken::Agreed,
                Protocol::Auto | Protocol::Http1 => Spoken::Http1,
            },
            last_agreed: LastAgreed::default(),
            origin,
            weight: AtomicU32::new(weight),
            max_connections,
            in_flight: AtomicUsize::new(0),
            connects: AtomicUsize::new(0),
            condition: Condition::default(),
            connections: Limit::new(max_connections),
        })
    }

    /// True when `other` is the same server with the same settings.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let settings = |server: &Self| (server.weight(), server.max_connections, server.spoken);
        self.origin == other.origin && settings(self) == settings(other) && self.has_same_tls(other)
    }

    #[cfg(feature = "tls")]
    fn has_same_tls(&self, other: &Self) -> bool {
        match (&self.tls, &other.tls) {
            (Some(own), Some(other)) => own.is_same(other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn has_same_tls(&self, _: &Self) -> bool {
        true
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// It is taken out: no connection to it is kept.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// `host:port`, as it was configured.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How large its share is beside the other servers'.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Requests that were sent to it and whose answers have not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// False while its health checks fail.
    pub fn passes_checks(&self) -> bool {
        self.condition.passes_checks()
    }

    /// True while it is left out because of its answers.
    pub fn is_ejected(&self) -> bool {
        self.condition.is_ejected()
    }

    /// How often it was left out because of its answers, without having been good for long in between.
    pub fn ejections(&self) -> u32 {
        self.condition.ejections.load(Ordering::Relaxed)
    }

    /// Where among its addresses the next connection starts to try.
    pub(super) fn next_start(&self) -> usize {
        self.connects.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn spoken(&self) -> Spoken {
        self.spoken
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What `Host` it is sent when the request has none.
    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Counts a request until the guard is dropped, here and where those of all servers are counted.
    pub(super) fn enter(self: Arc<Self>, all: Option<&Arc<AtomicUsize>>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if let Some(all) = all {
            all.fetch_add(1, Ordering::Relaxed);
        }
        InFlight(self, all.cloned())
    }
}

/// A request in flight at a server, for as long as it lives.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Server>, Option<Arc<AtomicUsize>>);

impl InFlight {
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(all) = &self.1 {
            all.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
