use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Extensions;
use tower_layer::Layer;

use super::headers::ForwardingHeaders;
use super::{CidrSet, ClientIpService, ForwardingHeader};
use crate::gate::{Gate, gate_setters};

type PeerFrom = Arc<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

/// Resolves who the client is, and leaves on the request only those forwarding headers that are believed.
///
/// As it is made nobody is trusted, and the client is the peer. See the [module](super) for the rules.
#[derive(Clone, Debug)]
pub struct ClientIpLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) trusted: CidrSet,
    pub(super) headers: ForwardingHeaders,
    pub(super) ipv6_prefix: u8,
    pub(super) peer_from: Option<PeerFrom>,
}

impl ClientIpLayer {
    /// The client is the peer of the connection.
    pub fn new() -> Self {
        let settings = Settings {
            gate: Gate::default(),
            trusted: CidrSet::default(),
            headers: ForwardingHeaders::believing(ForwardingHeader::default()),
            ipv6_prefix: 64,
            peer_from: None,
        };
        Self { settings: Arc::new(settings) }
    }

    /// Whose word is taken for the client's address: the proxies in front of this service, all of them. None by default.
    ///
    /// A range that holds clients too lets each of them pass for any other.
    ///
    /// ```
    /// use tower_gateway::client_ip::{ClientIpLayer, IpNet};
    ///
    /// let load_balancers: [IpNet; 2] = ["10.0.0.0/8".parse()?, "2001:db8:1b::/48".parse()?];
    /// let layer = ClientIpLayer::new().trusted_proxies(load_balancers);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: impl Into<CidrSet>) -> Self {
        Arc::make_mut(&mut self.settings).trusted = proxies.into();
        self
    }

    /// The one header that trusted proxies give the client's address in. `X-Forwarded-For` by default.
    ///
    /// It must be one that those proxies always write: what they merely pass on is the client's.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_gateway::client_ip::{CidrSet, ClientIpLayer, ForwardingHeader};
    ///
    /// let behind_haproxy = ClientIpLayer::new().header(ForwardingHeader::Forwarded);
    /// let behind_cloudflare = ClientIpLayer::new().header(HeaderName::from_static("cf-connecting-ip"));
    /// ```
    #[must_use]
    pub fn header(mut self, header: impl Into<ForwardingHeader>) -> Self {
        Arc::make_mut(&mut self.settings).headers = ForwardingHeaders::believing(header.into());
        self
    }

    /// How many bits of an IPv6 address a client is counted by, in
    /// [`ClientIp::network`](crate::ClientIp::network): 64 by default, the least that a subscriber is given (RFC 6177).
    /// More than 128 is 128.
    #[must_use]
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        Arc::make_mut(&mut self.settings).ipv6_prefix = bits.min(128);
        self
    }

    /// Where the peer's address is, on a server that leaves it elsewhere. What `peer` does not know is looked for where it
    /// always is.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use tower_gateway::client_ip::ClientIpLayer;
    ///
    /// #[derive(Clone)]
    /// struct Accepted {
    ///     from: SocketAddr,
    /// }
    ///
    /// let layer = ClientIpLayer::new().peer_from(|extensions| Some(extensions.get::<Accepted>()?.from));
    /// ```
    #[must_use]
    pub fn peer_from(mut self, peer: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.settings).peer_from = Some(Arc::new(peer));
        self
    }

    gate_setters!();
}

impl Default for ClientIpLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ClientIpLayer {
    type Service = ClientIpService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ClientIpService { inner, settings: Arc::clone(&self.settings) }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("gate", &self.gate)
            .field("trusted", &self.trusted)
            .field("headers", &self.headers)
            .field("ipv6_prefix", &self.ipv6_prefix)
            .field("peer_from", &self.peer_from.is_some())
            .finish()
    }
}
