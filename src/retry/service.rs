use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::body::{ReplayBody, Source};
use super::layer::Settings;
use super::plan::Failure;
use crate::body::ResponseBody;
use crate::{BoxError, Oneshot, RequestContext, UpstreamError, UpstreamErrorKind};

/// The service that [`RetryLayer`](super::RetryLayer) makes.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for Retry<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: From<UpstreamError> + 'static,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = RetryFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let settings = &self.settings;
        let policy = &settings.policy;
        if policy.attempts <= 1 || !settings.gate.applies(&request) {
            return RetryFuture::new(Oneshot::start(&mut self.inner, request.map(ReplayBody::once)), None);
        }
        policy.budget.deposit();
        let context = RequestContext::of(request.extensions_mut());
        let may_repeat = policy.may_repeat(request.method(), request.headers());
        let head = RequestHead::of(&request);
        // What is longer than may be kept is not kept at all. Still, nobody may ask for its first byte.
        let known_too_large = request.body().size_hint().lower() > policy.replay_bytes;
        let cap = if may_repeat && !known_too_large { policy.replay_bytes } else { 0 };
        let (parts, body) = request.into_parts();
        let (body, source) = ReplayBody::first(body, cap);
        let now = Instant::now();
        let try_ = Oneshot::start(&mut self.inner, Request::from_parts(parts, body));
        let call = Call {
            service: self.inner.clone(),
            settings: settings.clone(),
            context,
            head,
            source,
            may_repeat,
            tries: 1,
            try_deadline: policy.per_try.and_then(|limit| now.checked_add(limit)),
            deadline: policy.deadline.and_then(|limit| now.checked_add(limit)),
        };
        RetryFuture::new(try_, Some(Box::new(call)))
    }
}

/// What is needed to send a request once more, and to know whether to.
struct Call<S, B> {
    service: S,
    settings: Arc<Settings>,
    context: RequestContext,
    head: RequestHead,
    /// `None` for a request without a body.
    source: Option<Arc<Source<B>>>,
    may_repeat: bool,
    tries: u32,
    try_deadline: Option<Instant>,
    deadline: Option<Instant>,
}

/// What of a request's head goes with each try.
struct RequestHead {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl RequestHead {
    fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        }
    }
}

impl<S, B: Body<Data = Bytes>> Call<S, B> {
    /// How long to wait before the next try, if there is one after a try that failed so.
    fn next_try(&self, failure: Failure) -> Option<Duration> {
        let Settings { policy, counters, .. } = &*self.settings;
        if self.tries >= policy.attempts || !policy.covers(failure, self.may_repeat) {
            return None;
        }
        // A refusal of a layer of ours: another try would be refused as well.
        if self.context.rejection().is_some_and(|rejection| !rejection.is_dry_run()) {
            return None;
        }
        if self.source.as_ref().is_some_and(|source| source.is_lost()) {
            counters.too_large.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let wait = policy.wait(failure, self.tries)?;
        if self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            return None;
        }
        if !policy.budget.withdraw() {
            counters.budget_exhausted.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        counters.retries.fetch_add(1, Ordering::Relaxed);
        Some(wait)
    }

    /// The request of the next try. Of the extensions it has the context, and no other.
    fn request(&mut self) -> Request<ReplayBody<B>> {
        self.tries += 1;
        self.try_deadline = self.settings.policy.per_try.and_then(|limit| Instant::now().checked_add(limit));
        let body = match &self.source {
            None => ReplayBody::empty(),
            Some(source) => source.again(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.version_mut() = self.head.version;
        *request.headers_mut() = match self.tries < self.settings.policy.attempts {
            true => self.head.headers.clone(),
            false => std::mem::take(&mut self.head.headers),
        };
        request.extensions_mut().insert(self.context.clone());
        request
    }

    /// When the try, or the call, has taken too long. The try's time does not run out while it waits
    /// for its client to send more of the request.
    fn limit(&mut self, now: Instant) -> Option<Instant> {
        if let Some(deadline) = &mut self.try_deadline
            && *deadline <= now
            && self.source.as_ref().is_some_and(|source| source.waits_for_client())
            && let Some(limit) = self.settings.policy.per_try
        {
            *deadline = now + limit;
        }
        match (self.try_deadline, self.deadline) {
            (Some(one), Some(all)) => Some(one.min(all)),
            (one, all) => one.or(all),
        }
    }
}

pin_project! {
    /// The future of [`Retry`].
    pub struct RetryFuture<S, B>
    where
        S: Service<Request<ReplayBody<B>>>,
    {
        #[pin]
        state: State<Oneshot<S, Request<ReplayBody<B>>>>,
        #[pin]
        timer: Option<Sleep>,
        // None for a request with one try.
        call: Option<Box<Call<S, B>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Trying { #[pin] answer: F },
        Waiting,
    }
}

impl<S, B> RetryFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    fn new(answer: Oneshot<S, Request<ReplayBody<B>>>, call: Option<Box<Call<S, B>>>) -> Self {
        Self { state: State::Trying { answer }, timer: None, call }
    }
}

impl<S, B, R> Future for RetryFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: From<UpstreamError> + 'static,
    B: Body<Data = Bytes>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let answer = match this.state.as_mut().project() {
                StateProj::Trying { answer } => answer.poll(cx),
                StateProj::Waiting => {
                    if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                        ready!(timer.poll(cx));
                    }
                    this.timer.set(None);
                    let Some(call) = this.call else { return Poll::Pending };
                    let request = call.request();
                    let answer = Oneshot::start(&mut call.service, request);
                    this.state.set(State::Trying { answer });
                    continue;
                }
            };
            let Some(call) = this.call else {
                return answer.map_ok(|answer| answer.map(ResponseBody::inner));
            };
            let (wait, answer) = match answer {
                Poll::Ready(answer) => {
                    let failure = match &answer {
                        Ok(answer) => Some(Failure::of_answer(answer.status(), answer.headers())),
                        Err(error) => Failure::of_error(error),
                    };
                    (failure.and_then(|failure| call.next_try(failure)), answer)
                }
                Poll::Pending => {
                    ready!(poll_limit(call, this.timer.as_mut(), cx));
                    // Said before the try is dropped: whoever watches it learns why.
                    let error = UpstreamError::new(UpstreamErrorKind::ResponseTimeout);
                    call.context.set_upstream_error(error.clone());
                    (call.next_try(Failure::TimedOut), Err(error.into()))
                }
            };
            let Some(wait) = wait else {
                return Poll::Ready(answer.map(|answer| answer.map(ResponseBody::inner)));
            };
            this.state.set(State::Waiting);
            if let Ok(answer) = answer {
                take_what_is_there(answer.into_body());
            }
            call.context.discard_answer();
            this.timer.set((!wait.is_zero()).then(|| sleep_until(Instant::now() + wait)));
        }
    }
}

/// Ready when the try, or the call, has taken too long.
fn poll_limit<S, B: Body<Data = Bytes>>(
    call: &mut Call<S, B>,
    mut timer: Pin<&mut Option<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if call.try_deadline.is_none() && call.deadline.is_none() {
        return Poll::Pending;
    }
    loop {
        let now = Instant::now();
        let Some(limit) = call.limit(now) else { return Poll::Pending };
        if limit <= now {
            return Poll::Ready(());
        }
        match timer.as_mut().as_pin_mut() {
            Some(sleep) if sleep.deadline() != limit => sleep.reset(limit),
            Some(_) => {}
            None => timer.set(Some(sleep_until(limit))),
        }
        let Some(sleep) = timer.as_mut().as_pin_mut() else { return Poll::Pending };
        ready!(sleep.poll(cx));
    }
}

/// Reads what has come already of an answer that is not passed on: a short one is over then, and its connection can be used
/// again. The rest is given up.
fn take_what_is_there<R: Body>(body: R) {
    const MOST: usize = 16 << 10;
    let (mut body, mut taken) = (std::pin::pin!(body), 0);
    let mut cx = Context::from_waker(Waker::noop());
    while taken < MOST && !body.is_end_stream() {
        let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) else { return };
        taken += frame.data_ref().map_or(0, Buf::remaining).max(1);
    }
}

impl<S, B> fmt::Debug for RetryFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture").finish_non_exhaustive()
    }
}
