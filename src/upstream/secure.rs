//! TLS to one server.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect::Offer;
use crate::tls::rustls::pki_types::ServerName;
use crate::tls::{PreparedTls, TlsError, server_name};
use crate::{UpstreamError, UpstreamErrorKind};

/// How one server is spoken to. What servers of one upstream share is `tls`, the sessions that are resumed among it.
#[derive(Debug)]
pub(super) struct ToServer {
    name: ServerName<'static>,
    tls: Arc<PreparedTls>,
}

impl ToServer {
    pub(super) fn new(host: &str, tls: Arc<PreparedTls>) -> Result<Self, TlsError> {
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        Ok(Self { name, tls })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.tls.is_same(&other.tls)
    }

    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        offer: Offer,
    ) -> Result<TlsStream<TcpStream>, UpstreamError> {
        let config = match offer {
            Offer::All => &self.tls.config,
            Offer::Http1 => &self.tls.http1,
        };
        let handshake = TlsConnector::from(config.clone()).connect(self.name.clone(), stream);
        let done = match self.tls.handshake_timeout {
            None => handshake.await,
            Some(limit) => tokio::time::timeout(limit, handshake)
                .await
                .map_err(|_| UpstreamError::new(UpstreamErrorKind::ConnectTimeout))?,
        };
        // Whatever went wrong: TCP was there.
        let stream = done.map_err(|error| UpstreamError::with_source(UpstreamErrorKind::Tls, error))?;
        // A server that knows nothing of ALPN speaks HTTP/1.1, and HTTP/2 only where it says so (RFC 9113 section 3.2).
        let needs_http2 = config.alpn_protocols == [b"h2"];
        if needs_http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(UpstreamError::with_source(UpstreamErrorKind::Tls, "the server does not offer HTTP/2"));
        }
        Ok(stream)
    }
}
