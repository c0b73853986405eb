use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_service::Service;

use super::admission::Ticket;
use super::app::App;
use super::body::ServeBody;
use super::counters::Counters;
use super::http1::{Http1, Places};
use super::http2::Http2;
use super::settings::Settings;
use super::signals::Signals;
use super::socket::Socket;
use super::transport::Transport;
use crate::alpn::Alpn;
use crate::aside::aside;
use crate::{BoxError, Connection};

/// A connection's place with its worker, from the time that it is accepted: all that it is served by.
pub(super) struct Seat<S> {
    pub(super) service: S,
    pub(super) settings: Arc<Settings>,
    pub(super) counters: Arc<Counters>,
    pub(super) drain: Arc<Notify>,
    pub(super) ticket: Ticket,
    pub(super) accepted: Instant,
}

impl<S> Seat<S> {
    /// By when the head of the first request has to be there, and all that comes before it.
    pub(super) fn head_deadline(&self) -> Option<Instant> {
        self.accepted.checked_add(self.settings.timeouts.header_read?)
    }
}

impl<S, B> Seat<S>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    /// Serves HTTP, which begins with the next byte of `transport`: the one that the handshake agreed on, or that its first
    /// bytes are of.
    pub(super) fn serve(self, transport: Transport, connection: Connection, alpn: Alpn) {
        let Self { service, settings, counters, drain, ticket, accepted } = self;
        let signals = Arc::new(Signals::new(counters));
        let socket = Socket::new(transport, signals.clone(), ticket);
        let app = App { service, connection, settings };
        if alpn == Alpn::Http2 {
            tokio::spawn(Http2::new(socket, app, signals, drain.notified_owned(), accepted));
            return;
        }
        let notified = drain.clone().notified_owned();
        let http1 = Http1::new(socket, app, signals.clone(), notified, accepted, Places::of_thread());
        tokio::spawn(async move {
            let Some((socket, app)) = http1.await else { return };
            aside();
            // In a box: HTTP/1.1 connections, which wait in this task too, need not be as large.
            Box::pin(Http2::new(socket, app, signals, drain.notified_owned(), accepted)).await;
        });
    }
}
