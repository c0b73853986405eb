//! What an origin is told of the way a request came: `X-Forwarded-*`, `Forwarded` (RFC 7239) and `Via` (RFC 9110
//! section 7.6.3).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use http::Version;
use http::header::{Entry, FORWARDED, HeaderMap, HeaderName, HeaderValue, VIA};

use crate::names::FORWARDING;
use crate::{ClientCertificate, ClientIp, NameSet, RequestContext};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// What an origin that is told of certificates may take for one, in any spelling (RFC 9440 section 2.4).
static CLIENT_CERTIFICATE: LazyLock<NameSet> =
    LazyLock::new(|| NameSet::new([CLIENT_CERT, HeaderName::from_static("client-cert-chain")]));

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Which of them are sent.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    pub(super) x_forwarded: bool,
    pub(super) forwarded: bool,
    /// The client's certificate (RFC 9440).
    pub(super) client_cert: bool,
    /// This gateway's name in `Via`.
    pub(super) via: Option<Pseudonym>,
}

/// A gateway's name in `Via`. Two gateways in a row must not share one, or the second takes the first for itself.
#[derive(Clone, Debug)]
pub(super) struct Pseudonym(HeaderValue);

impl Pseudonym {
    /// `None` when `name` is not a token (RFC 9110 section 5.6.2) of 1 to 64 characters.
    pub(super) fn new(name: &str) -> Option<Self> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let valid = (1..=64).contains(&name.len()) && name.bytes().all(token);
        if !valid {
            return None;
        }
        HeaderValue::try_from(format!("1.1 {name}")).ok().map(Self)
    }

    /// The name of this process, which no other has: a loop through any two of its routes is seen at the first turn.
    pub(super) fn of_process() -> Self {
        use std::hash::{BuildHasher, RandomState};
        static OWN: LazyLock<Pseudonym> = LazyLock::new(|| {
            let random = RandomState::new().hash_one("via") as u32;
            Pseudonym(HeaderValue::try_from(format!("1.1 tower-gateway-{random:08x}")).expect("hex digits are a token"))
        });
        OWN.clone()
    }

    fn name(&self) -> &[u8] {
        &self.0.as_bytes()[4..]
    }

    /// The member for a request that was received over `version` (RFC 9110 section 7.6.3).
    fn member(&self, version: Version) -> HeaderValue {
        let received = match version {
            Version::HTTP_11 => return self.0.clone(),
            Version::HTTP_10 => b"1.0 ",
            _ => &b"2 "[..],
        };
        HeaderValue::from_maybe_shared(Bytes::from([received, self.name()].concat())).unwrap_or_else(|_| self.0.clone())
    }
}

/// True when `Via` says that the request passed this gateway before.
#[inline(never)]
pub(super) fn is_loop(headers: &HeaderMap, own: &Pseudonym) -> bool {
    headers.get_all(VIA).iter().any(|line| {
        // Each member is `received-protocol received-by [comment]`.
        line.as_bytes().split(|byte| *byte == b',').any(|member| {
            let mut words = member.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
            words.nth(1) == Some(own.name())
        })
    })
}

/// Where a request came from, as far as it is known.
pub(super) struct Received<'a> {
    client: Option<ClientIp>,
    secure: bool,
    certificate: Option<&'a ClientCertificate>,
    host: Option<&'a HeaderValue>,
    version: Version,
}

impl<'a> Received<'a> {
    pub(super) fn new(context: Option<&'a RequestContext>, host: Option<&'a HeaderValue>, version: Version) -> Self {
        let connection = context.and_then(RequestContext::connection);
        let client = context
            .and_then(RequestContext::client_ip)
            .copied()
            .or_else(|| connection.map(|connection| ClientIp::from_peer(connection.peer, 128)));
        Self {
            client,
            secure: connection.is_some_and(|connection| connection.secure),
            certificate: connection.and_then(|connection| connection.client_certificate.as_ref()),
            host,
            version,
        }
    }

    fn proto(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

impl Forwarding {
    /// True when the origin is told the host that the request was for.
    pub(super) fn names_host(&self) -> bool {
        self.x_forwarded || self.forwarded
    }

    /// True when there is anything to write.
    pub(super) fn writes(&self) -> bool {
        self.x_forwarded || self.forwarded || self.client_cert || self.via.is_some()
    }

    /// Writes the configured fields. Fields that are there already are believed: what the client wrote itself must have
    /// been removed, by `ClientIpLayer` or by [`remove_unbelieved`].
    #[inline(never)]
    pub(super) fn write(
        &self,
        headers: &mut HeaderMap,
        context: Option<&RequestContext>,
        host: Option<&HeaderValue>,
        version: Version,
    ) {
        self.write_received(headers, &Received::new(context, host, version));
    }

    fn write_received(&self, headers: &mut HeaderMap, received: &Received<'_>) {
        if self.x_forwarded {
            write_x_forwarded(headers, received);
        }
        if self.forwarded
            && let Ok(element) = HeaderValue::from_maybe_shared(forwarded_element(received))
        {
            append_member(headers, FORWARDED, element);
        }
        if self.client_cert {
            CLIENT_CERTIFICATE.remove_from(headers);
            if let Some(certificate) = received.certificate {
                headers.insert(CLIENT_CERT, certificate.as_header_value().clone());
            }
        }
        if let Some(own) = &self.via {
            append_member(headers, VIA, own.member(received.version));
        }
    }
}

/// Without a layer that resolved the client's address, everything a client says of its own way is untrusted.
pub(super) fn remove_unbelieved(headers: &mut HeaderMap) {
    FORWARDING.remove_from(headers);
}

fn write_x_forwarded(headers: &mut HeaderMap, received: &Received<'_>) {
    if let Some(client) = &received.client {
        let peer = client.peer().ip();
        if client.address() != peer && !headers.contains_key(X_FORWARDED_FOR) {
            // The address came in another field, which is not this one's chain.
            append_member(headers, X_FORWARDED_FOR, address_value(client.address()));
        }
        append_member(headers, X_FORWARDED_FOR, address_value(peer));
    }
    if let Ok(Entry::Vacant(proto)) = headers.try_entry(X_FORWARDED_PROTO) {
        let _ = proto.try_insert(HeaderValue::from_static(received.proto()));
    }
    if let Some(host) = received.host
        && let Ok(Entry::Vacant(place)) = headers.try_entry(X_FORWARDED_HOST)
    {
        let _ = place.try_insert(host.clone());
    }
}

/// An address as text. Every request that is forwarded has one written, and nearly all are IPv4, for which the general way
/// takes a thousand instructions.
fn address_value(address: IpAddr) -> HeaderValue {
    let text = match address {
        IpAddr::V4(v4) => {
            let (mut text, mut length) = ([b'.'; 15], 0);
            for octet in v4.octets() {
                for (least, divisor) in [(100, 100), (10, 10), (0, 1)] {
                    if octet >= least {
                        text[length] = b'0' + octet / divisor % 10;
                        length += 1;
                    }
                }
                // One too many comes last, over the end of the longest address too.
                length += 1;
            }
            Bytes::copy_from_slice(&text[..length - 1])
        }
        IpAddr::V6(v6) => Bytes::from(v6.to_string()),
    };
    HeaderValue::from_maybe_shared(text).expect("an address is visible ASCII")
}

/// One element: who sent the request to us, for which host, over what.
fn forwarded_element(received: &Received<'_>) -> Bytes {
    let mut element = BytesMut::with_capacity(96);
    // Section 6: an IPv6 address is bracketed, and since "[" and ":" are not token characters, quoted.
    let _ = match received.client.map(|client| client.peer().ip()) {
        None => write!(element, "for=unknown"),
        Some(IpAddr::V4(peer)) => write!(element, "for={peer}"),
        Some(IpAddr::V6(peer)) => write!(element, "for=\"[{peer}]\""),
    };
    if let Some(host) = received.host.and_then(|host| host.to_str().ok())
        && !host.contains(['"', '\\'])
    {
        let _ = write!(element, ";host=\"{host}\"");
    }
    let _ = write!(element, ";proto={}", received.proto());
    element.freeze()
}

/// Adds `member` to the end of the list in field `name`, in one line.
fn append_member(headers: &mut HeaderMap, name: HeaderName, member: HeaderValue) {
    match headers.try_entry(name) {
        Ok(Entry::Vacant(place)) => drop(place.try_insert(member)),
        Ok(Entry::Occupied(mut lines)) => {
            let mut value = BytesMut::new();
            for line in lines.iter() {
                value.extend_from_slice(line.as_bytes());
                value.extend_from_slice(b", ");
            }
            value.extend_from_slice(member.as_bytes());
            if let Ok(value) = HeaderValue::from_maybe_shared(value.freeze()) {
                lines.insert(value);
            }
        }
        // There are more fields than a map can hold, and this one is not there.
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(client: ClientIp) -> Received<'static> {
        static HOST: HeaderValue = HeaderValue::from_static("api.example:8080");
        Received {
            client: Some(client),
            secure: false,
            certificate: None,
            host: Some(&HOST),
            version: Version::HTTP_11,
        }
    }

    fn all() -> Forwarding {
        Forwarding { x_forwarded: true, forwarded: true, client_cert: false, via: Pseudonym::new("gw") }
    }

    fn get<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers[name].to_str().unwrap()
    }

    #[test]
    fn an_unknown_peer_is_the_whole_chain() {
        let mut headers = HeaderMap::new();
        all().write_received(&mut headers, &received(ClientIp::from_peer("192.0.2.1:4711".parse().unwrap(), 64)));
        assert_eq!(get(&headers, "x-forwarded-for"), "192.0.2.1");
        assert_eq!(get(&headers, "x-forwarded-proto"), "http");
        assert_eq!(get(&headers, "x-forwarded-host"), "api.example:8080");
        assert_eq!(get(&headers, "forwarded"), "for=192.0.2.1;host=\"api.example:8080\";proto=http");
        assert_eq!(get(&headers, "via"), "1.1 gw");
    }

    #[test]
    fn a_believed_chain_is_continued_with_the_peer() {
        let client = ClientIp::behind_trusted("10.0.0.1:1".parse().unwrap(), "203.0.113.9".parse().unwrap(), 64);
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9, 10.0.0.2"));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        headers.insert(VIA, HeaderValue::from_static("2 edge"));
        all().write_received(&mut headers, &received(client));
        assert_eq!(get(&headers, "x-forwarded-for"), "203.0.113.9, 10.0.0.2, 10.0.0.1");
        assert_eq!(get(&headers, "x-forwarded-proto"), "https");
        assert_eq!(get(&headers, "via"), "2 edge, 1.1 gw");
    }

    #[test]
    fn an_address_from_another_field_begins_the_chain() {
        let client = ClientIp::behind_trusted("10.0.0.1:1".parse().unwrap(), "203.0.113.9".parse().unwrap(), 64);
        let mut headers = HeaderMap::new();
        all().write_received(&mut headers, &received(client));
        assert_eq!(get(&headers, "x-forwarded-for"), "203.0.113.9, 10.0.0.1");
    }

    #[test]
    fn an_address_is_written_as_it_always_is() {
        for text in
            ["0.0.0.0", "1.2.3.4", "10.20.30.40", "127.0.0.1", "192.168.100.209", "255.255.255.255", "2001:db8::1"]
        {
            assert_eq!(address_value(text.parse().unwrap()), text);
        }
        for octet in 0..=255 {
            let address = std::net::Ipv4Addr::new(octet, 1, octet, octet);
            assert_eq!(address_value(address.into()), address.to_string());
        }
    }

    #[test]
    fn an_ipv6_peer_is_bracketed_and_quoted_in_forwarded_only() {
        let mut headers = HeaderMap::new();
        all().write_received(&mut headers, &received(ClientIp::from_peer("[2001:db8::1]:1".parse().unwrap(), 64)));
        assert_eq!(get(&headers, "x-forwarded-for"), "2001:db8::1");
        assert!(get(&headers, "forwarded").starts_with("for=\"[2001:db8::1]\";"));
    }

    #[test]
    fn a_loop_is_seen_in_any_member_of_any_line() {
        let own = Pseudonym::new("gw").unwrap();
        let via = |lines: &[&'static str]| {
            lines.iter().map(|line| (VIA, HeaderValue::from_static(line))).collect::<HeaderMap>()
        };
        assert!(is_loop(&via(&["1.1 gw"]), &own));
        let mut two = via(&["1.0 fred"]);
        two.append(VIA, HeaderValue::from_static("HTTP/2 other,  1.1   gw (comment)"));
        assert!(is_loop(&two, &own));
        assert!(!is_loop(&via(&["1.1 gw2, 1.1 agw, gw 1.1"]), &own));
        assert!(!is_loop(&HeaderMap::new(), &own));
    }

    #[test]
    fn via_says_what_the_request_was_received_over() {
        let own = Pseudonym::new("gw").unwrap();
        assert_eq!(own.member(Version::HTTP_10), "1.0 gw");
        assert_eq!(own.member(Version::HTTP_2), "2 gw");
    }

    #[test]
    fn a_pseudonym_is_a_token() {
        assert!(Pseudonym::new("").is_none());
        assert!(Pseudonym::new("a b").is_none());
        assert!(Pseudonym::new("gateway-1.example").is_some());
        assert!(Pseudonym::of_process().name().starts_with(b"tower-gateway-"));
    }
}
