//! TLS to a server, with a provider that is named: rustls has none of its own where two are compiled in.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::RedisUrlError;

/// To one server, whose certificate has to be of its name and signed by one that this machine trusts.
#[derive(Clone)]
pub(super) struct Tls {
    name: ServerName<'static>,
    /// Read from the machine's certificates when it is first used.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Tls {
    pub(super) fn to(host: &str) -> Result<Self, RedisUrlError> {
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned())
            .map_err(|_| RedisUrlError::Malformed("the host is no name that a certificate can have".into()))?;
        Ok(Self { name, config: Arc::default() })
    }

    pub(super) async fn over(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = match self.config.get() {
            Some(config) => config.clone(),
            None => {
                // Files are read: not on a worker.
                let config = tokio::task::spawn_blocking(trusting_the_machine).await.map_err(io::Error::other)??;
                self.config.get_or_init(|| config).clone()
            }
        };
        TlsConnector::from(config).connect(self.name.clone(), stream).await
    }
}

fn trusting_the_machine() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
