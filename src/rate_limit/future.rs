use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Store;
use super::layer::Settings;
use super::service::{After, Bill};
use crate::Oneshot;
use crate::body::ResponseBody;

pin_project! {
    /// The future of [`RateLimit`](super::RateLimit).
    ///
    /// Dropped while the store is asked, the request may have been charged all the same.
    pub struct RateLimitFuture<S, B, R, St>
    where
        S: Service<Request<B>, Response = Response<R>>,
        St: Store,
    {
        #[pin]
        state: State<S, B, R, St, S::Future, S::Error, St::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<S, B, R, St, F, E, A>
    where
        S: Service<Request<B>, Response = Response<R>, Future = F, Error = E>,
    {
        Own { response: Option<Response<Bytes>> },
        Asking { #[pin] asked: A, waiting: Option<Box<Waiting<S, B, St>>> },
        Calling { #[pin] call: Oneshot<S, Request<B>>, after: Option<After<St>> },
        Settling { #[pin] settled: A, answered: Option<Box<Answered<R, St>>> },
    }
}

/// What waits for the store.
struct Waiting<S, B, St> {
    settings: Arc<Settings<St>>,
    bill: Bill,
    inner: S,
    request: Request<B>,
}

/// What waits for the correction of what it was charged.
struct Answered<R, St> {
    response: Response<R>,
    after: After<St>,
}

impl<S, B, R, St> RateLimitFuture<S, B, R, St>
where
    S: Service<Request<B>, Response = Response<R>>,
    St: Store,
{
    pub(super) fn own(response: Response<Bytes>) -> Self {
        Self { state: State::Own { response: Some(response) } }
    }

    #[inline(always)]
    pub(super) fn calling(call: Oneshot<S, Request<B>>, after: Option<After<St>>) -> Self {
        Self { state: State::Calling { call, after } }
    }

    pub(super) fn asking(
        asked: St::Future,
        settings: Arc<Settings<St>>,
        bill: Bill,
        inner: S,
        request: Request<B>,
    ) -> Self {
        let waiting = Box::new(Waiting { settings, bill, inner, request });
        Self { state: State::Asking { asked, waiting: Some(waiting) } }
    }
}

impl<S, B, R, St> Future for RateLimitFuture<S, B, R, St>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    St: Store,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Own { response } => {
                    let response = response.take().expect("polled after it had completed");
                    return Poll::Ready(Ok(response.map(ResponseBody::own)));
                }
                StateProj::Asking { asked, waiting } => {
                    let answer = ready!(asked.poll(cx));
                    let Waiting { settings, bill, mut inner, request } =
                        *waiting.take().expect("taken once, and the state moves on");
                    let next = match answer {
                        Ok(decision) => settings.admit(decision, bill, &mut inner, request),
                        Err(_) => settings.admit_without_the_store(bill, &mut inner, request),
                    };
                    this.state.set(next.state);
                }
                StateProj::Calling { call, after } => {
                    let mut response = ready!(call.poll(cx))?;
                    let Some(after) = after.take() else { return Poll::Ready(Ok(response.map(ResponseBody::inner))) };
                    let Some(settled) = after.settle(&response) else {
                        after.tell(&mut response);
                        return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                    };
                    let answered = Some(Box::new(Answered { response, after }));
                    this.state.set(State::Settling { settled, answered });
                }
                StateProj::Settling { settled, answered } => {
                    let settled = ready!(settled.poll(cx));
                    let Answered { mut response, mut after } = *answered.take().expect("polled after it had completed");
                    if let Ok(decision) = settled {
                        after.settled(&decision);
                    }
                    after.tell(&mut response);
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
            }
        }
    }
}

impl<S, B, R, St> fmt::Debug for RateLimitFuture<S, B, R, St>
where
    S: Service<Request<B>, Response = Response<R>>,
    St: Store,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}
