//! From the request that came in to the request that goes out.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, Version, request};

use super::fields::strip_known_hop_by_hop;
use super::forwarding::{is_loop, remove_unbelieved};
use super::service::{HostPolicy, Settings};
use crate::aside::aside;
use crate::known::Known;
use crate::{Head, Reason, Rejection, RequestContext};

/// Rewrites the head of a request, which has the `known` fields, for the origin, or says why it goes to none.
pub(super) fn prepare(
    settings: &Settings,
    parts: &mut request::Parts,
    known: Known,
    context: Option<&RequestContext>,
) -> Result<(), Rejection> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        // A tunnel or an echo through a gateway would pass by every rule that it keeps (RFC 9110 section 17.18 on
        // TRACE, 9.3.6 on CONNECT).
        return Err(refuse(Reason::NotImplemented, "this method is not supported here"));
    }
    if let Some(own) = &settings.forwarding.via
        && known.any(Known::VIA)
        && is_loop(&parts.headers, own)
    {
        return Err(refuse(Reason::LoopDetected, "the request has passed this gateway before"));
    }
    let path = settings.path.apply(Head::from(&*parts));
    let Some(path) = path else { return Err(refuse(Reason::BadRequest, "the path cannot be forwarded")) };
    let names_host = settings.forwarding.names_host() || matches!(settings.host, HostPolicy::Client);
    let host = if names_host { host_of(parts) } else { None };

    strip_known_hop_by_hop(&mut parts.headers, known);
    // The client frames the body anew from its size hint; hyper has answered the expectation by the time it is read.
    if known.any(Known::CONTENT_LENGTH) {
        aside();
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    if known.any(Known::EXPECT) {
        aside();
        if expects_more_than_to_go_on(&parts.headers) {
            return Err(refuse(Reason::ExpectationFailed, "this expectation cannot be met"));
        }
        parts.headers.remove(header::EXPECT);
    }
    if let Some(stripped) = &settings.stripped {
        stripped.remove_from(&mut parts.headers);
    }
    // Credentials were for us; they go no further.
    if let Some(credentials) = context.and_then(RequestContext::credential_headers) {
        credentials.remove_from(&mut parts.headers);
    }
    if context.and_then(RequestContext::client_ip).is_none() {
        aside();
        remove_unbelieved(&mut parts.headers);
    }
    if settings.forwarding.writes() {
        settings.forwarding.write(&mut parts.headers, context, host.as_ref(), parts.version);
    }

    match &settings.host {
        HostPolicy::Upstream => drop(parts.headers.remove(header::HOST)),
        HostPolicy::Client => drop(host.map(|host| parts.headers.insert(header::HOST, host))),
        HostPolicy::Fixed(host) => drop(parts.headers.insert(header::HOST, host.clone())),
    }
    parts.uri = match &settings.origin {
        None => path.into(),
        Some(origin) => origin.uri(&path).ok_or_else(|| refuse(Reason::BadRequest, "the path cannot be rewritten"))?,
    };
    parts.version = Version::HTTP_11;
    Ok(())
}

/// The answer to an OPTIONS that may be forwarded no further (RFC 9110 section 7.6.2); one that may is counted down.
pub(super) fn final_recipient(parts: &mut request::Parts) -> Option<Response<Bytes>> {
    if parts.method != Method::OPTIONS {
        return None;
    }
    let hops = parts.headers.get(header::MAX_FORWARDS)?;
    let hops: u64 = hops.to_str().ok()?.parse().ok()?;
    match hops.checked_sub(1) {
        Some(left) => {
            parts.headers.insert(header::MAX_FORWARDS, HeaderValue::from(left));
            None
        }
        None => Some(Response::new(Bytes::new())),
    }
}

/// What the request is for: the authority of an absolute target (or of HTTP/2), which goes before Host (RFC 9112
/// section 3.2.2), without user info.
#[inline(never)]
fn host_of(parts: &request::Parts) -> Option<HeaderValue> {
    let Some(authority) = parts.uri.authority() else {
        return parts.headers.get(header::HOST).cloned();
    };
    let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    HeaderValue::from_str(host).ok()
}

#[cold]
fn refuse(reason: Reason, detail: &'static str) -> Rejection {
    Rejection::new("proxy", reason).detail(detail)
}

/// True when something is expected beside 100-continue, in a list or in a line of its own (RFC 9110 section 10.1.1).
#[inline(never)]
fn expects_more_than_to_go_on(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::EXPECT).into_iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.any(|member| !member.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}
