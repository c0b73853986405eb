//! What of a request the cache decides by.

use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request};

use super::key::{Key, Target};
use super::policy::conditional;
use super::policy::directives::RequestDirectives;
use super::policy::invalidation;
use super::policy::range::{self, Wanted};
use super::policy::storable::Asked;
use super::settings::{Authenticated, Settings};
use crate::{Head, Identity, RequestContext};

/// What the cache has to do with a request.
pub(super) enum Class {
    /// Nothing at all: it is not told of.
    Untouched,
    /// It goes on to the origin and nothing is stored.
    Bypass,
    /// It may change what is stored.
    Unsafe(Ask),
    /// It may be answered from the store.
    Lookup(Ask),
}

/// A request, as the cache sees it.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) is_head: bool,
    pub(super) directives: RequestDirectives,
    /// `Authorization`, and nobody has stated who may have the answer.
    pub(super) authorized: bool,
    pub(super) range: Option<Wanted>,
    pub(super) if_modified: bool,
    pub(super) for_the_origin: bool,
    /// Its answer may be stored at all, by who asks.
    pub(super) stores: bool,
    pub(super) context: Option<RequestContext>,
    pub(super) now: Instant,
}

impl Class {
    pub(super) fn of<St, B>(settings: &Settings<St>, request: &Request<B>) -> Self {
        if !settings.gate.applies(request) || switches_protocols(request.headers()) {
            return Self::Untouched;
        }
        let method = request.method();
        if *method == Method::CONNECT {
            return Self::Untouched;
        }
        let context = request.extensions().get::<RequestContext>();
        let (subject, stores) = match subject(settings.authenticated, context) {
            Some(subject) => (subject, true),
            None if invalidation::is_safe(method) => return Self::Bypass,
            // Whoever writes, what is stored is no longer so.
            None => (None, false),
        };
        if matches!(*method, Method::OPTIONS | Method::TRACE)
            || (invalidation::is_safe(method) && has_body(request.headers()))
        {
            return Self::Bypass;
        }
        let is_authenticated = context.is_some_and(|context| context.identity().is_some());
        let target = Target::of(request.uri(), request.headers(), context);
        let headers = request.headers();
        let ask = Ask {
            key: settings.keys.key(&target, &Head::of(request), subject),
            is_head: *method == Method::HEAD,
            directives: if settings.heeds_clients {
                RequestDirectives::of(headers)
            } else {
                RequestDirectives::default()
            },
            authorized: !is_authenticated && Asked::has_authorization(headers),
            range: if *method == Method::GET { range::of_request(headers) } else { None },
            if_modified: conditional::asks_if_modified(headers),
            for_the_origin: conditional::is_for_the_origin(headers),
            stores,
            context: context.cloned(),
            now: settings.clock.now(),
        };
        if invalidation::is_safe(method) { Self::Lookup(ask) } else { Self::Unsafe(ask) }
    }
}

/// Whom answers are kept apart for, if anybody. `None` when the request is to pass by.
fn subject(rule: Authenticated, context: Option<&RequestContext>) -> Option<Option<&Identity>> {
    let Some(identity) = context.and_then(RequestContext::identity) else { return Some(None) };
    match rule {
        Authenticated::Skip => None,
        Authenticated::PerSubject => identity.subject().map(|_| Some(identity)),
        Authenticated::Shared => Some(None),
    }
}

/// A handshake for another protocol: its answer is not one to keep.
fn switches_protocols(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && headers.contains_key(CONNECTION)
}

/// A body whose meaning nobody has defined for these methods, and which is not read here, may decide on the answer.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}
