//! Opening a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::h1::connection::Connection;
use super::limit::Permit;
use super::server::Server;
use crate::{UpstreamError, UpstreamErrorKind};

/// Connects to `server`, trying its addresses in turn. The permit is held until the socket is closed.
pub(super) async fn open(
    server: &Server,
    permit: Permit<Box<Connection>>,
    timeout: Duration,
    dns_refresh: Duration,
) -> Result<Box<Connection>, UpstreamError> {
    let opened = tokio::time::timeout(timeout, async {
        let addresses = server.addresses(dns_refresh).await?;
        connect(&addresses).await.map_err(connect_error)
    });
    let stream = opened.await.map_err(|_| UpstreamError::new(UpstreamErrorKind::ConnectTimeout))??;
    Ok(Box::new(Connection::new(stream, permit)))
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
