//! What of a request the cache decides by.

use std::time::Instant;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request};

use super::key::{Key, Target};
use super::policy::directives::RequestDirectives;
use super::policy::invalidation;
use super::policy::range::{self, Wanted};
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
        let (headers, has) = (request.headers(), Present::of(request.headers()));
        if !settings.gate.applies(request) || has.switches_protocols() {
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
        if matches!(*method, Method::OPTIONS | Method::TRACE) || (invalidation::is_safe(method) && has.body(headers)) {
            return Self::Bypass;
        }
        let is_authenticated = context.is_some_and(|context| context.identity().is_some());
        let target = Target::of(request.uri(), headers, context);
        let ask = Ask {
            key: settings.keys.key(&target, &Head::of(request), subject),
            is_head: *method == Method::HEAD,
            directives: if settings.heeds_clients && has.directives {
                RequestDirectives::of(headers)
            } else {
                RequestDirectives::default()
            },
            authorized: !is_authenticated && has.authorization,
            range: if has.range && *method == Method::GET { range::of_request(headers) } else { None },
            if_modified: has.if_modified,
            for_the_origin: has.for_the_origin,
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

/// What the fields of a request are about, by their names: one walk over them in the place of a look-up for each that matters.
#[derive(Default)]
struct Present {
    upgrade: bool,
    connection: bool,
    transfer_encoding: bool,
    content_length: bool,
    /// `Cache-Control`, or `Pragma` in its place.
    directives: bool,
    authorization: bool,
    range: bool,
    /// Conditions that ask for no more than a 304.
    if_modified: bool,
    /// Conditions that only the origin can evaluate (RFC 9111 section 4.3.2).
    for_the_origin: bool,
}

impl Present {
    fn of(headers: &HeaderMap) -> Self {
        let mut own = Self::default();
        for name in headers.keys() {
            match *name {
                UPGRADE => own.upgrade = true,
                CONNECTION => own.connection = true,
                TRANSFER_ENCODING => own.transfer_encoding = true,
                CONTENT_LENGTH => own.content_length = true,
                CACHE_CONTROL | PRAGMA => own.directives = true,
                AUTHORIZATION => own.authorization = true,
                RANGE => own.range = true,
                IF_NONE_MATCH | IF_MODIFIED_SINCE => own.if_modified = true,
                IF_MATCH | IF_UNMODIFIED_SINCE => own.for_the_origin = true,
                _ => {}
            }
        }
        own
    }

    /// A handshake for another protocol: its answer is not one to keep.
    fn switches_protocols(&self) -> bool {
        self.upgrade && self.connection
    }

    /// A body whose meaning nobody has defined for these methods, and which is not read here, may decide on the answer.
    fn body(&self, headers: &HeaderMap) -> bool {
        self.transfer_encoding
            || (self.content_length && headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0"))
    }
}
