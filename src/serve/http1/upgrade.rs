//! Handing over a connection that leaves HTTP, in the form that every service built on hyper expects it.
//!
//! `hyper::upgrade::OnUpgrade` can be made by hyper alone. So a request that asks for an upgrade is shown to a connection of
//! hyper's that has nothing but this one request to serve; when the service agrees, hyper is given the socket and passes it
//! on. Requests that ask for nothing never see any of this.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::serve::socket::Socket;

/// A request that hyper takes for one that asks for an upgrade.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

/// An upgrade that was offered to a service. Dropped, it comes to nothing, and whoever waits for it is told.
pub(super) struct Offer {
    connection: Driving,
    agree: oneshot::Sender<()>,
    slot: Slot,
}

type Slot = Arc<Mutex<Option<Socket>>>;

/// A connection of hyper's.
type Driving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Offer {
    /// An offer, and what the service accepts it by. `None`, which hyper gives no cause for, is an upgrade not offered.
    pub(super) fn new() -> Option<(Self, OnUpgrade)> {
        let slot = Slot::default();
        let (agree, agreed) = oneshot::channel::<()>();
        let shown = Arc::new(Mutex::new((None, Some(agreed))));
        let shows = shown.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let mut shows = shows.lock().unwrap_or_else(PoisonError::into_inner);
            shows.0 = Some(hyper::upgrade::on(&mut request));
            let agreed = shows.1.take();
            async move {
                let agreed = match agreed {
                    Some(agreed) => agreed.await.is_ok(),
                    None => false,
                };
                let mut response = Response::new(Empty::<Bytes>::new());
                if agreed {
                    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                    response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
                    response.headers_mut().insert(UPGRADE, http::HeaderValue::from_static("x"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let script = Script { unread: REQUEST, answered: false, slot: slot.clone(), socket: None };
        let connection = http1::Builder::new().serve_connection(TokioIo::new(script), service).with_upgrades();
        let mut connection: Driving = Box::pin(async move { drop(connection.await) });
        let _ = connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let on_upgrade = shown.lock().unwrap_or_else(PoisonError::into_inner).0.take()?;
        Some((Self { connection, agree, slot }, on_upgrade))
    }

    /// The service has agreed, and the client was told: here is the connection.
    pub(super) fn accept(mut self, socket: Socket) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        if self.agree.send(()).is_ok() {
            // hyper waits for nothing but this, and its answer goes nowhere.
            let _ = self.connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// What hyper reads and writes: the one request, nothing while that waits, and the socket once the answer has gone nowhere.
struct Script {
    unread: &'static [u8],
    answered: bool,
    slot: Slot,
    socket: Option<Socket>,
}

impl Script {
    /// The socket, once it is there and hyper has nothing more to say.
    fn socket(&mut self) -> Option<Pin<&mut Socket>> {
        if self.answered && self.socket.is_none() {
            self.socket = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.socket.as_mut().map(Pin::new)
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let (piece, rest) = self.unread.split_at(self.unread.len().min(buf.remaining()));
            buf.put_slice(piece);
            self.unread = rest;
            return Poll::Ready(Ok(()));
        }
        match self.socket() {
            Some(socket) => socket.poll_read(cx, buf),
            // Only hyper reads so early, and is looked after elsewhere.
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.socket() {
            Some(socket) => socket.poll_write(cx, buf),
            None => {
                self.answered = buf.ends_with(b"\r\n\r\n");
                Poll::Ready(Ok(buf.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().map_or(Poll::Ready(Ok(())), |socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().map_or(Poll::Ready(Ok(())), |socket| socket.poll_shutdown(cx))
    }
}
