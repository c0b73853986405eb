//! One server of an upstream.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::h1::connection::Connection;
use super::limit::Limit;
use crate::origin::Origin;
use crate::{UpstreamError, UpstreamErrorKind};

/// A server: where it is, and what the whole process has going on with it.
#[derive(Debug)]
pub struct Server {
    name: Arc<str>,
    origin: Origin,
    host: HeaderValue,
    weight: u32,
    in_flight: AtomicUsize,
    pub(super) connections: Arc<Limit<Box<Connection>>>,
    resolved: Mutex<Option<Resolved>>,
}

#[derive(Clone, Debug)]
struct Resolved {
    addresses: Arc<[SocketAddr]>,
    at: Instant,
}

impl Server {
    pub(super) fn new(origin: Origin, weight: u32, max_connections: usize) -> Option<Self> {
        Some(Self {
            name: origin.authority().as_str().into(),
            host: HeaderValue::from_str(origin.authority().as_str()).ok()?,
            origin,
            weight,
            in_flight: AtomicUsize::new(0),
            connections: Limit::new(max_connections),
            resolved: Mutex::new(None),
        })
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

    /// Its addresses, asked anew when the last answer is older than `refresh`. While the name does not resolve, the last
    /// answer is used.
    pub(super) async fn addresses(&self, refresh: Duration) -> Result<Arc<[SocketAddr]>, UpstreamError> {
        let known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = &known
            && known.at.elapsed() < refresh
        {
            return Ok(known.addresses.clone());
        }
        let addresses = match (self.look_up().await, known) {
            (Ok(addresses), _) => addresses,
            (Err(_), Some(known)) => known.addresses,
            (Err(error), None) => return Err(error),
        };
        let resolved = Resolved { addresses: addresses.clone(), at: Instant::now() };
        *self.resolved.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolved);
        Ok(addresses)
    }

    async fn look_up(&self) -> Result<Arc<[SocketAddr]>, UpstreamError> {
        let authority = self.origin.authority();
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([SocketAddr::new(address, port)].into());
        }
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Arc<[SocketAddr]> =
            found.map_err(|error| UpstreamError::with_source(UpstreamErrorKind::Dns, error))?.collect();
        if found.is_empty() {
            return Err(UpstreamError::new(UpstreamErrorKind::Dns));
        }
        Ok(found)
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
