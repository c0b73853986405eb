//! The walk along the addresses that proxies have appended, from the one that is known to the one that is believed.

use std::net::{IpAddr, Ipv6Addr};

use super::CidrSet;

/// Entries looked at in one request: more proxies than any chain has, fewer than a head has room for.
pub(super) const MAX_HOPS: usize = 64;

/// One entry that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop<'a> {
    pub(super) address: IpAddr,
    /// The entry as it was written.
    pub(super) written: &'a [u8],
}

/// The entries that are believed, nearest first: trusted proxies, and the client as the last of them.
///
/// `entries` come from the right, the peer's own first. Each is believed because the one before it, or the peer, is
/// trusted and wrote it; the first that is not trusted is where belief ends, and so is one that names no address.
pub(super) fn believed_hops<'a>(
    entries: impl Iterator<Item = &'a [u8]>,
    address_of: impl Fn(&[u8]) -> Option<IpAddr>,
    trusted: &CidrSet,
) -> Vec<Hop<'a>> {
    let mut hops = Vec::new();
    for written in entries.take(MAX_HOPS) {
        let Some(address) = address_of(written) else { break };
        hops.push(Hop { address, written });
        if !trusted.contains(address) {
            break;
        }
    }
    hops
}

/// An entry of `X-Forwarded-For`, which no RFC describes: an address as products write it, IPv4 or IPv6, either with a
/// port, IPv6 with brackets or without.
pub(super) fn address_in_entry(entry: &[u8]) -> Option<IpAddr> {
    let entry = trim(entry);
    if entry.starts_with(b"[") {
        let (address, rest) = address_in_brackets(entry)?;
        let well_formed = rest.is_empty() || rest.strip_prefix(b":").and_then(number).is_some();
        return well_formed.then_some(address);
    }
    let text = ascii(entry)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (v4, port) = text.split_once(':')?;
    number(port.as_bytes())?;
    v4.parse().ok().map(IpAddr::V4)
}

/// The address in `[2001:db8::1]`, and what follows the bracket.
pub(super) fn address_in_brackets(text: &[u8]) -> Option<(IpAddr, &[u8])> {
    let inner = text.strip_prefix(b"[")?;
    let end = inner.iter().position(|byte| *byte == b']')?;
    let address: Ipv6Addr = ascii(&inner[..end])?.parse().ok()?;
    Some((address.to_canonical(), &inner[end + 1..]))
}

/// A port: one to five digits, at most 65535. `str::parse` would take a sign as well.
pub(super) fn number(port: &[u8]) -> Option<u16> {
    let digits = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    digits.then(|| ascii(port)?.parse().ok()).flatten()
}

/// Without the optional white space around it (RFC 9110 section 5.6.3).
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

pub(super) fn ascii(text: &[u8]) -> Option<&str> {
    text.is_ascii().then(|| std::str::from_utf8(text).ok()).flatten()
}

#[cfg(test)]
mod tests;
