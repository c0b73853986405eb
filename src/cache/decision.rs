//! What is done about a request, by what is stored for it.

use std::sync::Arc;

use http::header::{ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};

use super::ask::Ask;
use super::entry::{Entry, StoredHead};
use super::found::Found;
use super::policy::range::{self, Answer};
use super::policy::reuse::{self, Reuse};
use super::policy::vary::Nominated;
use super::policy::{conditional, validation, vary};
use super::purge::Verdict;
use super::record::Record;
use super::settings::Settings;
use super::status::Forward;
use crate::CacheOutcome;

pub(super) enum Decision {
    /// It is answered with this, of this age.
    Serve(Found, u64, CacheOutcome),
    /// So too, and what is stored is asked about in the background.
    ServeAndRefresh(Found, u64, Asking),
    /// Nothing is stored for it, and it wants nothing else.
    NotCached,
    /// The origin is asked.
    Forward(Asking),
}

/// What the origin is asked, and about what.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) forward: Forward,
    /// What is stored under the key.
    pub(super) base: Option<Arc<Record>>,
    /// The responses whose validators are sent, that which fits the request first.
    pub(super) about: Vec<Entry>,
    /// The one that fits, which may stand in when the origin fails.
    pub(super) fitting: Option<Entry>,
    /// The beginning of a response whose rest is asked for.
    pub(super) completing: Option<Entry>,
}

impl Asking {
    pub(super) fn plain(forward: Forward, base: Option<Arc<Record>>) -> Self {
        Self { forward, base, about: Vec::new(), fitting: None, completing: None }
    }

    /// Makes `request` ask that.
    pub(super) fn put_into(&self, request: &mut HeaderMap) {
        if !self.about.is_empty() {
            validation::ask(request, self.about.iter().map(|entry| &entry.head.headers));
        }
        if let Some(entry) = &self.completing
            && let Some(part) = &entry.head.part
            && let Some(tag) = entry.head.headers.get(ETAG)
            && let Ok(rest) = HeaderValue::try_from(format!("bytes={}-", part.last + 1))
        {
            request.insert(RANGE, rest);
            request.insert(IF_RANGE, tag.clone());
        }
    }
}

impl<St> Settings<St> {
    /// The stored response that answers the request as it is, and its age.
    pub(super) fn fresh<'a>(&self, record: &'a Record, ask: &Ask, request: &HeaderMap) -> Option<(&'a Entry, u64)> {
        if ask.for_the_origin {
            return None;
        }
        let entry = self.whole(record, request)?;
        let age = self.age_of(&entry.head, ask.now, self.is_purged(&entry.head));
        (reuse::decide(&entry.head.terms, age, &ask.directives) == Reuse::Fresh).then_some((entry, age))
    }

    /// The newest whole response that fits a request.
    fn whole<'a>(&self, record: &'a Record, request: &HeaderMap) -> Option<&'a Entry> {
        let mut entries = record.variants.iter().filter(|entry| entry.head.part.is_none() && self.is_usable(entry));
        entries.find(|entry| vary::matches(&entry.head.vary, request))
    }

    fn is_usable(&self, entry: &Entry) -> bool {
        self.shared.purges.verdict(&entry.head) != Verdict::Gone
    }

    pub(super) fn decide(&self, record: Option<Arc<Record>>, ask: &Ask, request: &HeaderMap) -> Decision {
        let Some(record) = record else {
            return self.forward(ask, Asking::plain(Forward::UriMiss, None));
        };
        if ask.for_the_origin {
            return self.forward(ask, Asking::plain(Forward::Request, Some(record)));
        }
        let usable = |entry: &&Entry| self.is_usable(entry);
        if let Some(entry) = self.whole(&record, request) {
            return self.decide_on(&record, entry, ask);
        }
        let partial = record.fitting(request).filter(usable).find(|entry| entry.head.part.is_some());
        if let Some(entry) = partial
            && let Some(decision) = self.decide_on_part(&record, entry, ask, request)
        {
            return decision;
        }
        let fits_another = record.variants.iter().any(|entry| usable(&entry));
        if !fits_another {
            return self.forward(ask, Asking::plain(Forward::UriMiss, Some(record)));
        }
        let forward = if partial.is_some() { Forward::Partial } else { Forward::VaryMiss };
        let mut asking = Asking::plain(forward, None);
        // The client's own conditions are about what it has, and so is a range.
        if !ask.if_modified && !ask.is_head && ask.range.is_none() {
            let tagged = |entry: &&Entry| entry.head.part.is_none() && entry.head.headers.contains_key(ETAG);
            asking.about = record.variants.iter().filter(usable).filter(tagged).cloned().collect();
        }
        asking.base = Some(record);
        self.forward(ask, asking)
    }

    fn decide_on(&self, record: &Arc<Record>, entry: &Entry, ask: &Ask) -> Decision {
        let age = self.age_of(&entry.head, ask.now, self.is_purged(&entry.head));
        let reuse = reuse::decide(&entry.head.terms, age, &ask.directives);
        match reuse {
            Reuse::Fresh => Decision::Serve(entry.into(), age, CacheOutcome::Hit),
            Reuse::Stale => Decision::Serve(entry.into(), age, CacheOutcome::Stale),
            Reuse::WhileRevalidating => {
                Decision::ServeAndRefresh(entry.into(), age, self.ask_about(record, entry, ask, Forward::Stale))
            }
            Reuse::Expired => self.forward(ask, self.ask_about(record, entry, ask, Forward::Stale)),
            Reuse::Unwanted => self.forward(ask, self.ask_about(record, entry, ask, Forward::Request)),
        }
    }

    /// About the entry that fits, and about those of the other variants that have a tag: one of them may be the answer
    /// (RFC 9111 section 4.3.1).
    fn ask_about(&self, record: &Arc<Record>, entry: &Entry, ask: &Ask, forward: Forward) -> Asking {
        let mut about = Vec::new();
        // A HEAD is passed on as it is: its answer updates what is stored by itself.
        if !ask.is_head && validation::has_validator(&entry.head.headers) {
            let others = record.variants.iter().filter(|other| {
                !Arc::ptr_eq(&other.head, &entry.head)
                    && other.head.part.is_none()
                    && other.head.headers.contains_key(ETAG)
                    && self.is_usable(other)
            });
            about = std::iter::once(entry).chain(others).cloned().collect();
        }
        Asking { forward, base: Some(record.clone()), about, fitting: Some(entry.clone()), completing: None }
    }

    fn decide_on_part(&self, record: &Arc<Record>, entry: &Entry, ask: &Ask, request: &HeaderMap) -> Option<Decision> {
        let part = entry.head.part.as_ref()?;
        let age = self.age_of(&entry.head, ask.now, self.is_purged(&entry.head));
        let is_fresh = reuse::decide(&entry.head.terms, age, &ask.directives) == Reuse::Fresh;
        match ask.range {
            Some(wanted) if is_fresh && conditional::range_applies(request, &entry.head.headers) => {
                let answers = range::within_part(wanted, part) != Answer::Unknown;
                answers.then(|| Decision::Serve(entry.into(), age, CacheOutcome::Hit))
            }
            // The rest of what is there from the first byte on. Its tag sees to it that it is the rest of the same.
            None if !ask.is_head && !ask.if_modified && part.first == 0 && !ask.directives.no_cache => {
                conditional::strong_tag(&entry.head.headers)?;
                let mut asking = Asking::plain(Forward::Partial, Some(record.clone()));
                asking.completing = Some(entry.clone());
                Some(self.forward(ask, asking))
            }
            _ => None,
        }
    }

    fn is_purged(&self, head: &StoredHead) -> bool {
        self.shared.purges.verdict(head) == Verdict::Stale
    }

    fn forward(&self, ask: &Ask, asking: Asking) -> Decision {
        if ask.directives.only_if_cached { Decision::NotCached } else { Decision::Forward(asking) }
    }

    /// The flight that a request may join: that of its key, and of what it says in the fields that stored responses, or the
    /// one that did not fit, were chosen by.
    pub(super) fn flight_key(
        &self,
        ask: &Ask,
        base: Option<&Record>,
        other: Option<&StoredHead>,
        request: &HeaderMap,
    ) -> String {
        let mut key = ask.key.as_str().to_owned();
        let known = base.and_then(|record| record.variants.first()).map(|entry| &*entry.head);
        let nominated: &[Nominated] = other.or(known).map_or(&[], |head| &head.vary);
        for field in vary::again(nominated, request) {
            key.push_str("\nvary ");
            for byte in field.value.as_deref().unwrap_or(b"\0") {
                key.push(char::from(*byte));
            }
        }
        key
    }
}
