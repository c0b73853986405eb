//! Opening a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::server::Server;
use super::stream::Stream;
use crate::{UpstreamError, UpstreamErrorKind};

/// What a handshake offers to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// All that may be spoken with the server.
    All,
    /// HTTP/1.1 alone.
    Http1,
}

/// Connects to `server`, trying its addresses in turn. Nothing was said yet, but for what TLS says.
pub(super) async fn dial(
    server: &Server,
    offer: Offer,
    timeout: Duration,
    dns_refresh: Duration,
) -> Result<Stream, UpstreamError> {
    let opened = tokio::time::timeout(timeout, async {
        let addresses = server.resolver.addresses(dns_refresh).await?;
        let stream = connect(&addresses, server.next_start(), timeout).await.map_err(connect_error)?;
        secure(server, stream, offer).await
    });
    opened.await.map_err(|_| UpstreamError::new(UpstreamErrorKind::ConnectTimeout))?
}

/// The same connection, with TLS where the server's URL says so.
pub(super) async fn secure(server: &Server, stream: TcpStream, offer: Offer) -> Result<Stream, UpstreamError> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &server.tls {
        return tls.handshake(stream, offer).await.map(|stream| Stream::Tls(Box::new(stream)));
    }
    let _ = (server, offer);
    Ok(Stream::Plain(stream))
}

/// Tries the addresses in turn, from the one that `start` falls on, so that they share the load. Each has an equal part of
/// the time that is left: one that swallows packets leaves some for the others.
pub(super) async fn connect(addresses: &[SocketAddr], start: usize, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for turn in 0..addresses.len() {
        let address = addresses[(start + turn) % addresses.len()];
        let share = deadline.saturating_duration_since(Instant::now()) / (addresses.len() - turn) as u32;
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Heads and bodies are written whole: waiting to fill a segment would only delay them.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
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
