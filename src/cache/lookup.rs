//! What is done about a request that what memory holds does not answer at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Request, Response};

use super::ask::Ask;
use super::decision::{Asking, Decision};
use super::entry::StoredHead;
use super::flight::{Boarding, Landing, Lead};
use super::found::Found;
use super::origin::Origin;
use super::plan::Plan;
use super::policy::reuse::{self, Reuse};
use super::policy::vary;
use super::record::Record;
use super::settings::Settings;
use super::status::{Forward, Handling};
use super::store::{CacheStore, Known};
use super::waiting::{Heard, Held, Waiting};
use super::{answer, background};
use crate::{CacheOutcome, Head};

/// An answer of the cache.
pub(super) type Answered<R> = Response<answer::Body<R>>;

/// A request, and the service that it would go on to.
pub(super) struct Lookup<'a, S, B, St> {
    pub(super) settings: &'a Arc<Settings<St>>,
    pub(super) inner: &'a mut S,
    pub(super) request: Request<B>,
    pub(super) ask: Ask,
    /// How often it has waited for others.
    pub(super) round: u8,
}

/// What comes of it.
pub(super) enum Next<'a, S, B, R, St: CacheStore> {
    Answer(Answered<R>),
    /// The origin is asked.
    Ask(&'a mut S, Request<B>, Box<Plan<St>>),
    Wait(Pin<Box<Waiting<S, B, St>>>),
}

/// What comes of the answer to another's request.
enum Joined<R> {
    Answer(Answered<R>),
    /// It is for others.
    Mismatched,
    /// Those that it was arriving for have left, and it with them.
    Left,
}

/// How often a request looks for an answer of others, before it goes alone.
const ROUNDS: u8 = 3;

impl<'a, S, B, R, St> Lookup<'a, S, B, St>
where
    S: Origin<B, Content = R>,
    B: Send + 'static,
    St: CacheStore,
{
    /// Goes on from what the store knows without waiting.
    pub(super) fn begin(self, known: Known) -> Next<'a, S, B, R, St> {
        match known {
            Known::Found(record) => self.advance(Some(record)),
            Known::Nothing => self.advance(None),
            Known::Ask => {
                let get = self.settings.shared.store.get(self.ask.key.as_str());
                Next::Wait(Waiting::for_store(get, self.hold(None, 0)))
            }
        }
    }

    /// Goes on after it has waited. `base` is what was stored before.
    pub(super) fn resume(mut self, base: Option<Arc<Record>>, heard: Heard) -> Next<'a, S, B, R, St> {
        let landing = match heard {
            Heard::Store(record) => {
                // A write that has come meanwhile may not have reached the store.
                let record = record.filter(|record| !self.settings.shared.outdates(record));
                return self.advance(record);
            }
            Heard::Other(landing) => landing,
            Heard::Nothing => Landing::Alone,
        };
        self.ask.now = self.settings.clock.now();
        match landing {
            Landing::Found(found) => match self.join(&found) {
                Joined::Answer(response) => Next::Answer(response),
                Joined::Left => self.decide_again(base, None),
                Joined::Mismatched => self.decide_again(base, Some(&found.head)),
            },
            Landing::Again => self.decide_again(base, None),
            // There is nothing to share, or it does not come: no more waiting.
            Landing::Alone => {
                self.round = ROUNDS;
                self.decide_again(base, None)
            }
        }
    }

    /// The answer to another's request, where it is one to this.
    fn join(&self, found: &Found) -> Joined<R> {
        let (settings, ask, head) = (self.settings, &self.ask, &found.head);
        let age = head.times.age(ask.now);
        if !vary::matches(&head.vary, self.request.headers())
            || reuse::decide(&head.terms, age, &ask.directives) != Reuse::Fresh
        {
            return Joined::Mismatched;
        }
        let handling = Handling { forward: Some(Forward::UriMiss), collapsed: true, ..Handling::of(CacheOutcome::Hit) };
        match settings.answer(found, ask, self.request.headers(), age, handling) {
            Some(response) => {
                settings.shared.counters.collapsed.fetch_add(1, Ordering::Relaxed);
                Joined::Answer(response)
            }
            None => Joined::Left,
        }
    }

    fn decide_again(self, base: Option<Arc<Record>>, mismatched: Option<&StoredHead>) -> Next<'a, S, B, R, St> {
        let record = match self.settings.shared.store.now(self.ask.key.as_str()) {
            Known::Found(record) => Some(record),
            Known::Nothing => None,
            Known::Ask => base,
        };
        let decision = self.settings.decide(record, &self.ask, self.request.headers());
        self.follow(decision, mismatched)
    }

    /// Goes on once it is known what is stored.
    fn advance(self, record: Option<Arc<Record>>) -> Next<'a, S, B, R, St> {
        let decision = self.settings.decide(record, &self.ask, self.request.headers());
        self.follow(decision, None)
    }

    fn follow(self, decision: Decision, mismatched: Option<&StoredHead>) -> Next<'a, S, B, R, St> {
        match decision {
            Decision::Serve(found, age, outcome) => match self.serve(&found, age, outcome) {
                Some(response) => Next::Answer(response),
                // It was arriving, and those that it came for have left.
                None => self.forward(Asking::plain(Forward::UriMiss, None), mismatched),
            },
            Decision::ServeAndRefresh(found, age, asking) => match self.serve(&found, age, CacheOutcome::Stale) {
                Some(response) => {
                    background::refresh(self.settings, self.inner, self.request, self.ask, asking);
                    Next::Answer(response)
                }
                None => self.forward(asking, mismatched),
            },
            Decision::NotCached => {
                let (rejection, handling) = answer::not_cached();
                Next::Answer(self.settings.refusal(&self.ask, Head::of(&self.request), rejection, handling))
            }
            Decision::Forward(asking) => self.forward(asking, mismatched),
        }
    }

    fn serve(&self, found: &Found, age: u64, outcome: CacheOutcome) -> Option<Answered<R>> {
        self.settings.answer(found, &self.ask, self.request.headers(), age, Handling::of(outcome))
    }

    /// Joins another's request where there is one, else asks the origin. `mismatched` is what another was answered with, and
    /// was not for this one.
    fn forward(self, asking: Asking, mismatched: Option<&StoredHead>) -> Next<'a, S, B, R, St> {
        let (settings, ask) = (self.settings, &self.ask);
        let joins = settings.coalesces
            && self.round < ROUNDS
            && ask.stores
            && !ask.for_the_origin
            && ask.range.is_none()
            && !ask.directives.no_cache
            && !ask.directives.no_store
            && asking.completing.is_none()
            && !settings.shared.uncacheable.contains(ask.key.as_str(), ask.now);
        if !joins {
            return self.ask_origin(asking, None);
        }
        // An answer to a condition is an answer to nobody else, unless it is the cache's own.
        let leads = !ask.is_head && (!ask.if_modified || !asking.about.is_empty());
        let key = settings.flight_key(ask, asking.base.as_deref(), mismatched, self.request.headers());
        match settings.shared.flights.board(&key, leads, settings.max_followers) {
            Boarding::Full => self.ask_origin(asking, None),
            Boarding::Lead(lead) => {
                // Somebody may have stored an answer between the look-up and here.
                if let Known::Found(record) = settings.shared.store.now(ask.key.as_str())
                    && !asking.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, &record))
                    && let Decision::Serve(found, age, outcome) =
                        settings.decide(Some(record), ask, self.request.headers())
                    && let Some(response) = self.serve(&found, age, outcome)
                {
                    return Next::Answer(response);
                }
                self.ask_origin(asking, Some(lead))
            }
            Boarding::Follow(follow) => {
                let round = self.round + 1;
                Next::Wait(Waiting::for_other(follow, self.hold(asking.base, round)))
            }
        }
    }

    /// Asks the origin, for all that follow `lead`, or for this request and no other.
    fn ask_origin(mut self, asking: Asking, lead: Option<Lead>) -> Next<'a, S, B, R, St> {
        let mut plan = Plan::new(self.settings.clone(), self.ask, asking, &self.request);
        plan.lead = lead;
        plan.asking.put_into(self.request.headers_mut());
        Next::Ask(self.inner, self.request, plan)
    }

    /// What waits keeps all that it needs, and leaves a fresh service behind.
    fn hold(self, base: Option<Arc<Record>>, round: u8) -> Held<S, B, St> {
        let (inner, settings) = (self.inner.clone(), self.settings.clone());
        Held { inner, request: self.request, settings, ask: self.ask, base, round }
    }
}
