use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::answer::{self, appends_to};
use super::body::CacheBody;
use super::lookup::{Answered, Lookup, Next};
use super::origin::Origin;
use super::plan::Plan;
use super::settings::Settings;
use super::status::{Forward, Handling};
use super::store::{CacheStore, Known};
use super::waiting::{Held, Waiting};
use crate::body::ResponseBody;
use crate::readiness::Oneshot;
use crate::{BoxError, CacheOutcome, RequestContext};

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
        Answered { response: Option<Answered<R>> },
        Calling { #[pin] call: Oneshot<S, Request<B>>, after: Option<After<St>> },
        // Boxed: it waits for others anyway, and what it holds would make every hit larger.
        Waiting { waiting: Pin<Box<Waiting<S, B, St>>> },
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

/// The future of a request that is answered.
pub(super) fn answered<S, B, R, St>(response: Answered<R>) -> CacheFuture<S, B, R, St>
where
    S: Origin<B, Content = R>,
    St: CacheStore,
{
    CacheFuture { state: State::Answered { response: Some(response) } }
}

/// The future of a request that goes on.
pub(super) fn call<S, B, R, St>(inner: &mut S, request: Request<B>, after: After<St>) -> CacheFuture<S, B, R, St>
where
    S: Origin<B, Content = R>,
    St: CacheStore,
{
    CacheFuture { state: State::call(inner, request, after) }
}

/// The future of a request that is looked up.
pub(super) fn look_up<S, B, R, St>(lookup: Lookup<'_, S, B, St>, known: Known) -> CacheFuture<S, B, R, St>
where
    S: Origin<B, Content = R>,
    B: Send + 'static,
    St: CacheStore,
{
    CacheFuture { state: State::of(lookup.begin(known)) }
}

impl<S, B, R, St> State<S, B, R, St, S::Future, S::Error>
where
    S: Origin<B, Content = R>,
    St: CacheStore,
{
    fn call(inner: &mut S, request: Request<B>, after: After<St>) -> Self {
        Self::Calling { call: Oneshot::start(inner, request), after: Some(after) }
    }

    fn of(next: Next<'_, S, B, R, St>) -> Self {
        match next {
            Next::Answer(response) => Self::Answered { response: Some(response) },
            Next::Ask(inner, request, plan) => Self::call(inner, request, After::Planned(plan)),
            Next::Wait(waiting) => Self::Waiting { waiting },
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
                StateProj::Waiting { waiting } => {
                    let (held, heard) = ready!(waiting.as_mut().poll(cx));
                    let Held { mut inner, request, settings, ask, base, round } = held;
                    let lookup = Lookup { settings: &settings, inner: &mut inner, request, ask, round };
                    State::of(lookup.resume(base, heard))
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
