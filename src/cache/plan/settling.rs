//! Whether an answer may be stored, and all that is settled about it when it is.

use http::header::{CONTENT_LENGTH, HeaderMap, SET_COOKIE};
use http::{Method, StatusCode, response};
use http_body::Body;

use super::Plan;
use crate::cache::entry::{StoredHead, Times, unix_seconds};
use crate::cache::key::Target;
use crate::cache::policy::directives::ResponseDirectives;
use crate::cache::policy::reuse::Terms;
use crate::cache::policy::storable::{self, Asked};
use crate::cache::policy::{fields, freshness, range, validation, vary};
use crate::cache::store::CacheStore;

impl<St: CacheStore> Plan<St> {
    /// The head that is stored, when the response may be.
    pub(super) fn storable<R>(&self, parts: &response::Parts, body: &R) -> Option<StoredHead>
    where
        R: Body,
    {
        let length = content_length(&parts.headers).unwrap_or(0).max(body.size_hint().lower());
        // A HEAD has no content to store: what its answer says of the GET's is learnt elsewhere.
        if length > self.settings.max_body || self.method == Method::HEAD {
            return None;
        }
        // Nothing came of what was announced.
        if body.is_end_stream() && (length > 0 || parts.status == StatusCode::PARTIAL_CONTENT) {
            return None;
        }
        let head = self.head_of(parts.status, parts.headers.clone())?;
        let outdated = self.settings.shared.purges.outdated(head.key.uri(), head.times.requested);
        (!outdated).then_some(head)
    }

    /// The head of a response that may be stored, and is of use when it is.
    pub(super) fn head_of(&self, status: StatusCode, headers: HeaderMap) -> Option<StoredHead> {
        let (head, storable) = self.settled(status, headers);
        let terms = &head.terms;
        let can_be_served = head.times.initial_age < terms.lifetime.saturating_add(terms.stale_window());
        let of_use = (can_be_served && !terms.always_validate) || validation::has_validator(&head.headers);
        (storable && of_use).then_some(head)
    }

    /// A head with all that is settled about it, and whether it may be stored.
    pub(super) fn settled(&self, status: StatusCode, mut headers: HeaderMap) -> (StoredHead, bool) {
        let settings = &self.settings;
        let directives = ResponseDirectives::of(&headers);
        let (received, date) = (settings.clock.now(), settings.clock.wall());
        let lifetime = freshness::lifetime(status, &headers, &directives, unix_seconds(date), &settings.defaults);
        let target = Target::of(&self.uri, &self.request, self.ask.context.as_ref());
        let asked = Asked {
            method: if self.method == Method::HEAD { &Method::GET } else { &self.method },
            uri: &self.uri,
            host: target.host,
            directives: self.ask.directives,
            authorized: self.ask.authorized,
        };
        let storable = self.ask.stores
            && !self.ask.for_the_origin
            && storable::check(&asked, status, &headers, &directives, lifetime, settings.stores_set_cookie).is_ok();
        fields::strip_unstored(&mut headers);
        let times = Times::now(&headers, self.ask.now, received, date);
        let (window, on_error) = (settings.stale_while_revalidate, settings.stale_if_error);
        let terms = Terms::new(lifetime.seconds(), &directives, window, on_error);
        let part = if status == StatusCode::PARTIAL_CONTENT { range::of_response(&headers) } else { None };
        let vary = vary::nominated(&headers, &self.request);
        (StoredHead::new(self.ask.key.clone(), status, headers, vary, terms, part, times), storable)
    }
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// True when others may be answered with it though it was not made for them.
pub(super) fn is_shareable(head: &StoredHead) -> bool {
    let fresh = head.times.initial_age < head.terms.lifetime && !head.terms.always_validate;
    fresh && head.part.is_none() && !head.headers.contains_key(SET_COOKIE)
}
