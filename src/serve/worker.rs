use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tower_service::Service;

use super::admission::{Admission, NetworkSlot, Ticket};
use super::body::ServeBody;
use super::counters::Counters;
use super::entrance::Entrance;
use super::listen::BACKLOG;
use super::opening::open;
use super::seat::Seat;
use super::settings::Settings;
use super::transport::Transport;
use crate::alpn::Alpn;
use crate::{BoxError, Connection};

/// How long to wait after the system had no descriptor or no memory for another connection. Time for some to close, and
/// long enough not to burn the processor that those need.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections of one worker share.
#[derive(Clone)]
pub(super) struct Worker<S> {
    pub(super) service: S,
    pub(super) settings: Arc<Settings>,
    pub(super) admission: Arc<Admission>,
    pub(super) counters: Arc<Counters>,
    pub(super) drain: Arc<Notify>,
}

impl<S> Worker<S> {
    /// The same for connections that another service is for.
    pub(super) fn with_service<T>(&self, service: T) -> Worker<T> {
        Worker {
            service,
            settings: self.settings.clone(),
            admission: self.admission.clone(),
            counters: self.counters.clone(),
            drain: self.drain.clone(),
        }
    }
}

impl<S, B> Worker<S>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    /// Accepts from one listener until the drain begins, and closes it then.
    pub(super) async fn accept(self, listener: TcpListener, entrance: Arc<Entrance>) {
        let mut drain = pin!(self.drain.notified());
        while !self.counters.drain.is_draining() {
            match or_drain(pin!(listener.accept()), drain.as_mut()).await {
                None => break,
                Some(Ok((stream, peer))) => {
                    let Some(network) = self.admit(peer, &entrance) else { continue };
                    // At the limit this one waits with an open socket and no further ones are accepted: they wait in
                    // the backlog, where a short peak costs them time and no error.
                    let slot = or_drain(pin!(self.admission.slot()), drain.as_mut()).await.flatten();
                    self.take_in(stream, peer, &entrance, slot, network);
                }
                Some(Err(error)) if is_the_clients(&error) => {}
                Some(Err(_)) => {
                    or_drain(pin!(tokio::time::sleep(ACCEPT_PAUSE)), drain.as_mut()).await;
                }
            }
        }
        for (stream, peer) in backlog(&listener).await {
            if let Some(network) = self.admit(peer, &entrance) {
                self.take_in(stream, peer, &entrance, None, network);
            }
        }
    }

    /// `None` where the connection is not let in. Behind a proxy the client is known only later, and so is its place.
    fn admit(&self, peer: SocketAddr, entrance: &Entrance) -> Option<Option<NetworkSlot>> {
        let admitted = match &entrance.proxy_protocol {
            None => self.admission.network_slot(peer).ok(),
            Some(proxies) => proxies.trusts(peer.ip()).then_some(None),
        };
        if admitted.is_none() {
            self.counters.refused.add_one();
        }
        admitted
    }

    fn take_in(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        entrance: &Arc<Entrance>,
        slot: Option<OwnedSemaphorePermit>,
        network: Option<NetworkSlot>,
    ) {
        let Ok(service) = catch_unwind(AssertUnwindSafe(|| self.service.clone())) else {
            self.counters.panics.add_one();
            return;
        };
        let seat = Seat {
            service,
            settings: self.settings.clone(),
            counters: self.counters.clone(),
            drain: self.drain.clone(),
            ticket: Ticket::new(self.counters.clone(), slot, network),
            accepted: Instant::now(),
        };
        if entrance.begins_with_http() {
            seat.serve(Transport::Plain(stream), Connection::plain(peer, entrance.local), Alpn::None);
        } else {
            tokio::spawn(open(seat, stream, peer, entrance.clone(), self.admission.clone()));
        }
    }
}

/// What waits to be accepted. Closing a listener resets these connections, whose clients believe them to be open; so they
/// are taken in, and those that have sent a request already are answered.
async fn backlog(listener: &TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let waiting = poll_fn(|cx| {
        let mut accepted = Vec::new();
        while accepted.len() < BACKLOG as usize
            && let Poll::Ready(Ok(connection)) = listener.poll_accept(cx)
        {
            accepted.push(connection);
        }
        Poll::Ready(accepted)
    });
    tokio::task::unconstrained(waiting).await
}

/// `None` when the drain began before `future` was ready.
async fn or_drain<F: Future + Unpin>(future: F, drain: Pin<&mut impl Future<Output = ()>>) -> Option<F::Output> {
    match select(future, drain).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// A connection that broke before it was accepted says nothing of the next one.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// How long connections that are cut have to say so.
const LAST_WORD: Duration = Duration::from_millis(20);

/// Waits until the last connection has closed, or until the time that `deadline` says, which may come nearer. Those that are
/// left then are cut.
pub(super) async fn drained(counters: &Counters, mut deadline: tokio::sync::watch::Receiver<Option<Instant>>) {
    while counters.open.get() > 0 {
        let until = *deadline.borrow_and_update();
        let Some(until) = until.filter(|until| *until > Instant::now()) else { break };
        let (emptied, changed) = (pin!(counters.drain.emptied.notified()), pin!(deadline.changed()));
        // All three mean the same: look again.
        let _ = tokio::time::timeout_at(until, select(emptied, changed)).await;
    }
    counters.drain.aborting.store(true, Relaxed);
    counters.drain.cut.notify_waiters();
    let until = Instant::now() + LAST_WORD;
    while counters.open.get() > 0 && tokio::time::timeout_at(until, counters.drain.emptied.notified()).await.is_ok() {}
}
