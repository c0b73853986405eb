use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_service::Service;

use super::adapter::Adapter;
use super::admission::Ticket;
use super::body::ServeBody;
use super::connection::{Connection as Driver, Http1};
use super::counters::Counters;
use super::deadlines::Deadlines;
use super::http2::{App, Http2};
use super::settings::Settings;
use super::signals::Signals;
use super::socket::{Socket, Transport};
use crate::alpn::Alpn;
use crate::{BoxError, Connection};

/// A connection's place with its worker, from the time that it is accepted: all that it is served by.
pub(super) struct Seat<S> {
    pub(super) service: S,
    pub(super) settings: Arc<Settings>,
    pub(super) http: Arc<http1::Builder>,
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
    pub(super) fn serve<T: Transport>(self, transport: T, connection: Connection, alpn: Alpn) {
        let Self { service, settings, http, counters, drain, ticket, accepted } = self;
        let signals = Arc::new(Signals::new(counters));
        let mut socket = Socket::new(transport, signals.clone(), ticket);
        if alpn == Alpn::Http2 {
            socket.is_http2();
            let app = App { service, connection, settings };
            tokio::spawn(Http2::new(socket, app, signals, drain.notified_owned(), accepted));
            return;
        }
        let adapter = Adapter {
            service: RefCell::new(service),
            connection: connection.clone(),
            max_body_bytes: settings.max_body_bytes,
            signals: signals.clone(),
        };
        let http: Http1<_, _> = http.serve_connection(TokioIo::new(socket), adapter).with_upgrades();
        let deadlines = Deadlines::new(settings.timeouts, accepted);
        let driver = Driver::new(http, signals.clone(), drain.clone().notified_owned(), deadlines, accepted);
        tokio::spawn(async move {
            let Some((socket, adapter)) = driver.await else { return };
            let app = App { service: adapter.service.into_inner(), connection, settings };
            // In a box: HTTP/1.1 connections, which wait in this task too, need not be as large.
            Box::pin(Http2::new(socket, app, signals, drain.notified_owned(), accepted)).await;
        });
    }
}
