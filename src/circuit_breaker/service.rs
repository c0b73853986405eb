use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::breaker::Breaker;
use super::fallback::{Fallback, Refuse};
use super::layer::Settings;
use super::state::{Admission, Refused};
use crate::body::ResponseBody;
use crate::classify::{Classifier, Judge, Outcome, Watch, WatchedBody};
use crate::{Head, Oneshot, Reason, Rejection, RequestContext};

/// The service that [`CircuitBreakerLayer`](super::CircuitBreakerLayer) makes.
#[derive(Clone, Debug)]
pub struct CircuitBreaker<S, F = Refuse> {
    pub(super) inner: S,
    pub(super) fallback: F,
    pub(super) settings: Arc<Settings>,
}

/// The body of an answer that passed a breaker, which waits for its end.
pub type BreakerBody<B> = WatchedBody<B, Call>;

/// A call that a breaker let pass, and wants to hear of.
pub struct Call {
    settings: Arc<Settings>,
    breaker: Arc<Breaker>,
    admission: Admission,
    /// When it began, where slow calls count.
    began: Option<Instant>,
    was_slow: bool,
}

impl Call {
    fn is_slow(&self) -> bool {
        let Some((began, limit)) = self.began.zip(self.settings.policy.slow) else { return false };
        self.breaker.time().saturating_duration_since(began) >= limit.after
    }
}

impl Judge for Call {
    fn classifier(&self) -> &dyn Classifier {
        &*self.settings.classifier
    }

    fn answered(&mut self) {
        self.was_slow = self.is_slow();
        self.began = None;
    }

    fn judged(self, outcome: Outcome) {
        let slow = self.was_slow || self.is_slow();
        let transition = self.breaker.record(&self.settings.policy, self.admission, outcome, slow);
        self.settings.registry.tell(&self.breaker, transition);
    }
}

impl Settings {
    /// The call to watch, or for how long there is none.
    fn admit<B>(&self, own: &Arc<Self>, request: &Request<B>) -> Result<Call, Refused> {
        let breaker = self.registry.breaker(&self.key, &Head::of(request), self.most_keys);
        let (admitted, transition) = breaker.admit(&self.policy);
        self.registry.tell(&breaker, transition);
        let admission = admitted?;
        let began = self.policy.slow.map(|_| breaker.time());
        Ok(Call { settings: own.clone(), breaker, admission, began, was_slow: false })
    }
}

fn rejection(refused: Refused) -> Rejection {
    let after = Duration::from_millis(refused.0.unwrap_or(0));
    Rejection::new("circuit_breaker", Reason::CircuitOpen)
        .detail("the origin has failed too often and is left alone for now")
        .retry_after(after)
}

impl<S, F, B, R> Service<Request<B>> for CircuitBreaker<S, F>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: 'static,
    R: Body,
    R::Error: 'static,
    F: Fallback<B, R, S::Error>,
{
    type Response = Response<ResponseBody<BreakerBody<R>>>;
    type Error = S::Error;
    type Future = CircuitBreakerFuture<Oneshot<S, Request<B>>, F::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = &self.settings;
        if !settings.gate.applies(&request) {
            return CircuitBreakerFuture::inner(Oneshot::start(&mut self.inner, request), None);
        }
        let request = match settings.admit(settings, &request) {
            Ok(call) => {
                let context = request.extensions().get::<RequestContext>().cloned();
                let watch = Watch::new(call, request.method(), context);
                return CircuitBreakerFuture::inner(Oneshot::start(&mut self.inner, request), Some(watch));
            }
            Err(refused) if settings.gate.dry_run => {
                let _ = settings.gate.refuse(Head::of(&request), rejection(refused));
                return CircuitBreakerFuture::inner(Oneshot::start(&mut self.inner, request), None);
            }
            Err(refused) => match self.fallback.answer(request) {
                Ok(answer) => return CircuitBreakerFuture { state: State::Fallback { answer } },
                Err(request) => (request, refused),
            },
        };
        let (request, refused) = request;
        let head = Head::of(&request);
        let answer = settings.gate.answer(head, head.context(), rejection(refused));
        CircuitBreakerFuture { state: State::Refused { answer: Some(answer) } }
    }
}

pin_project! {
    /// The future of [`CircuitBreaker`].
    pub struct CircuitBreakerFuture<I, F> {
        #[pin]
        state: State<I, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<I, F> {
        Inner { #[pin] answer: I, watch: Option<Watch<Call>> },
        Fallback { #[pin] answer: F },
        Refused { answer: Option<Response<Bytes>> },
    }
}

impl<I, F> CircuitBreakerFuture<I, F> {
    fn inner(answer: I, watch: Option<Watch<Call>>) -> Self {
        Self { state: State::Inner { answer, watch } }
    }
}

impl<I, F, R, E> Future for CircuitBreakerFuture<I, F>
where
    I: Future<Output = Result<Response<R>, E>>,
    F: Future<Output = Result<Response<ResponseBody<R>>, E>>,
    R: Body,
    E: 'static,
{
    type Output = Result<Response<ResponseBody<BreakerBody<R>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Inner { answer, watch } => {
                let answer = ready!(answer.poll(cx));
                let mut watch = watch.take();
                if let Some(watch) = &mut watch {
                    match &answer {
                        Ok(answer) => watch.head(answer.status(), answer.headers(), answer.body().is_end_stream()),
                        Err(error) => watch.failed(error),
                    }
                }
                Poll::Ready(answer.map(|answer| answer.map(|body| ResponseBody::inner(WatchedBody::new(body, watch)))))
            }
            StateProj::Fallback { answer } => {
                let answer = ready!(answer.poll(cx))?;
                Poll::Ready(Ok(answer.map(|body| body.map(|body| WatchedBody::new(body, None)))))
            }
            StateProj::Refused { answer } => {
                let answer = answer.take().expect("polled after it had completed");
                Poll::Ready(Ok(answer.map(ResponseBody::own)))
            }
        }
    }
}

impl<I, F> fmt::Debug for CircuitBreakerFuture<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerFuture").finish_non_exhaustive()
    }
}
