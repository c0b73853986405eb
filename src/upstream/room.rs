//! A connection for a request: one that it has for itself, or room on one that others use as well.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::client::Shared;
use super::connect::{Offer, dial};
use super::h1::connection::Connection;
use super::h2::connections::Slot;
use super::limit::{Grant, Permit};
use super::server::Server;
use super::spoken::Spoken;
use super::stream::Stream;
use crate::{UpstreamError, UpstreamErrorKind};

/// Where a request goes.
pub(super) enum Room {
    /// An HTTP/1.1 connection of its own.
    Own(Box<Connection>),
    /// A stream of an HTTP/2 connection.
    Shared(Slot),
}

impl Shared {
    /// An HTTP/1.1 connection that is open and free.
    pub(super) async fn obtain(self: Arc<Self>, server: Arc<Server>) -> Result<Box<Connection>, UpstreamError> {
        match self.grant(&server).await? {
            Grant::Connection(connection) => Ok(connection),
            Grant::Permit(permit) => {
                let stream = self.dial(&server, Offer::Http1).await?;
                Ok(Box::new(Connection::new(stream, permit)))
            }
        }
    }

    /// Room that is there already. A connection that was idle may be about to close: to be `sure`, such a one is passed over.
    pub(super) fn take_room(&self, server: &Server, sure: bool) -> Option<Room> {
        if let Some(slot) = self.pool.shared(server).take() {
            return Some(Room::Shared(slot));
        }
        let may_be_idle = server.spoken() == Spoken::Agreed && !sure;
        if may_be_idle { self.take_idle(server).map(Room::Own) } else { None }
    }

    /// Room on a connection, whichever the server agrees to where that is not known beforehand.
    pub(super) async fn room(self: Arc<Self>, server: Arc<Server>, sure: bool) -> Result<Room, UpstreamError> {
        let settings = &self.upstream.0.settings;
        let patience = settings.queue_timeout.saturating_add(settings.connect_timeout);
        match timeout(patience, self.find_room(&server, sure)).await {
            Ok(found) => found,
            Err(_) => Err(UpstreamErrorKind::Overloaded.into()),
        }
    }

    async fn find_room(&self, server: &Server, sure: bool) -> Result<Room, UpstreamError> {
        let began = Instant::now();
        let connections = self.pool.shared(server);
        loop {
            let mut freed = pin!(connections.freed.notified());
            freed.as_mut().enable();
            if let Some(room) = self.take_room(server, sure) {
                return Ok(room);
            }
            // Where each request needs a connection of its own, each opens one; otherwise one does for all.
            let mut failure = if server.last_agreed.is_http1() {
                None
            } else {
                let opening = tokio::select! {
                    biased;
                    () = freed.as_mut() => continue,
                    opening = connections.opening.lock() => opening,
                };
                // Whoever held the lock has opened one, or has failed for all who waited.
                if let Some(room) = self.take_room(server, sure) {
                    return Ok(room);
                }
                match &*opening {
                    Some((when, error)) if *when >= began => return Err(error.clone()),
                    _ if server.last_agreed.is_http1() => None,
                    _ => Some(opening),
                }
            };
            let grant = tokio::select! {
                biased;
                () = freed => continue,
                grant = self.grant(server) => grant?,
            };
            let permit = match grant {
                Grant::Permit(permit) => permit,
                Grant::Connection(connection) if server.spoken() == Spoken::Agreed => return Ok(Room::Own(connection)),
                // Closing it frees a permit.
                Grant::Connection(_) => continue,
            };
            match self.open(server, permit).await {
                Ok(Some(connection)) => return Ok(Room::Own(connection)),
                Ok(None) => {}
                Err(error) => {
                    if let Some(failure) = &mut failure {
                        **failure = Some((Instant::now(), error.clone()));
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Leave to open a connection, or one that has become free meanwhile.
    async fn grant(&self, server: &Server) -> Result<Grant<Box<Connection>>, UpstreamError> {
        let limit = &server.connections;
        if let Some(permit) = limit.try_acquire() {
            return Ok(Grant::Permit(permit));
        }
        let mut place = limit.join(self.id());
        match self.pool.take(server) {
            Some(idle) => drop(limit.give(self.id(), idle)),
            // Another client may hold one that it does not need.
            None => self.upstream.close_an_idle_connection(server),
        }
        match timeout(self.upstream.0.settings.queue_timeout, place.turn()).await {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) | Err(_) => Err(UpstreamErrorKind::Overloaded.into()),
        }
    }

    async fn dial(&self, server: &Server, offer: Offer) -> Result<Stream, UpstreamError> {
        let settings = &self.upstream.0.settings;
        dial(server, offer, settings.connect_timeout, settings.dns_refresh).await
    }

    /// Opens a connection for HTTP/2, for all who find room on it, or for HTTP/1.1 if the server prefers that.
    async fn open(
        &self,
        server: &Server,
        permit: Permit<Box<Connection>>,
    ) -> Result<Option<Box<Connection>>, UpstreamError> {
        let stream = self.dial(server, Offer::All).await?;
        if server.spoken() == Spoken::Agreed {
            let is_http2 = stream.has_agreed_on_http2();
            server.last_agreed.set(is_http2);
            if !is_http2 {
                return Ok(Some(Box::new(Connection::new(stream, permit))));
            }
        }
        let settings = &self.upstream.0.settings;
        let connections = self.pool.shared(server);
        let added = connections.add(stream, permit, settings.keep_alive_timeout, settings.pings);
        match timeout(settings.connect_timeout, added).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(UpstreamError::with_source(UpstreamErrorKind::Connect, error)),
            Err(_) => Err(UpstreamErrorKind::ConnectTimeout.into()),
        }
    }
}
