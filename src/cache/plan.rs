//! What becomes of the origin's answer.

mod recorder;
mod settling;
mod storing;
mod updates;

use std::sync::Arc;

use http::header::HeaderMap;
use http::{Method, Request, Response, StatusCode, Uri, response};
use http_body::Body;

use self::settling::is_shareable;
use super::answer::{self, appends_to};
use super::ask::Ask;
use super::body::CacheBody;
use super::decision::Asking;
use super::flight::Lead;
use super::found::Found;
use super::policy::validation::{self, Meant};
use super::settings::Settings;
use super::status::{Forward, Handling};
use super::store::CacheStore;
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
}
