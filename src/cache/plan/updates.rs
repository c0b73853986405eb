//! What answers change in what is stored, beside being stored themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::header::{DATE, HeaderMap, HeaderValue};
use http::{Method, StatusCode, response};

use super::Plan;
use crate::cache::entry::Entry;
use crate::cache::key::{Key, Target};
use crate::cache::policy::{fields, invalidation, validation};
use crate::cache::store::{CacheStore, Known};

impl<St: CacheStore> Plan<St> {
    /// `entry` with the fields of a 304, or of a HEAD; and whether it is stored so.
    pub(super) fn freshened(&self, entry: &Entry, mut update: HeaderMap) -> (Entry, bool) {
        // What came without a date came now (RFC 9110 section 6.6.1).
        if !update.contains_key(DATE)
            && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(self.settings.clock.wall()))
        {
            update.insert(DATE, now);
        }
        let mut headers = entry.head.headers.clone();
        fields::update(&mut headers, update);
        let (head, storable) = self.settled(entry.head.status, headers);
        let fresh = Entry { head: Arc::new(head), body: entry.body.clone() };
        if storable {
            self.put(&fresh);
        } else {
            self.forget(entry);
        }
        (fresh, storable)
    }

    /// RFC 9111 section 4.3.5: the answer to a HEAD updates what is stored for GET, or shows that it has changed.
    pub(super) fn learn_from_head(&self, parts: &response::Parts) {
        let Some(entry) = &self.asking.fitting else { return };
        if parts.status == entry.head.status && validation::describes(&parts.headers, &entry.head.headers) {
            self.freshened(entry, parts.headers.clone());
        } else if !parts.status.is_server_error() && parts.status != StatusCode::NOT_MODIFIED {
            self.forget(entry);
        }
    }

    /// A new answer that is not stored: what is stored for the same is the origin's word no longer.
    pub(super) fn supersede(&self, status: StatusCode) {
        let replaces = status == StatusCode::OK || status == StatusCode::NOT_FOUND || status == StatusCode::GONE;
        let for_all = !self.ask.authorized && !self.ask.directives.no_store && !self.ask.for_the_origin;
        if self.method == Method::GET
            && replaces
            && for_all
            && let Some(entry) = &self.asking.fitting
        {
            self.forget(entry);
        }
    }

    fn forget(&self, entry: &Entry) {
        let store = &self.settings.shared.store;
        let key = entry.head.key.as_str();
        let record = match store.now(key) {
            Known::Found(record) => record,
            Known::Nothing => return,
            Known::Ask => match &self.asking.base {
                Some(base) => base.clone(),
                None => return,
            },
        };
        match record.without(&entry.head) {
            None => store.remove(key),
            Some(rest) => {
                let keep = rest.keep(self.settings.clock.now());
                store.put(key, Arc::new(rest), keep);
            }
        }
    }

    /// RFC 9111 section 4.4: what an unsafe request that has succeeded takes with it.
    pub(super) fn invalidate(&mut self, parts: &response::Parts) {
        if !invalidation::has_happened(parts.status) {
            return;
        }
        let settings = &self.settings;
        let at = settings.clock.now();
        let target = Target::of(&self.uri, &self.request, self.ask.context.as_ref());
        self.invalidate_key(&self.ask.key, at);
        self.invalidate_key(&settings.keys.uri_key(&target), at);
        for path in invalidation::also_changed(&parts.headers, target.scheme, target.host, target.path) {
            self.invalidate_key(&settings.keys.uri_key(&target.with_path(&path)), at);
        }
        // Its own answer is newer than what it has changed.
        self.ask.now = at.checked_add(Duration::from_nanos(1)).unwrap_or(at);
    }

    fn invalidate_key(&self, key: &Key, at: Instant) {
        let shared = &self.settings.shared;
        shared.purges.invalidated(key.uri(), at);
        if shared.keys_add_to_uri.load(Ordering::Relaxed) {
            shared.purges.add_uri(key.uri(), at, false);
        }
        shared.flights.close(key.as_str());
        shared.store.remove(key.as_str());
    }
}
