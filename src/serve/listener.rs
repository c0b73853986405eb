use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use crate::client_ip::CidrSet;
#[cfg(feature = "tls")]
use crate::tls::ServerTls;

/// An address to listen on, and what is spoken there. Plain HTTP unless more is said.
#[derive(Clone, Debug)]
#[must_use]
pub struct Listener {
    pub(super) address: SocketAddr,
    pub(super) name: Option<Arc<str>>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ServerTls>,
    pub(super) redirect_to: Option<Arc<str>>,
}

impl Listener {
    /// Plain HTTP on `address`. Port 0 becomes a free port.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            name: None,
            proxy_protocol: None,
            #[cfg(feature = "tls")]
            tls: None,
            redirect_to: None,
        }
    }

    /// A name, by which another listener [redirects](Self::redirect_to) here.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// HTTPS instead of HTTP.
    ///
    /// The handshake has to be done, and the head of the first request to be there, within the
    /// [time for a head](super::Server::header_read_timeout). A plain request is answered with a bare 400 that says so.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Each connection begins with the address it is for, in the PROXY protocol, version 1 or 2. That address is its peer from
    /// there on, also for [limits by client](super::Server::max_connections_per_ip).
    ///
    /// It is believed of `proxies` alone: who else connects is not listened to, and neither is a proxy that does not
    /// begin so.
    pub fn proxy_protocol(mut self, proxies: ProxyProtocol) -> Self {
        self.proxy_protocol = Some(proxies);
        self
    }

    /// Answers every request with a 308 to the same URL at the port of the listener with this name, over HTTPS.
    ///
    /// The server gives this answer by itself: no service sees these requests. What [`StrictLayer`](crate::strict::StrictLayer)
    /// refuses is refused here too, and so is a request without a Host. To answer more than that there, see
    /// [`Server::start_with_redirects`](super::Server::start_with_redirects).
    pub fn redirect_to(mut self, name: impl Into<Arc<str>>) -> Self {
        self.redirect_to = Some(name.into());
        self
    }

    pub(super) fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

impl From<SocketAddr> for Listener {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

/// Who may say for whom a connection is, for a [listener](Listener::proxy_protocol). Clones are the same, and what is
/// [set](Self::set_trusted) of one is set of all.
#[derive(Clone, Debug)]
pub struct ProxyProtocol(Arc<RwLock<CidrSet>>);

impl ProxyProtocol {
    /// The proxies in these networks, and nobody else.
    pub fn from_trusted(proxies: impl Into<CidrSet>) -> Self {
        Self(Arc::new(RwLock::new(proxies.into())))
    }

    /// The proxies in these networks from now on.
    pub fn set_trusted(&self, proxies: impl Into<CidrSet>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = proxies.into();
    }

    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(peer.to_canonical())
    }
}
