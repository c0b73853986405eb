//! What a listener speaks.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::rustls::crypto::{CryptoProvider, aws_lc_rs};
use super::rustls::server::{
    NoClientAuth, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use super::rustls::{ServerConfig, ServerConnection};
use super::sni::BySni;
use super::{CertificateKey, Roots, TlsError, default_provider};
use crate::ClientCertificate;
use crate::alpn::Alpn;

/// Sessions that are remembered for clients without tickets.
const REMEMBERED_SESSIONS: usize = 1024;

/// Whether clients show a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They are asked for one that these have signed, and may have none. One that is no good is refused.
    Optional(Roots),
    /// Without one that these have signed there is no connection.
    Required(Roots),
}

/// TLS for a [`Listener`](crate::serve::Listener): certificates, and what is asked of clients. Clones are the same, and what
/// [replaces](Self::replace) one replaces all.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    current: RwLock<Arc<Current>>,
}

struct Current {
    config: Arc<ServerConfig>,
    client_auth: ClientAuth,
}

/// Sets up a [`ServerTls`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerTlsBuilder {
    certificates: Vec<CertificateKey>,
    client_auth: ClientAuth,
    provider: Arc<CryptoProvider>,
}

impl ServerTls {
    /// With these certificates, each for the names it has. The first is shown to whoever asks for another name, or for none.
    pub fn builder(certificates: impl IntoIterator<Item = CertificateKey>) -> ServerTlsBuilder {
        ServerTlsBuilder {
            certificates: certificates.into_iter().collect(),
            client_auth: ClientAuth::None,
            provider: default_provider(),
        }
    }

    /// Takes over the settings of `new`, for connections that come from now on. Sessions are resumed as before, unless
    /// something else is asked of clients: then all begin anew.
    pub fn replace(&self, new: &Self) {
        let new = new.current();
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut config = ServerConfig::clone(&new.config);
        if new.client_auth == current.client_auth {
            config.ticketer = current.config.ticketer.clone();
            config.session_storage = current.config.session_storage.clone();
        }
        *current = Arc::new(Current { config: Arc::new(config), client_auth: new.client_auth.clone() });
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.current().config.clone()
    }

    fn current(&self) -> Arc<Current> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerTlsBuilder {
    /// What is asked of clients. Nothing by default.
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// The cryptography of another provider than aws-lc-rs.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = provider;
        self
    }

    /// # Errors
    ///
    /// [`TlsError`] where there is no certificate, or the settings do not go together.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        let by_sni = BySni::new(&self.certificates).ok_or(TlsError::NoCertificates)?;
        let verifier = match &self.client_auth {
            ClientAuth::None => Arc::new(NoClientAuth),
            ClientAuth::Optional(roots) | ClientAuth::Required(roots) => {
                let builder = WebPkiClientVerifier::builder_with_provider(roots.store.clone(), self.provider.clone());
                let builder = match &self.client_auth {
                    ClientAuth::Required(_) => builder,
                    _ => builder.allow_unauthenticated(),
                };
                builder.build().map_err(|error| TlsError::Setup(error.to_string()))?
            }
        };
        let mut config = ServerConfig::builder_with_provider(self.provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(by_sni));
        config.alpn_protocols = Alpn::offered_to_clients();
        // Each has keys of its own: a ticket opens no listener but the one that gave it.
        config.ticketer = tickets()?;
        config.session_storage = sessions();
        let current = Current { config: Arc::new(config), client_auth: self.client_auth };
        Ok(ServerTls(Arc::new(Shared { current: RwLock::new(Arc::new(current)) })))
    }
}

fn tickets() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    Ok(aws_lc_rs::Ticketer::new()?)
}

fn sessions() -> Arc<dyn StoresServerSessions> {
    ServerSessionMemoryCache::new(REMEMBERED_SESSIONS)
}

/// The certificate that a client has shown. A session that was resumed has verified it once, when it was begun; so its time is
/// asked again.
pub(crate) fn client_certificate(session: &ServerConnection) -> Result<Option<ClientCertificate>, TlsError> {
    let Some(own) = session.peer_certificates().and_then(<[_]>::first) else { return Ok(None) };
    let certificate = ClientCertificate::of_verified(own)?;
    match certificate.not_after() < std::time::SystemTime::now() {
        true => Err(TlsError::Expired(format!("{:?}", certificate.not_after()))),
        false => Ok(Some(certificate)),
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("client_auth", &self.current().client_auth).finish_non_exhaustive()
    }
}
