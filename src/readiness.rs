//! The two readiness rules, written once.
//!
//! A service is called only after its own `poll_ready` has said so: a clone of a ready service is not ready, and calling
//! it panics in some services (`tower::buffer`) and skips the queue in others. Every layer here keeps one of two rules.
//!
//! - **Immediate**: `poll_ready` is the inner one's, and the instance that was polled is called. A layer that then answers
//!   by itself gives back what the inner service had reserved, with [`release`].
//! - **Deferred**: always ready; the inner service is readied when it is needed, through [`Oneshot`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

/// Gives back what `inner` reserved when it said it was ready: the instance is replaced by a fresh clone, which has
/// reserved nothing.
pub(crate) fn release<S: Clone>(inner: &mut S) {
    *inner = inner.clone();
}

pin_project! {
    /// Readies a service and calls it once: the future of a layer whose readiness is deferred.
    ///
    /// [`start`](Self::start) asks the service at once. One that is ready is called where it stands, with no clone made;
    /// one that is not moves into the future and leaves a fresh clone behind, so that nothing is reserved while waiting
    /// and the instance that is called is the one that was polled.
    #[derive(Debug)]
    pub struct Oneshot<S, Request>
    where
        S: Service<Request>,
    {
        #[pin]
        state: State<S, Request, S::Future, S::Error>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<S, Request, F, E> {
        // In a box, for it is rare: what is nested in all layers, and moved by each, is then no larger than it mostly is.
        Waiting { waiting: Option<Box<(S, Request)>> },
        Called { #[pin] future: F },
        Failed { error: Option<E> },
    }
}

impl<S, Request> Oneshot<S, Request>
where
    S: Service<Request> + Clone,
{
    /// Calls `inner` with `request`, as soon as it is ready.
    #[inline]
    pub fn start(inner: &mut S, request: Request) -> Self {
        match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Self { state: State::Called { future: inner.call(request) } },
            other => Self::wait(inner, other, request),
        }
    }

    #[cold]
    #[inline(never)]
    fn wait(inner: &mut S, ready: Poll<Result<(), S::Error>>, request: Request) -> Self {
        let fresh = inner.clone();
        let service = std::mem::replace(inner, fresh);
        let state = match ready {
            // A service that failed is not to be asked again (tower's contract), and neither is the instance kept.
            Poll::Ready(Err(error)) => State::Failed { error: Some(error) },
            _ => State::Waiting { waiting: Some(Box::new((service, request))) },
        };
        Self { state }
    }
}

impl<S, Request> Oneshot<S, Request>
where
    S: Service<Request>,
{
    /// Calls the service that was not ready when it is.
    #[cold]
    #[inline(never)]
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateProj::Waiting { waiting } => {
                let (service, _) = &mut **waiting.as_mut().expect("taken once, and the state moves on");
                ready!(service.poll_ready(cx))?;
                let (mut service, request) = *waiting.take().expect("it was there");
                state.set(State::Called { future: service.call(request) });
                Poll::Ready(Ok(()))
            }
            StateProj::Called { .. } => Poll::Ready(Ok(())),
            StateProj::Failed { error } => Poll::Ready(Err(error.take().expect("polled after it had completed"))),
        }
    }
}

impl<S, Request> Future for Oneshot<S, Request>
where
    S: Service<Request>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let StateProj::Called { future } = self.as_mut().project().state.project() {
                return future.poll(cx);
            }
            ready!(self.as_mut().poll_call(cx))?;
        }
    }
}
