//! What becomes of the origin's answer.

mod recorder;
mod updates;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, SET_COOKIE};
use http::{Method, Request, Response, StatusCode, Uri, response};
use http_body::Body;

use self::recorder::Recorder;
use super::answer::{self, appends_to};
use super::ask::Ask;
use super::body::CacheBody;
use super::decision::Asking;
use super::entry::{Entry, StoredBody, StoredHead, Times, unix_seconds};
use super::flight::Lead;
use super::found::{Found, FoundBody};
use super::key::Target;
use super::policy::directives::ResponseDirectives;
use super::policy::fields;
use super::policy::freshness;
use super::policy::range;
use super::policy::reuse::Terms;
use super::policy::storable::{self, Asked};
use super::policy::validation::{self, Meant};
use super::policy::{conditional, vary};
use super::settings::Settings;
use super::status::{Forward, Handling};
use super::store::CacheStore;
use super::stream::{FromBody, Stream};
use crate::body::ResponseBody;
use crate::{BoxError, CacheOutcome, Head, Reason, Rejection};

/// A request that has gone on to the origin, and what is to be done when it is answered.
pub(super) struct Plan<St> {
    pub(super) settings: Arc<Settings<St>>,
    pub(super) ask: Ask,
    pub(super) asking: Asking,
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// The request's fields as the client sent them.
    pub(super) request: HeaderMap,
    pub(super) lead: Option<Lead>,
}

impl<St: CacheStore> Plan<St> {
    pub(super) fn new<B>(settings: Arc<Settings<St>>, ask: Ask, asking: Asking, request: &Request<B>) -> Box<Self> {
        Box::new(Self {
            settings,
            ask,
            asking,
            method: request.method().clone(),
            uri: request.uri().clone(),
            request: request.headers().clone(),
            lead: None,
        })
    }

    /// The answer to the client, once the inner service has answered or failed.
    pub(super) fn receive<R, E>(mut self, answered: Result<Response<R>, E>) -> Result<Response<answer::Body<R>>, E>
    where
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                self.release_followers();
                return self.stand_in(true, None).ok_or(error);
            }
        };
        let (mut parts, body) = response.into_parts();
        if parts.status.is_server_error()
            && let Some(instead) = self.stand_in(self.origin_is_dead(), Some(parts.status))
        {
            self.release_followers();
            return Ok(instead);
        }
        if parts.status == StatusCode::NOT_MODIFIED && !self.asking.about.is_empty() {
            return Ok(self.not_modified(parts));
        }
        if self.method == Method::HEAD {
            self.learn_from_head(&parts);
        }
        if let Some(prefix) = self.asking.completing.take()
            && parts.status == StatusCode::PARTIAL_CONTENT
        {
            return Ok(self.complete(&prefix, parts, body));
        }
        match self.storable(&parts, &body) {
            Some(head) => Ok(self.store_while_passing(head, parts, body)),
            None => {
                self.supersede(parts.status);
                self.release_followers();
                let appends = appends_to(&parts.headers);
                let forward = Some(self.asking.forward);
                let outcome = match self.asking.forward {
                    Forward::Method | Forward::Bypass => CacheOutcome::Bypass,
                    _ => CacheOutcome::Miss,
                };
                let handling = Handling { forward, ..Handling::of(outcome) };
                self.tell(&mut parts.headers, handling, appends);
                Ok(Response::from_parts(parts, ResponseBody::inner(CacheBody::inner(body))))
            }
        }
    }

    /// The same for a request that may have changed what is stored.
    pub(super) fn receive_unsafe<R, E>(
        mut self,
        answered: Result<Response<R>, E>,
    ) -> Result<Response<answer::Body<R>>, E>
    where
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (parts, body) = answered?.into_parts();
        self.invalidate(&parts);
        self.receive(Ok(Response::from_parts(parts, body)))
    }

    /// What is stored, in the place of an origin that has failed: it is dead, or answered with a `failure`.
    fn stand_in<R>(&self, origin_is_dead: bool, failure: Option<StatusCode>) -> Option<Response<answer::Body<R>>> {
        let entry = self.asking.fitting.as_ref()?;
        // RFC 5861 section 4: what counts as an error.
        if !origin_is_dead && !failure.is_some_and(|status| matches!(status.as_u16(), 500 | 502 | 503 | 504)) {
            return None;
        }
        let settings = &self.settings;
        let purged = settings.shared.purges.verdict(&entry.head) == super::purge::Verdict::Stale;
        let age = settings.age_of(&entry.head, settings.clock.now(), purged);
        let kept_if_dead = origin_is_dead.then_some(settings.keep_stale.as_secs());
        if !entry.head.terms.may_stand_in(age, &self.ask.directives, kept_if_dead) {
            return None;
        }
        if let Some(context) = &self.ask.context {
            context.discard_answer();
        }
        let forward_status = failure.map(|status| status.as_u16());
        let handling =
            Handling { forward: Some(self.asking.forward), forward_status, ..Handling::of(CacheOutcome::Stale) };
        settings.answer(&Found::from(entry), &self.ask, &self.request, age, handling)
    }

    /// The failure was made on the way to the origin, by whoever speaks to it here: no origin has answered.
    fn origin_is_dead(&self) -> bool {
        let context = self.ask.context.as_ref();
        context.is_some_and(|context| context.upstream_error().is_some() || context.rejection().is_some())
    }

    /// Stores what the origin says is still so, with the fields of its 304, and answers with it.
    fn not_modified<R>(mut self, parts: response::Parts) -> Response<answer::Body<R>> {
        let about = self.asking.about.iter().map(|entry| &entry.head.headers);
        let (entry, stored) = match validation::meant(&parts.headers, about) {
            Meant::Updated(index) => self.freshened(&self.asking.about[index], parts.headers),
            Meant::Unchanged(index) => (self.asking.about[index].clone(), false),
            Meant::Unknown => {
                // The client did not ask whether anything was modified, or not about this.
                self.release_followers();
                return self.refusal(304);
            }
        };
        let age = entry.head.times.age(self.settings.clock.now());
        let found = Found::from(&entry);
        if stored && is_shareable(&entry.head) {
            self.share(found.clone());
        } else {
            self.release_followers();
        }
        let handling = Handling {
            forward: Some(self.asking.forward),
            forward_status: Some(304),
            stored,
            ..Handling::of(CacheOutcome::Revalidated)
        };
        let answer = self.settings.answer(&found, &self.ask, &self.request, age, handling);
        // What is stored can always be read from its beginning.
        answer.unwrap_or_else(|| self.refusal(304))
    }

    fn tell(&self, headers: &mut HeaderMap, handling: Handling<'_>, appends: bool) {
        self.settings.tell(self.ask.context.as_ref(), Some(self.ask.key.as_str()), headers, handling, appends);
    }

    /// The origin has answered with this status what it was not asked.
    fn refusal<R>(&self, status: u16) -> Response<answer::Body<R>> {
        let mut head = Request::new(()).into_parts().0;
        head.method = self.method.clone();
        head.uri = self.uri.clone();
        head.headers = self.request.clone();
        let rejection = Rejection::new("cache", Reason::UpstreamInvalidResponse);
        let forward_status = Some(status);
        let handling =
            Handling { forward: Some(self.asking.forward), forward_status, ..Handling::of(CacheOutcome::Miss) };
        self.settings.refusal(&self.ask, Head::from(&head), rejection, handling)
    }

    /// The head that is stored, when the response may be.
    fn storable<R>(&self, parts: &response::Parts, body: &R) -> Option<StoredHead>
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
    fn head_of(&self, status: StatusCode, headers: HeaderMap) -> Option<StoredHead> {
        let (head, storable) = self.settled(status, headers);
        let terms = &head.terms;
        let can_be_served = head.times.initial_age < terms.lifetime.saturating_add(terms.stale_window());
        let of_use = (can_be_served && !terms.always_validate) || validation::has_validator(&head.headers);
        (storable && of_use).then_some(head)
    }

    /// A head with all that is settled about it, and whether it may be stored.
    fn settled(&self, status: StatusCode, mut headers: HeaderMap) -> (StoredHead, bool) {
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

    fn store_while_passing<R>(self, head: StoredHead, mut parts: response::Parts, body: R) -> Response<answer::Body<R>>
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
    fn record<R>(
        mut self,
        head: StoredHead,
        first: Vec<Bytes>,
        source: FromBody<R>,
        length: Option<u64>,
    ) -> super::stream::Reader
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

    fn put(&self, entry: &Entry) {
        let (settings, base) = (self.settings.clone(), self.asking.base.clone());
        Recorder::new(settings, entry.head.clone(), base, self.ask.range, None).put(entry.clone());
    }

    fn share(&mut self, found: Found) {
        if let Some(lead) = self.lead.take() {
            self.settings.shared.uncacheable.forget(self.ask.key.as_str());
            lead.sharing().share(found);
        }
    }

    /// Nothing is to be shared: those who wait are told at once, and for a while nobody waits again.
    fn release_followers(&mut self) {
        if let Some(lead) = self.lead.take() {
            let settings = &self.settings;
            settings.shared.uncacheable.remember(self.ask.key.as_str(), settings.clock.now(), settings.uncacheable_for);
            lead.release();
        }
    }

    /// The beginning that is stored and the rest that has come, as one.
    fn complete<R>(mut self, prefix: &Entry, mut parts: response::Parts, body: R) -> Response<answer::Body<R>>
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

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// True when others may be answered with it though it was not made for them.
fn is_shareable(head: &StoredHead) -> bool {
    let fresh = head.times.initial_age < head.terms.lifetime && !head.terms.always_validate;
    fresh && head.part.is_none() && !head.headers.contains_key(SET_COOKIE)
}
