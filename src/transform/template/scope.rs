//! What a request has to fill a template in with.

use std::borrow::Cow;

use http::header::HOST;
use http::{HeaderValue, Uri};

use super::Field;
use crate::{Head, Identity, RequestContext, RequestId, RouteName};

/// The values of one request.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    context: Option<&'a RequestContext>,
    path: &'a str,
    query: Option<&'a str>,
    /// As the request says it, port and all.
    host: Option<&'a str>,
}

impl<'a> Scope<'a> {
    pub(crate) fn of(head: Head<'a>) -> Self {
        Self::new(head.context(), head.uri(), head.headers().get(HOST))
    }

    pub(crate) fn new(context: Option<&'a RequestContext>, uri: &'a Uri, host: Option<&'a HeaderValue>) -> Self {
        // An absolute target's authority goes before Host (RFC 9112 section 3.2.2).
        let host = match uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => host.and_then(|host| host.to_str().ok()),
        };
        Self { context, path: uri.path(), query: uri.query(), host }
    }

    pub(super) fn with_path(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    pub(super) fn get(&self, field: Field) -> Option<Cow<'a, str>> {
        let identity = || self.context.and_then(RequestContext::identity);
        match field {
            Field::Subject => identity().and_then(Identity::subject).map(Cow::Borrowed),
            Field::Role => identity().map(roles),
            Field::Plan => identity().and_then(Identity::plan).map(Cow::Borrowed),
            Field::ClientIp => self.context?.client_ip().map(|client| client.address().to_string().into()),
            Field::RequestId => self.context?.request_id().map(RequestId::as_str).map(Cow::Borrowed),
            Field::Route => self.context?.route().map(RouteName::as_str).map(Cow::Borrowed),
            Field::Path => Some(self.path).filter(|path| path.starts_with('/')).map(Cow::Borrowed),
            Field::Host => self.host.map(without_port),
            Field::Query => self.query.filter(|query| !query.is_empty()).map(|query| format!("?{query}").into()),
        }
    }
}

fn roles(identity: &Identity) -> Cow<'_, str> {
    let mut roles = identity.roles();
    match (roles.next(), roles.len()) {
        (None, _) => Cow::Borrowed(""),
        (Some(only), 0) => Cow::Borrowed(only),
        (Some(first), _) => {
            let mut all = first.to_owned();
            for role in roles {
                all.push(',');
                all.push_str(role);
            }
            all.into()
        }
    }
}

/// The host of an authority, without user information, port and upper case.
fn without_port(authority: &str) -> Cow<'_, str> {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.rsplit_once(':') {
        // A colon within brackets is part of an IPv6 address.
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { host.to_ascii_lowercase().into() } else { host.into() }
}
