//! One server of an upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::h1::connection::Connection;
use super::limit::Limit;
use super::resolve::Resolver;
use crate::origin::Origin;
use http::HeaderValue;

/// A server: where it is, and what the whole process has going on with it.
#[derive(Debug)]
pub struct Server {
    name: Arc<str>,
    origin: Origin,
    host: HeaderValue,
    weight: u32,
    max_connections: usize,
    in_flight: AtomicUsize,
    connects: AtomicUsize,
    pub(super) connections: Arc<Limit<Box<Connection>>>,
    pub(super) resolver: Arc<Resolver>,
}

impl Server {
    pub(super) fn new(origin: Origin, weight: u32, max_connections: usize) -> Option<Self> {
        Some(Self {
            name: origin.authority().as_str().into(),
            host: HeaderValue::from_str(origin.authority().as_str()).ok()?,
            resolver: Arc::new(Resolver::new(origin.authority(), 80)),
            origin,
            weight,
            max_connections,
            in_flight: AtomicUsize::new(0),
            connects: AtomicUsize::new(0),
            connections: Limit::new(max_connections),
        })
    }

    /// True when `other` is the same server with the same settings.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let settings = |server: &Self| (server.weight, server.max_connections);
        self.origin == other.origin && settings(self) == settings(other)
    }

    /// `host:port`, as it was configured.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How large its share is beside the other servers'.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Requests that were sent to it and whose answers have not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Where among its addresses the next connection starts to try.
    pub(super) fn next_start(&self) -> usize {
        self.connects.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What `Host` it is sent when the request has none.
    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }
}

/// A request in flight at a server, for as long as it lives.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Server>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
