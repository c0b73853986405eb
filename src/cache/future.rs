use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::answer;
use super::ask::Ask;
use super::body::CacheBody;
use super::decision::{Asking, Decision};
use super::entry::{Record, StoredHead};
use super::flight::{Boarding, Follow, Landing};
use super::plan::Plan;
use super::policy::reuse::{self, Reuse};
use super::policy::vary;
use super::settings::Settings;
use super::status::{Forward, Handling};
use super::store::{CacheStore, Known};
use super::{answer::appends_to, background};
use crate::body::ResponseBody;
use crate::readiness::Oneshot;
use crate::{BoxError, CacheOutcome, Head, RequestContext};

pin_project! {
    /// The future of [`Cache`](super::Cache).
    pub struct CacheFuture<S, B, R, St>
    where
        S: Service<Request<B>>,
        St: CacheStore,
    {
        #[pin]
        state: State<S, B, R, St, S::Future, S::Error>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, R, St, F, E>
    where
        S: Service<Request<B>, Future = F, Error = E>,
        St: CacheStore,
    {
        Answered { response: Option<Response<answer::Body<R>>> },
        Calling { #[pin] call: Oneshot<S, Request<B>>, after: Option<After<St>> },
        Asking { #[pin] get: St::Get, waiting: Option<Waiting<S, B, St>> },
        Following { #[pin] follow: Follow, #[pin] patience: tokio::time::Sleep, waiting: Option<Waiting<S, B, St>> },
    }
}

/// What is done with the inner service's answer.
pub(super) enum After<St> {
    /// It is passed on, and nobody is told.
    Untouched,
    /// It is passed on.
    Bypass(Arc<Settings<St>>, Option<RequestContext>),
    /// It may have changed what is stored.
    Unsafe(Box<Plan<St>>),
    /// It may be stored.
    Planned(Box<Plan<St>>),
}

/// A request that waits for a store, or for another request.
struct Waiting<S, B, St> {
    inner: S,
    request: Request<B>,
    settings: Arc<Settings<St>>,
    ask: Ask,
    base: Option<Arc<Record>>,
    round: u8,
}

/// How often a request looks for an answer of others, before it goes alone.
const ROUNDS: u8 = 3;

impl<S, B, R, St> CacheFuture<S, B, R, St>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
    R: Body + Send + 'static,
    R::Data: From<Bytes>,
    R::Error: Into<BoxError>,
    St: CacheStore,
{
    pub(super) fn call(inner: &mut S, request: Request<B>, after: After<St>) -> Self {
        Self { state: State::Calling { call: Oneshot::start(inner, request), after: Some(after) } }
    }

    pub(super) fn look_up(settings: &Arc<Settings<St>>, inner: &mut S, request: Request<B>, ask: Ask) -> Self {
        let state = match settings.shared.store.now(ask.key.as_str()) {
            Known::Found(record) => State::advance(settings, inner, request, ask, Some(record), 0),
            Known::Nothing => State::advance(settings, inner, request, ask, None, 0),
            Known::Ask => {
                let get = settings.shared.store.get(ask.key.as_str());
                let (inner, settings) = (inner.clone(), settings.clone());
                State::Asking { get, waiting: Some(Waiting { inner, request, settings, ask, base: None, round: 0 }) }
            }
        };
        Self { state }
    }
}

impl<S, B, R, St> State<S, B, R, St, S::Future, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
    R: Body + Send + 'static,
    R::Data: From<Bytes>,
    R::Error: Into<BoxError>,
    St: CacheStore,
{
    /// What is done about a request, once it is known what is stored.
    fn advance(
        settings: &Arc<Settings<St>>,
        inner: &mut S,
        request: Request<B>,
        ask: Ask,
        record: Option<Arc<Record>>,
        round: u8,
    ) -> Self {
        match settings.decide(record, &ask, request.headers()) {
            Decision::Serve(found, age, outcome) => {
                let response = settings.answer(found, &ask, request.headers(), age, Handling::of(outcome));
                Self::Answered { response }
            }
            Decision::ServeAndRefresh(found, age, asking) => {
                let response = settings.answer(found, &ask, request.headers(), age, Handling::of(CacheOutcome::Stale));
                background::refresh(settings, inner, request, ask, asking);
                Self::Answered { response }
            }
            Decision::NotCached => {
                let refusal = settings.refusal(&ask, Head::of(&request), answer::not_cached());
                Self::Answered { response: Some(refusal) }
            }
            Decision::Forward(asking) => Self::forward(settings, inner, request, ask, asking, None, round),
        }
    }

    /// Joins another's request where there is one, else asks the origin.
    fn forward(
        settings: &Arc<Settings<St>>,
        inner: &mut S,
        request: Request<B>,
        ask: Ask,
        asking: Asking,
        mismatched: Option<&StoredHead>,
        round: u8,
    ) -> Self {
        let joins = settings.coalesces
            && round < ROUNDS
            && ask.stores
            && !ask.for_the_origin
            && ask.range.is_none()
            && !ask.directives.no_cache
            && !ask.directives.no_store
            && asking.completing.is_none()
            && !settings.shared.uncacheable.contains(ask.key.as_str(), ask.now);
        if !joins {
            return Self::alone(settings, inner, request, ask, asking);
        }
        // An answer to a condition is an answer to nobody else, unless it is the cache's own.
        let leads = !ask.is_head && (!ask.if_modified || !asking.about.is_empty());
        let key = settings.flight_key(&ask, asking.base.as_deref(), mismatched, request.headers());
        match settings.shared.flights.board(&key, leads, settings.max_followers) {
            Boarding::Full => Self::alone(settings, inner, request, ask, asking),
            Boarding::Lead(lead) => {
                // Somebody may have stored an answer between the look-up and here.
                if let Known::Found(record) = settings.shared.store.now(ask.key.as_str())
                    && !asking.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, &record))
                    && let Decision::Serve(found, age, outcome) = settings.decide(Some(record), &ask, request.headers())
                {
                    drop(lead);
                    let response = settings.answer(found, &ask, request.headers(), age, Handling::of(outcome));
                    return Self::Answered { response };
                }
                let mut plan = Plan::new(settings.clone(), ask, asking, &request);
                plan.lead = Some(lead);
                Self::send(inner, request, plan)
            }
            Boarding::Follow(follow) => {
                let patience = tokio::time::sleep(settings.max_wait);
                let (inner, settings) = (inner.clone(), settings.clone());
                let waiting = Waiting { inner, request, settings, ask, base: asking.base, round: round + 1 };
                Self::Following { follow, patience, waiting: Some(waiting) }
            }
        }
    }

    /// Asks the origin for this request and no other.
    fn alone(settings: &Arc<Settings<St>>, inner: &mut S, request: Request<B>, ask: Ask, asking: Asking) -> Self {
        let plan = Plan::new(settings.clone(), ask, asking, &request);
        Self::send(inner, request, plan)
    }

    fn send(inner: &mut S, mut request: Request<B>, plan: Box<Plan<St>>) -> Self {
        plan.asking.put_into(request.headers_mut());
        Self::Calling { call: Oneshot::start(inner, request), after: Some(After::Planned(plan)) }
    }

    /// What a follower does when it has heard from its flight, or waited long enough.
    fn land(waiting: Waiting<S, B, St>, landing: Option<Landing>) -> Self {
        let Waiting { mut inner, request, settings, mut ask, base, round } = waiting;
        ask.now = settings.clock.now();
        let mismatched = match landing {
            Some(Landing::Found(found)) => {
                let age = found.head.times.age(ask.now);
                let fits = vary::matches(&found.head.vary, request.headers())
                    && reuse::decide(&found.head.terms, age, &ask.directives) == Reuse::Fresh;
                let handling =
                    Handling { forward: Some(Forward::UriMiss), collapsed: true, ..Handling::of(CacheOutcome::Hit) };
                if fits {
                    // None: the others have left meanwhile, and with them what was arriving.
                    let response = settings.answer(found, &ask, request.headers(), age, handling);
                    if response.is_some() {
                        settings.shared.counters.collapsed.fetch_add(1, Ordering::Relaxed);
                        return Self::Answered { response };
                    }
                    None
                } else {
                    Some(found.head)
                }
            }
            Some(Landing::Again) => None,
            // There is nothing to share, or it does not come: no more waiting.
            Some(Landing::Alone) | None => {
                return Self::decide_again(&settings, &mut inner, request, ask, base, None, ROUNDS);
            }
        };
        Self::decide_again(&settings, &mut inner, request, ask, base, mismatched.as_deref(), round)
    }

    fn decide_again(
        settings: &Arc<Settings<St>>,
        inner: &mut S,
        request: Request<B>,
        ask: Ask,
        base: Option<Arc<Record>>,
        mismatched: Option<&StoredHead>,
        round: u8,
    ) -> Self {
        let record = match settings.shared.store.now(ask.key.as_str()) {
            Known::Found(record) => Some(record),
            Known::Nothing => None,
            Known::Ask => base,
        };
        match settings.decide(record.clone(), &ask, request.headers()) {
            Decision::Forward(asking) => Self::forward(settings, inner, request, ask, asking, mismatched, round),
            _ => Self::advance(settings, inner, request, ask, record, round),
        }
    }
}

impl<S, B, R, St> Future for CacheFuture<S, B, R, St>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
    R: Body + Send + 'static,
    R::Data: From<Bytes>,
    R::Error: Into<BoxError>,
    St: CacheStore,
{
    type Output = Result<Response<answer::Body<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const DONE: &str = "polled after it had completed";
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Answered { response } => return Poll::Ready(Ok(response.take().expect(DONE))),
                StateProj::Calling { call, after } => {
                    let answered = ready!(call.poll(cx));
                    return Poll::Ready(after.take().expect(DONE).receive(answered));
                }
                StateProj::Asking { get, waiting } => {
                    let record = ready!(get.poll(cx));
                    let waited = waiting.as_ref().expect(DONE);
                    // A write that has come meanwhile may not have reached the store.
                    let record = record.filter(|record| !waited.settings.shared.outdates(record));
                    let Waiting { mut inner, request, settings, ask, round, .. } = waiting.take().expect(DONE);
                    State::advance(&settings, &mut inner, request, ask, record, round)
                }
                StateProj::Following { follow, patience, waiting } => {
                    let landing = match follow.poll(cx) {
                        Poll::Ready(landing) => Some(landing),
                        Poll::Pending => {
                            ready!(patience.poll(cx));
                            None
                        }
                    };
                    State::land(waiting.take().expect(DONE), landing)
                }
            };
            state.set(next);
        }
    }
}

impl<St: CacheStore> After<St> {
    fn receive<R, E>(self, answered: Result<Response<R>, E>) -> Result<Response<answer::Body<R>>, E>
    where
        R: Body + Send + 'static,
        R::Data: From<Bytes>,
        R::Error: Into<BoxError>,
    {
        let (settings, context) = match self {
            Self::Planned(plan) => return plan.receive(answered),
            Self::Unsafe(plan) => return plan.receive_unsafe(answered),
            Self::Untouched => return answered.map(passed_on),
            Self::Bypass(settings, context) => (settings, context),
        };
        let mut response = passed_on(answered?);
        let handling = Handling { forward: Some(Forward::Bypass), ..Handling::of(CacheOutcome::Bypass) };
        let appends = appends_to(response.headers());
        settings.tell(context.as_ref(), None, response.headers_mut(), handling, appends);
        Ok(response)
    }
}

fn passed_on<R>(response: Response<R>) -> Response<answer::Body<R>> {
    response.map(|body| ResponseBody::inner(CacheBody::inner(body)))
}

impl<S, B, R, St> fmt::Debug for CacheFuture<S, B, R, St>
where
    S: Service<Request<B>>,
    St: CacheStore,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture").finish_non_exhaustive()
    }
}
