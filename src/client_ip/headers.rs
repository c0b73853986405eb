//! The headers that say who a client is: which one is believed, and what of them is left on the request.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use http::header::FORWARDED;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::forwarded::{self, Node};
use super::walk::{Hop, address_in_entry, ascii, believed_hops, number};
use crate::NameSet;
use crate::client_ip::CidrSet;
use crate::lines::Lines;
use crate::names::FORWARDING_NAMES;

/// The one header that is believed, from trusted proxies only.
///
/// A name is turned into what it stands for, as a configuration needs it:
///
/// ```
/// use http::HeaderName;
/// use tower_gateway::client_ip::ForwardingHeader;
///
/// assert_eq!(ForwardingHeader::from(HeaderName::from_static("forwarded")), ForwardingHeader::Forwarded);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`: a list of addresses, the nearest hop last.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): a list of elements, the nearest hop last.
    Forwarded,
    /// A header that holds one address, set by the nearest proxy whatever the client sent, such as `CF-Connecting-IP` or
    /// `X-Real-IP`.
    Single(HeaderName),
}

impl ForwardingHeader {
    /// The header's name.
    pub fn name(&self) -> &HeaderName {
        static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
        match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &FORWARDED,
            Self::Single(name) => name,
        }
    }
}

impl From<HeaderName> for ForwardingHeader {
    fn from(name: HeaderName) -> Self {
        match name.as_str() {
            "x-forwarded-for" => Self::XForwardedFor,
            "forwarded" => Self::Forwarded,
            _ => Self::Single(name),
        }
    }
}

/// The rule for a request's forwarding headers.
#[derive(Clone, Debug)]
pub(super) struct ForwardingHeaders {
    believed: ForwardingHeader,
    names: NameSet,
}

impl ForwardingHeaders {
    pub(super) fn believing(header: ForwardingHeader) -> Self {
        let known = FORWARDING_NAMES.into_iter().map(HeaderName::from_static);
        let names = known.chain([header.name().clone()]).collect();
        Self { believed: header, names }
    }

    /// From a peer that is not trusted nothing is left.
    pub(super) fn remove_all(&self, headers: &mut HeaderMap) {
        self.names.remove_from(headers);
    }

    /// The client that the trusted `peer` speaks for; what is not believed of what it says is removed.
    pub(super) fn believe(&self, headers: &mut HeaderMap, peer: IpAddr, trusted: &CidrSet) -> IpAddr {
        let (client, believed) = self.read(headers, trusted);
        let removed: Vec<_> = headers.keys().filter(|name| !self.leaves(name, headers)).cloned().collect();
        for name in removed {
            headers.remove(name);
        }
        match believed {
            Some(value) => drop(headers.insert(self.believed.name(), value)),
            None => drop(headers.remove(self.believed.name())),
        }
        client.unwrap_or(peer)
    }

    /// The client that the believed header names, and the part of its value that is believed.
    fn read(&self, headers: &HeaderMap, trusted: &CidrSet) -> (Option<IpAddr>, Option<HeaderValue>) {
        let lines = headers.get_all(self.believed.name()).iter();
        match &self.believed {
            ForwardingHeader::XForwardedFor => {
                let entries = lines.rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
                let hops = believed_hops(entries, address_in_entry, trusted);
                (client_of(&hops), joined(&hops, |hop, list| write!(list, "{}", hop.address)))
            }
            ForwardingHeader::Forwarded => {
                let elements = lines.rev().flat_map(|line| forwarded::elements_from_right(line.as_bytes()));
                let hops = believed_hops(elements, address_in_element, trusted);
                (client_of(&hops), joined(&hops, |hop, list| list.write_all(hop.written)))
            }
            ForwardingHeader::Single(name) => {
                let value = Lines::of(headers, name).only();
                let client = value.and_then(|value| address_in_entry(value.as_bytes()));
                (client, value.filter(|_| client.is_some()).cloned())
            }
        }
    }

    /// True when a trusted peer may send `name`: the believed header, and what goes with it.
    fn leaves(&self, name: &HeaderName, headers: &HeaderMap) -> bool {
        !self.names.contains(name)
            || name == self.believed.name()
            || (self.believed == ForwardingHeader::XForwardedFor && is_sane_companion(name, headers))
    }
}

/// The walk ends at the client.
fn client_of(hops: &[Hop<'_>]) -> Option<IpAddr> {
    hops.last().map(|client| client.address)
}

fn address_in_element(element: &[u8]) -> Option<IpAddr> {
    match forwarded::client_of(element) {
        Ok(Node::Address(address)) => Some(address),
        Ok(Node::Unknown | Node::Obfuscated) | Err(forwarded::Malformed) => None,
    }
}

/// The hops as a list, the nearest last again. None when there is none.
fn joined(hops: &[Hop<'_>], write: impl Fn(&Hop<'_>, &mut Vec<u8>) -> io::Result<()>) -> Option<HeaderValue> {
    let mut list = Vec::with_capacity(hops.iter().map(|hop| hop.written.len() + 2).sum());
    for hop in hops.iter().rev() {
        if !list.is_empty() {
            list.extend(b", ");
        }
        write(hop, &mut list).ok()?;
    }
    let list = Some(list).filter(|list| !list.is_empty())?;
    HeaderValue::from_maybe_shared(Bytes::from(list)).ok()
}

/// True for what a proxy that writes `X-Forwarded-For` writes besides, when it can mean one thing only.
fn is_sane_companion(name: &HeaderName, headers: &HeaderMap) -> bool {
    let is_sane: fn(&[u8]) -> bool = match name.as_str() {
        "x-forwarded-proto" => |proto| matches!(proto, b"http" | b"https"),
        "x-forwarded-host" => is_host,
        "x-forwarded-port" => |port| number(port).is_some_and(|port| port != 0),
        _ => return false,
    };
    Lines::of(headers, name).only().is_some_and(|value| is_sane(value.as_bytes()))
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2). User information in front of it is how one host is dressed as another.
fn is_host(text: &[u8]) -> bool {
    let Some(authority) = ascii(text).and_then(|text| text.parse::<Authority>().ok()) else { return false };
    let host = authority.host();
    let is_well_formed = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty(),
    };
    let Some(after_host) = authority.as_str().strip_prefix(host) else { return false };
    // What follows must be all port: `shop:80@shop` has its host in front as well.
    let port = after_host.strip_prefix(':');
    is_well_formed && (after_host.is_empty() || port.is_some_and(|port| number(port.as_bytes()).is_some()))
}

#[cfg(test)]
mod tests;
