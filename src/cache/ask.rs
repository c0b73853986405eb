//! What of a request the cache decides by.

use std::time::Instant;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, PRAGMA, RANGE, TRANSFER_ENCODING, UPGRADE,
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
    Unsafe,
    /// It may be answered from the store.
    Lookup,
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

/// A request, before it is known what the cache has to do with it.
pub(super) struct Seen<'a> {
    head: Head<'a>,
    pub(super) context: Option<&'a RequestContext>,
    present: Present<'a>,
}

impl<'a> Seen<'a> {
    pub(super) fn of<B>(request: &'a Request<B>) -> Self {
        let context = request.extensions().get();
        Self { head: Head::of(request), context, present: Present::of(request.headers()) }
    }

    pub(super) fn class<St>(&self, settings: &Settings<St>) -> Class {
        let method = self.head.method();
        if *method == Method::CONNECT || self.present.switches_protocols() {
            return Class::Untouched;
        }
        let is_safe = invalidation::is_safe(method);
        if is_safe && self.subject(settings).is_none() {
            return Class::Bypass;
        }
        let passes_by = self.present.body() || self.present.is_nowhere;
        if matches!(*method, Method::OPTIONS | Method::TRACE) || (is_safe && passes_by) {
            return Class::Bypass;
        }
        if is_safe { Class::Lookup } else { Class::Unsafe }
    }

    /// The request without its context, which is not needed to answer it at once.
    pub(super) fn ask<St>(&self, settings: &Settings<St>) -> Ask {
        let (headers, method, present) = (self.head.headers(), self.head.method(), &self.present);
        let subject = self.subject(settings);
        let is_authenticated = self.context.is_some_and(|context| context.identity().is_some());
        let target = Target::new(self.head.uri(), present.host, self.context);
        Ask {
            key: settings.keys.key(&target, &self.head, subject.flatten()),
            is_head: *method == Method::HEAD,
            directives: if settings.heeds_clients && present.directives {
                RequestDirectives::of(headers)
            } else {
                RequestDirectives::default()
            },
            authorized: !is_authenticated && present.authorization,
            range: if present.range && *method == Method::GET { range::of_request(headers) } else { None },
            if_modified: present.if_modified,
            for_the_origin: present.for_the_origin,
            // Whoever writes and is to pass by: what is stored is no longer so, and the answer is not stored.
            stores: subject.is_some(),
            context: None,
            now: settings.clock.now(),
        }
    }

    /// Whom answers are kept apart for, if anybody. `None` when the request is to pass by.
    fn subject<St>(&self, settings: &Settings<St>) -> Option<Option<&'a Identity>> {
        let Some(identity) = self.context.and_then(RequestContext::identity) else { return Some(None) };
        match settings.authenticated {
            Authenticated::Skip => None,
            Authenticated::PerSubject => identity.subject().map(|_| Some(identity)),
            Authenticated::Shared => Some(None),
        }
    }
}

/// What the fields of a request are about, by their names: one walk over them in the place of a look-up for each that matters.
#[derive(Default)]
struct Present<'a> {
    host: Option<&'a str>,
    /// Its `Host` is one that two readers may take for two places: an origin may answer for another one than the key is of.
    is_nowhere: bool,
    content_length: Option<&'a HeaderValue>,
    upgrade: bool,
    connection: bool,
    transfer_encoding: bool,
    /// `Cache-Control`, or `Pragma` in its place.
    directives: bool,
    authorization: bool,
    range: bool,
    /// Conditions that ask for no more than a 304.
    if_modified: bool,
    /// Conditions that only the origin can evaluate (RFC 9111 section 4.3.2).
    for_the_origin: bool,
}

impl<'a> Present<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut own = Self::default();
        for (name, value) in headers {
            match *name {
                HOST => {
                    own.is_nowhere |= own.host.is_some();
                    own.host = value.to_str().ok();
                    own.is_nowhere |= own.host.is_none();
                }
                UPGRADE => own.upgrade = true,
                CONNECTION => own.connection = true,
                TRANSFER_ENCODING => own.transfer_encoding = true,
                CONTENT_LENGTH => own.content_length = own.content_length.or(Some(value)),
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
    fn body(&self) -> bool {
        self.transfer_encoding || self.content_length.is_some_and(|length| length != "0")
    }
}
