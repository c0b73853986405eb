use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::layer::Settings;
use super::limiter::{Permit, Place};
use crate::Oneshot;
use crate::body::{GuardedBody, ResponseBody};

pin_project! {
    /// The future of [`Concurrency`](super::Concurrency). Dropped, it gives back its permit or its place in line.
    pub struct ConcurrencyFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future, S::Error>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F, E>
    where
        S: Service<Request<B>, Future = F, Error = E>,
    {
        Own { response: Option<Response<Bytes>> },
        Waiting { place: Place, #[pin] deadline: Sleep, waiting: Option<Box<Waiting<S, B>>> },
        Calling { #[pin] call: Oneshot<S, Request<B>>, permit: Option<Permit>, head: bool },
    }
}

/// What waits for room.
struct Waiting<S, B> {
    settings: Arc<Settings>,
    inner: S,
    request: Request<B>,
}

impl<S, B> ConcurrencyFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn own(response: Response<Bytes>) -> Self {
        Self { state: State::Own { response: Some(response) } }
    }

    pub(super) fn calling(inner: &mut S, request: Request<B>, permit: Option<Permit>) -> Self
    where
        S: Clone,
    {
        let head = request.method() == Method::HEAD;
        Self { state: State::Calling { call: Oneshot::start(inner, request), permit, head } }
    }

    pub(super) fn waiting(place: Place, settings: Arc<Settings>, inner: S, request: Request<B>) -> Self {
        let deadline = tokio::time::sleep(settings.queue_timeout);
        let waiting = Some(Box::new(Waiting { settings, inner, request }));
        Self { state: State::Waiting { place, deadline, waiting } }
    }
}

impl<S, B, R> Future for ConcurrencyFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
{
    type Output = Result<Response<ResponseBody<GuardedBody<R, Option<Permit>>>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Own { response } => {
                    let response = response.take().expect("polled after it had completed");
                    return Poll::Ready(Ok(response.map(ResponseBody::own)));
                }
                StateProj::Waiting { place, deadline, waiting } => {
                    let turn = match place.poll_turn(cx) {
                        Poll::Ready(turn) => turn,
                        Poll::Pending => {
                            ready!(deadline.poll(cx));
                            None
                        }
                    };
                    let Waiting { settings, mut inner, request } =
                        *waiting.take().expect("taken once, and the state moves on");
                    let next = match turn {
                        Some(permit) => Self::calling(&mut inner, request, Some(permit)),
                        None => settings.refuse(&mut inner, request),
                    };
                    this.state.set(next.state);
                }
                StateProj::Calling { call, permit, head } => {
                    let answer = ready!(call.poll(cx));
                    let permit = permit.take();
                    tell(permit.as_ref(), answer.as_ref().ok().map(Response::status));
                    let response = answer?;
                    // The server reads nothing of such an answer, and dropping it is its end.
                    let unread =
                        *head || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
                    let guard: fn(R, Option<Permit>) -> GuardedBody<R, _> =
                        if unread { GuardedBody::unread } else { GuardedBody::new };
                    return Poll::Ready(Ok(response.map(|body| ResponseBody::inner(guard(body, permit)))));
                }
            }
        }
    }
}

/// What the limit may learn from.
fn tell(permit: Option<&Permit>, status: Option<StatusCode>) {
    let Some(permit) = permit else { return };
    match status {
        None | Some(StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => permit.overloaded(),
        Some(_) => permit.answered(),
    }
}

impl<S, B> fmt::Debug for ConcurrencyFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyFuture").finish_non_exhaustive()
    }
}
