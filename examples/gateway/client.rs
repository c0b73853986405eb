//! The client of a route's proxy: an upstream's own, or with retries and a circuit breaker around it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::TryFutureExt;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_gateway::body::ResponseBody;
use tower_gateway::circuit_breaker::{BreakerBody, CircuitBreaker, CircuitBreakerLayer};
use tower_gateway::retry::{Retry, RetryLayer};
use tower_gateway::upstream::{Client, ClientFuture, OriginBody};
use tower_gateway::{BoxError, UpstreamError};

/// What stands around an upstream's clients, with the state that all of them share.
#[derive(Clone)]
pub(crate) struct Guards {
    pub(crate) retry: Option<RetryLayer>,
    pub(crate) breaker: Option<CircuitBreakerLayer>,
}

impl Guards {
    /// An upstream that has neither costs what its client costs.
    pub(crate) fn layer(&self, client: Client) -> RouteClient {
        if self.retry.is_none() && self.breaker.is_none() {
            return RouteClient::Plain(client);
        }
        let breaker = self.breaker.clone().unwrap_or_else(|| CircuitBreakerLayer::new().enabled(false));
        let retry = self.retry.clone().unwrap_or_else(|| RetryLayer::new().enabled(false));
        // Every try passes the breaker, so that it hears of each, and what it refuses is not tried again.
        RouteClient::Guarded(retry.layer(breaker.layer(client)))
    }
}

/// An upstream's client as a route uses it.
#[derive(Clone)]
pub(crate) enum RouteClient {
    Plain(Client),
    Guarded(Retry<CircuitBreaker<Client>>),
}

type GuardedBody = ResponseBody<ResponseBody<BreakerBody<OriginBody>>>;
type GuardedFuture = Pin<Box<dyn Future<Output = Result<Response<RouteClientBody>, UpstreamError>> + Send>>;

impl<B> Service<Request<B>> for RouteClient
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<RouteClientBody>;
    type Error = UpstreamError;
    type Future = RouteClientFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> RouteClientFuture {
        match self {
            Self::Plain(client) => RouteClientFuture::Plain { answer: client.call(request) },
            Self::Guarded(client) => call_guarded(client, request),
        }
    }
}

/// Kept out of line, like whatever else most requests do without.
#[inline(never)]
fn call_guarded<B>(client: &mut Retry<CircuitBreaker<Client>>, request: Request<B>) -> RouteClientFuture
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let answer =
        client.call(request).map_ok(|answer| answer.map(|body| RouteClientBody::Guarded { body: Box::pin(body) }));
    RouteClientFuture::Guarded { answer: Box::pin(answer) }
}

pin_project! {
    #[project = FutureProj]
    pub(crate) enum RouteClientFuture {
        Plain { #[pin] answer: ClientFuture },
        Guarded { answer: GuardedFuture },
    }
}

impl Future for RouteClientFuture {
    type Output = Result<Response<RouteClientBody>, UpstreamError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Plain { answer } => {
                answer.poll(cx).map_ok(|answer| answer.map(|body| RouteClientBody::Plain { body }))
            }
            FutureProj::Guarded { answer } => answer.as_mut().poll(cx),
        }
    }
}

pin_project! {
    /// The body of an origin's answer. In a box where it is guarded, as all answers would be as large as that.
    #[project = BodyProj]
    pub(crate) enum RouteClientBody {
        Plain { #[pin] body: OriginBody },
        Guarded { body: Pin<Box<GuardedBody>> },
    }
}

impl Body for RouteClientBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match self.project() {
            BodyProj::Plain { body } => body.poll_frame(cx),
            BodyProj::Guarded { body } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain { body } => body.is_end_stream(),
            Self::Guarded { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain { body } => body.size_hint(),
            Self::Guarded { body } => body.size_hint(),
        }
    }
}
