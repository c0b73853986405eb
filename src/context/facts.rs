use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;

use super::ClientCertificate;

/// The id of one request: visible ASCII, so that it is safe in a header, a log line and a JSON string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// An id. `None` when it is empty or holds anything but visible ASCII.
    pub fn new(value: HeaderValue) -> Option<Self> {
        // Without an early end the loop is a few vector instructions.
        let is_visible = value.as_bytes().iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
        let visible = !value.is_empty() && is_visible;
        visible.then_some(Self(value))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as a header's value.
    pub fn as_header_value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The connection that a request came over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The other end; behind a proxy that speaks the PROXY protocol, the one that it names.
    pub peer: SocketAddr,
    /// This end: the listener's address.
    pub local: SocketAddr,
    /// True over TLS.
    pub secure: bool,
    /// The certificate that the client has proved to hold, where it was asked for one and has one.
    pub client_certificate: Option<ClientCertificate>,
}

impl Connection {
    /// A plain connection from `peer` to `local`.
    pub fn plain(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer, local, secure: false, client_certificate: None }
    }

    /// The same over TLS, with the certificate that the client has shown.
    pub fn secure(peer: SocketAddr, local: SocketAddr, client_certificate: Option<ClientCertificate>) -> Self {
        Self { peer, local, secure: true, client_certificate }
    }
}

/// The name of a route, as the configuration gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteName(Arc<str>);

impl RouteName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RouteName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<Arc<str>> for RouteName {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who the client is: the address that a trusted proxy gave for it, else the peer of the connection.
///
/// It exists only once resolved, so a layer that has one need not ask where it came from. IPv4 addresses that came as
/// IPv6 (`::ffff:192.0.2.1`) are folded to IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIp {
    address: IpAddr,
    network: IpAddr,
    peer: SocketAddr,
    peer_trusted: bool,
}

impl ClientIp {
    /// The client is the peer itself, and nothing it says of itself is believed.
    pub fn from_peer(peer: SocketAddr, ipv6_prefix: u8) -> Self {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Self { address: peer.ip(), network: network_of(peer.ip(), ipv6_prefix), peer, peer_trusted: false }
    }

    /// The peer is a trusted proxy, which speaks for a client at `address`.
    pub fn behind_trusted(peer: SocketAddr, address: IpAddr, ipv6_prefix: u8) -> Self {
        let address = address.to_canonical();
        let network = network_of(address, ipv6_prefix);
        Self { address, network, peer_trusted: true, ..Self::from_peer(peer, ipv6_prefix) }
    }

    /// The client's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// What a client is counted by: an IPv4 address whole, an IPv6 address by its prefix (64 bits unless configured),
    /// since one subscriber holds at least that many.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The other end of the connection.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// True when the peer is a trusted proxy: only then are its headers believed.
    pub fn peer_is_trusted(&self) -> bool {
        self.peer_trusted
    }
}

impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

fn network_of(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(prefix_of(address, ipv6_prefix)),
    }
}

#[inline(never)]
fn prefix_of(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_client_is_counted_by_its_prefix() {
        let client = ClientIp::from_peer(peer("[2001:db8:1:2:3:4:5:6]:80"), 64);
        assert_eq!(client.address().to_string(), "2001:db8:1:2:3:4:5:6");
        assert_eq!(client.network().to_string(), "2001:db8:1:2::");
        assert_eq!(ClientIp::from_peer(peer("[2001:db8::1]:80"), 0).network().to_string(), "::");
        assert_eq!(ClientIp::from_peer(peer("[2001:db8::1]:80"), 128).network().to_string(), "2001:db8::1");
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_ipv4() {
        let client = ClientIp::from_peer(peer("[::ffff:192.0.2.7]:80"), 64);
        assert_eq!(client.address().to_string(), "192.0.2.7");
        assert_eq!(client.network().to_string(), "192.0.2.7");
        assert_eq!(client.peer().to_string(), "192.0.2.7:80");
    }

    #[test]
    fn an_id_that_could_split_a_log_line_is_not_one() {
        assert!(RequestId::new(HeaderValue::from_static("a b")).is_none());
        assert!(RequestId::new(HeaderValue::from_static("")).is_none());
        assert!(RequestId::new(HeaderValue::from_bytes(b"\xff").unwrap()).is_none());
        assert_eq!(RequestId::new(HeaderValue::from_static("a-b")).unwrap().as_str(), "a-b");
    }
}
