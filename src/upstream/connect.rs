//! Opening a connection, and what is sent over it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::body::SendBody;
use super::server::Server;
use crate::{UpstreamError, UpstreamErrorKind};

/// One connection to a server, for one exchange at a time.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<SendBody>,
    used: bool,
}

/// Why a request was not answered. The request comes back when not a byte of it was sent.
pub(super) struct Unanswered {
    pub(super) error: UpstreamError,
    pub(super) unsent: Option<http::Request<SendBody>>,
}

impl Connection {
    /// Connects to `server`, trying its addresses in turn. The permit is held until the socket is closed.
    pub(super) async fn open(
        server: &Server,
        permit: OwnedSemaphorePermit,
        timeout: Duration,
        dns_refresh: Duration,
    ) -> Result<Self, UpstreamError> {
        let opened = tokio::time::timeout(timeout, async {
            let addresses = server.addresses(dns_refresh).await?;
            let stream = connect(&addresses).await.map_err(connect_error)?;
            http1::handshake(TokioIo::new(stream)).await.map_err(UpstreamError::classify)
        });
        let (sender, connection) =
            opened.await.map_err(|_| UpstreamError::new(UpstreamErrorKind::ConnectTimeout))??;
        tokio::spawn(async move {
            // What went wrong is told to the request that it went wrong for.
            let _ = connection.await;
            drop(permit);
        });
        Ok(Self { sender, used: false })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// True when it served a request before: the origin may have closed it meanwhile.
    pub(super) fn was_used(&self) -> bool {
        self.used
    }

    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the exchange before is over on this side too. False when the connection ended instead.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(super) async fn send(
        &mut self,
        request: http::Request<SendBody>,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        self.used = true;
        self.sender.try_send_request(request).await.map_err(|mut failed| {
            let unsent = failed.take_message();
            Unanswered { error: UpstreamError::classify(failed.into_error()), unsent }
        })
    }
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Heads and bodies are written whole: waiting to fill a segment would only delay them.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_error(error: io::Error) -> UpstreamError {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => UpstreamErrorKind::ConnectTimeout,
        _ => UpstreamErrorKind::Connect,
    };
    UpstreamError::with_source(kind, error)
}
