//! Hosts as they are compared: without port, in lower case, without the root's dot.

use std::borrow::Cow;

use http::header::HOST;

use crate::Head;

/// The host that a request is for. `None` where it names none that could be a route's.
#[inline(never)]
pub(super) fn of_request<'a>(head: Head<'a>) -> Option<Cow<'a, str>> {
    // An absolute target's authority goes before Host (RFC 9112 section 3.2.2).
    let authority = match head.uri().authority() {
        Some(authority) => authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host),
        None => head.headers().get(HOST)?.to_str().ok()?,
    };
    let host = match authority.rsplit_once(':') {
        // A colon within brackets is part of an IPv6 address.
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    normal(host)
}

/// The form in which hosts are compared. `None` for what is no host.
pub(super) fn normal(host: &str) -> Option<Cow<'_, str>> {
    // `example.com.` is the same name, written from the root (RFC 3986 section 3.2.2).
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    let upper = host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if upper { host.to_ascii_lowercase().into() } else { host.into() })
}

/// From the top-level domain down. An IPv6 address is one label, an IPv4 address four.
pub(super) fn labels(host: &str) -> impl Iterator<Item = &str> {
    host.rsplit('.')
}
