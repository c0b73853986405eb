//! What comes before HTTP on a connection: for whom it is, and TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tower_service::Service;

use super::admission::Admission;
use super::body::ServeBody;
use super::counters::Counters;
use super::entrance::Entrance;
use super::proxy_protocol::{self, Header};
use super::seat::Seat;
use super::transport::Transport;
use crate::alpn::Alpn;
use crate::{BoxError, Connection};

/// How much longer a client may take for what comes before its first request when the server drains: it has been told
/// that the connection is there, and may be about to use it.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Why there is no HTTP.
enum Unopened {
    TimedOut,
    /// Too many connections of one client.
    Refused,
    /// What came was neither that nor TLS, or the client went away.
    Failed,
}

/// Finds out for whom the connection is, does the handshake, and has it served.
pub(super) async fn open<S, B>(
    seat: Seat<S>,
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    admission: Arc<Admission>,
) where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let counters = seat.counters.clone();
    match enter(seat, stream, peer, &entrance, &admission).await {
        Ok(()) => {}
        Err(Unopened::TimedOut) => counters.timed_out.add_one(),
        Err(Unopened::Refused) => counters.refused.add_one(),
        Err(Unopened::Failed) => counters.unopened.add_one(),
    }
}

async fn enter<S, B>(
    mut seat: Seat<S>,
    mut stream: TcpStream,
    mut peer: SocketAddr,
    entrance: &Entrance,
    admission: &Admission,
) -> Result<(), Unopened>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let patience = Patience::of(&seat);
    if entrance.proxy_protocol.is_some() {
        let header = patience.in_time(proxy_protocol::read(&mut stream)).await?;
        if let Header::Client(client) = header.map_err(|_| Unopened::Failed)? {
            peer = client;
        }
        seat.ticket.set_network(admission.network_slot(peer).map_err(|_| Unopened::Refused)?);
    }
    let local = entrance.local;
    #[cfg(feature = "tls")]
    if let Some(tls) = &entrance.tls {
        use super::tls::{Accepted, accept, refuse};
        return match patience.in_time(accept(stream, tls)).await? {
            Accepted::Client { transport, certificate, alpn } => {
                seat.serve(Transport::Tls(transport), Connection::secure(peer, local, certificate), alpn);
                Ok(())
            }
            Accepted::Refused { stream, last_word } => {
                refuse(stream, last_word).await;
                Err(Unopened::Failed)
            }
        };
    }
    seat.serve(Transport::Plain(stream), Connection::plain(peer, local), Alpn::None);
    Ok(())
}

/// How long is waited for what comes before HTTP.
struct Patience {
    deadline: Option<Instant>,
    counters: Arc<Counters>,
    drain: Arc<Notify>,
}

impl Patience {
    fn of<S>(seat: &Seat<S>) -> Self {
        Self { deadline: seat.head_deadline(), counters: seat.counters.clone(), drain: seat.drain.clone() }
    }

    /// What `work` comes to, if it does by the time that the first head has to be there, or soon after the drain began.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Unopened> {
        let drained = async {
            let drain = pin!(self.drain.notified());
            if !self.counters.drain.is_draining() {
                drain.await;
            }
            sleep(DRAIN_GRACE).await;
        };
        let work = async {
            match self.deadline {
                Some(deadline) => timeout_at(deadline, work).await.map_err(|_| Unopened::TimedOut),
                None => Ok(work.await),
            }
        };
        match select(pin!(work), pin!(drained)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Unopened::TimedOut),
        }
    }
}
