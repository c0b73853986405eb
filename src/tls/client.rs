//! What an upstream speaks.

use std::sync::Arc;
use std::time::Duration;

use super::rustls::crypto::CryptoProvider;
use super::rustls::pki_types::ServerName;
use super::rustls::sign::SingleCertAndKey;
use super::rustls::{ClientConfig, RootCertStore};
use super::{CertificateKey, Roots, TlsError, default_provider};

/// TLS for the `https://` servers of an [`Upstream`](crate::upstream::Upstream): who is trusted, and what is shown to them.
///
/// A server's certificate is verified always: it has to be in its time, for the server's name, and signed by one of those
/// that are trusted.
#[derive(Clone, Debug)]
pub struct ClientTls {
    roots: Option<Roots>,
    certificate: Option<CertificateKey>,
    server_name: Option<ServerName<'static>>,
    handshake_timeout: Option<Duration>,
    provider: Arc<CryptoProvider>,
}

impl ClientTls {
    /// Trusts whom this machine trusts, and shows no certificate.
    pub fn new() -> Self {
        Self {
            roots: None,
            certificate: None,
            server_name: None,
            handshake_timeout: None,
            provider: default_provider(),
        }
    }

    /// Trusts these authorities instead, and nobody else.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Shows this certificate to servers that ask for one.
    #[must_use]
    pub fn certificate(mut self, own: CertificateKey) -> Self {
        self.certificate = Some(own);
        self
    }

    /// The name that servers are asked for (SNI), and that their certificates have to be for, instead of the host in
    /// their URLs. It says nothing of `Host`.
    ///
    /// # Errors
    ///
    /// [`TlsError::ServerName`] where it is neither a host name nor an address.
    pub fn server_name(mut self, name: &str) -> Result<Self, TlsError> {
        self.server_name = Some(server_name(name)?);
        Ok(self)
    }

    /// How long a handshake may take, within the time that a
    /// [connection](crate::upstream::UpstreamBuilder::connect_timeout) may take. All of that by default.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = Some(limit);
        self
    }

    /// The cryptography of another provider than aws-lc-rs.
    #[must_use]
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = provider;
        self
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new()
    }
}

/// The same settings with all that they need at hand. Files may have been read.
#[derive(Debug)]
pub(crate) struct PreparedTls {
    pub(crate) config: Arc<ClientConfig>,
    /// The same for connections on which only HTTP/1.1 will do.
    pub(crate) http1: Arc<ClientConfig>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) server_name: Option<ServerName<'static>>,
    roots: Roots,
    certificate: Option<CertificateKey>,
}

impl PreparedTls {
    /// `protocols` are offered (RFC 7301), the preferred one first.
    pub(crate) fn new(settings: ClientTls, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let ClientTls { roots, certificate, server_name, handshake_timeout, provider } = settings;
        let roots = roots.map_or_else(Roots::of_this_machine, Ok)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::<RootCertStore>::clone(&roots.store));
        let mut config = match &certificate {
            None => config.with_no_client_auth(),
            Some(own) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*own.certified).clone()))),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (config, http1) = (Arc::new(config), Arc::new(http1));
        Ok(Self { config, http1, handshake_timeout, server_name, roots, certificate })
    }

    /// True when a connection by the one could have been made by the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let parts = |own: &Self| (own.server_name.clone(), own.handshake_timeout, own.config.alpn_protocols.clone());
        parts(self) == parts(other) && self.roots == other.roots && self.certificate == other.certificate
    }
}

/// An address may stand in brackets.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))
}
