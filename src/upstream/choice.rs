//! What a choice is made by: the servers as one request sees them, and what of it may decide.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderMap;

use super::balance::{HashBy, Servers, cookie, digest};
use super::condition::{Expected, Usable};
use super::server::Server;
use super::upstream::Shared;
use crate::RequestContext;

/// The servers, as one request sees them.
pub(super) struct View<'a> {
    pub(super) shared: &'a Shared,
    pub(super) servers: &'a [Arc<Server>],
    pub(super) tried: &'a [Arc<str>],
    pub(super) panic: bool,
    /// Those that are left out because of their answers are used as well.
    pub(super) even_ejected: bool,
}

impl View<'_> {
    /// As for a choice, where it is not one of several that could take its place.
    pub(super) fn can_be_used(&self, server: usize) -> bool {
        self.is_usable(server)
    }
}

impl Servers for View<'_> {
    fn load(&self, server: usize) -> u64 {
        self.servers[server].in_flight() as u64
    }

    fn latency(&self, server: usize) -> Expected {
        self.servers[server].condition.latency()
    }

    #[inline]
    fn is_usable(&self, server: usize) -> bool {
        let server = &self.servers[server];
        let well = match server.condition.is_usable() {
            Usable::Yes => true,
            Usable::Again => {
                self.shared.count_healthy(self.servers);
                true
            }
            Usable::No => self.panic || self.even_ejected && server.condition.passes_checks(),
        };
        well && (self.tried.is_empty() || !self.tried.contains(server.name()))
    }

    #[inline]
    fn has_its_turn(&self, server: usize) -> bool {
        self.servers[server].condition.has_its_turn(self.shared.settings.slow_start)
    }

    fn total_load(&self) -> u64 {
        self.shared.in_flight.as_ref().map_or(0, |all| all.load(Ordering::Relaxed) as u64)
    }
}

/// What the request is assigned by, if it has that.
pub(super) fn key(by: &HashBy, headers: &HeaderMap, context: Option<&RequestContext>) -> Option<u64> {
    match by {
        HashBy::Subject => Some(digest(context?.identity()?.subject()?.as_bytes())),
        HashBy::ClientIp => Some(match context?.client_ip()?.address() {
            std::net::IpAddr::V4(address) => digest(&address.octets()),
            std::net::IpAddr::V6(address) => digest(&address.octets()),
        }),
        HashBy::Header(name) => headers.get(name).map(|value| digest(value.as_bytes())),
        HashBy::Cookie(name) => cookie(headers, name).map(|value| digest(value.as_bytes())),
    }
}
