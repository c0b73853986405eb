use std::net::SocketAddr;

use super::redirect::RedirectToHttps;
use super::{Listener, ProxyProtocol};
#[cfg(feature = "tls")]
use crate::tls::ServerTls;

/// What is done with the connections of one listener.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) local: SocketAddr,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ServerTls>,
    redirect_to: Option<u16>,
}

impl Entrance {
    pub(super) fn new(local: SocketAddr, listener: &Listener, redirect_to: Option<u16>) -> Self {
        Self {
            local,
            proxy_protocol: listener.proxy_protocol.clone(),
            #[cfg(feature = "tls")]
            tls: listener.tls.clone(),
            redirect_to,
        }
    }

    /// True when the first byte of a connection is one of a request.
    pub(super) fn begins_with_http(&self) -> bool {
        #[cfg(feature = "tls")]
        let is_plain = self.tls.is_none();
        #[cfg(not(feature = "tls"))]
        let is_plain = true;
        is_plain && self.proxy_protocol.is_none()
    }

    /// Who answers here instead of the service.
    pub(super) fn redirect(&self) -> Option<RedirectToHttps> {
        self.redirect_to.map(|port| RedirectToHttps { port })
    }
}
