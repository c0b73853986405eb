//! How an answer is stored while it is passed on, and told to those who wait for it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue};
use http::{Response, StatusCode, response};
use http_body::Body;

use super::Plan;
use super::recorder::Recorder;
use super::settling::{content_length, is_shareable};
use crate::body::ResponseBody;
use crate::cache::answer::{self, appends_to};
use crate::cache::body::CacheBody;
use crate::cache::entry::{Entry, StoredBody, StoredHead};
use crate::cache::flight::Lead;
use crate::cache::found::{Found, FoundBody};
use crate::cache::policy::{conditional, range};
use crate::cache::status::Handling;
use crate::cache::store::CacheStore;
use crate::cache::stream::{FromBody, Reader, Stream};
use crate::{BoxError, CacheOutcome};

impl<St: CacheStore> Plan<St> {
    pub(super) fn store_while_passing<R>(
        self,
        head: StoredHead,
        mut parts: response::Parts,
        body: R,
    ) -> Response<answer::Body<R>>
    where
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let length = content_length(&parts.headers).or_else(|| body.size_hint().exact());
        let appends = head.has_status;
        let ttl =
            i64::try_from(head.terms.lifetime).unwrap_or(i64::MAX).saturating_sub_unsigned(head.times.initial_age);
        let handling = Handling {
            forward: Some(self.asking.forward),
            ttl: Some(ttl),
            stored: true,
            ..Handling::of(CacheOutcome::Miss)
        };
        self.tell(&mut parts.headers, handling, appends);
        let body = if body.is_end_stream() {
            self.store_now(head, Vec::new());
            CacheBody::inner(body)
        } else {
            CacheBody::arriving(self.record(head, Vec::new(), FromBody::new(body), length))
        };
        Response::from_parts(parts, ResponseBody::inner(body))
    }

    /// A reader of a body that is stored as it is read, and shared where it may be.
    fn record<R>(mut self, head: StoredHead, first: Vec<Bytes>, source: FromBody<R>, length: Option<u64>) -> Reader
    where
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let settings = self.settings.clone();
        let head = Arc::new(head);
        let lead = if is_shareable(&head) { self.lead.take() } else { None };
        self.release_followers();
        let sharing = lead.as_ref().map(Lead::sharing);
        let recorder = Recorder::new(settings.clone(), head.clone(), self.asking.base.take(), self.ask.range, lead);
        let (limit, abandoned) = (settings.max_body, settings.when_abandoned);
        let (stream, reader) =
            Stream::open(first, Box::pin(source), length, limit, Some(Box::new(recorder)), abandoned);
        if let Some(sharing) = sharing {
            settings.shared.uncacheable.forget(self.ask.key.as_str());
            sharing.share(Found { head, body: FoundBody::Arriving(stream) });
        }
        reader
    }

    fn store_now(mut self, head: StoredHead, chunks: Vec<Bytes>) {
        let entry = Entry { head: Arc::new(head), body: StoredBody::new(chunks, None) };
        self.put(&entry);
        if is_shareable(&entry.head) {
            self.share(Found::from(&entry));
        } else {
            self.release_followers();
        }
    }

    pub(super) fn put(&self, entry: &Entry) {
        let (settings, base) = (self.settings.clone(), self.asking.base.clone());
        Recorder::new(settings, entry.head.clone(), base, self.ask.range, None).put(entry.clone());
    }

    pub(super) fn share(&mut self, found: Found) {
        if let Some(lead) = self.lead.take() {
            self.settings.shared.uncacheable.forget(self.ask.key.as_str());
            lead.sharing().share(found);
        }
    }

    /// Nothing is to be shared: those who wait are told at once, and for a while nobody waits again.
    pub(super) fn release_followers(&mut self) {
        if let Some(lead) = self.lead.take() {
            let settings = &self.settings;
            settings.shared.uncacheable.remember(self.ask.key.as_str(), settings.clock.now(), settings.uncacheable_for);
            lead.release();
        }
    }

    /// The beginning that is stored and the rest that has come, as one.
    pub(super) fn complete<R>(
        mut self,
        prefix: &Entry,
        mut parts: response::Parts,
        body: R,
    ) -> Response<answer::Body<R>>
    where
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let joined = prefix.head.part.as_ref().zip(range::of_response(&parts.headers)).and_then(|(one, two)| {
            let same = conditional::strong_tag(&prefix.head.headers) == conditional::strong_tag(&parts.headers);
            let follows = two.first == one.last + 1;
            range::joined(one, &two).filter(|joined| same && follows && range::is_whole(joined))
        });
        let Some(whole) = joined else {
            self.release_followers();
            return self.refusal(206);
        };
        parts.status = StatusCode::OK;
        parts.headers.remove(CONTENT_RANGE);
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.length()));
        let appends = appends_to(&parts.headers);
        let head =
            self.head_of(parts.status, parts.headers.clone()).filter(|_| whole.length() <= self.settings.max_body);
        let forward = Some(self.asking.forward);
        let stored = head.is_some();
        let handling = Handling { forward, forward_status: Some(206), stored, ..Handling::of(CacheOutcome::Miss) };
        self.tell(&mut parts.headers, handling, appends);
        let first = prefix.body.chunks.to_vec();
        let source = FromBody::new(body);
        let reader = match head {
            Some(head) => self.record(head, first, source, Some(whole.length())),
            None => {
                self.release_followers();
                let (limit, abandoned) = (self.settings.max_body, self.settings.when_abandoned);
                Stream::open(first, Box::pin(source), Some(whole.length()), limit, None, abandoned).1
            }
        };
        Response::from_parts(parts, ResponseBody::inner(CacheBody::arriving(reader)))
    }
}
