use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::future::ConcurrencyFuture;
use super::layer::Settings;
use super::limiter::{Entry, Permit};
use crate::body::{GuardedBody, ResponseBody};
use crate::{Head, Reason, Rejection};

/// The service that [`ConcurrencyLayer`](super::ConcurrencyLayer) makes.
#[derive(Clone, Debug)]
pub struct Concurrency<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for Concurrency<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
{
    type Response = Response<ResponseBody<GuardedBody<R, Option<Permit>>>>;
    type Error = S::Error;
    type Future = ConcurrencyFuture<S, B>;

    /// Always: the inner service is readied when there is room.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = &self.settings;
        if !settings.gate.applies(&request) {
            return ConcurrencyFuture::calling(&mut self.inner, request, None);
        }
        match settings.limiter.enter(settings.queue) {
            Entry::Admitted(permit) => ConcurrencyFuture::calling(&mut self.inner, request, Some(permit)),
            Entry::Waits(place) => {
                ConcurrencyFuture::waiting(place, self.settings.clone(), self.inner.clone(), request)
            }
            Entry::NoRoom => settings.refuse(&mut self.inner, request),
        }
    }
}

impl Settings {
    /// The refusal, or in a dry run the inner service's answer.
    pub(super) fn refuse<S, B, R>(&self, inner: &mut S, request: Request<B>) -> ConcurrencyFuture<S, B>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone,
    {
        let rejection = Rejection::new("concurrency", Reason::ConcurrencyExceeded).retry_after(self.retry_after);
        match self.gate.refuse(Head::of(&request), rejection) {
            Some(refusal) => ConcurrencyFuture::own(refusal),
            None => ConcurrencyFuture::calling(inner, request, None),
        }
    }
}
