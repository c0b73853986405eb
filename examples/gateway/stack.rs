//! What serves one route: its proxy alone, or a stack around it that is boxed once, at its edge.
//!
//! A route without optional layers costs what its proxy costs. One that has any costs one box for its future and one for
//! its body, however many layers it has.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::TryFutureExt;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_gateway::body::ResponseBody;
use tower_gateway::concurrency::ConcurrencyLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::limits::{BodyLimit, BodyLimitFuture, ContentTypeLayer, LimitedBody};
use tower_gateway::rate_limit::{BoxStore, MemoryStore};
use tower_gateway::serve::ServeBody;
use tower_gateway::strict::EncodedSlashes;
use tower_gateway::transform::TransformLayer;
use tower_gateway::{BoxError, Oneshot, Reason, Rejection};

use crate::cache::Cache;
use crate::cors::CorsOfRoute;
use crate::endpoint::{Endpoint, EndpointBody, EndpointFuture};
use crate::health::refuse;
use crate::rate_limits::Limiter;

/// A route without optional layers: its end, and how long a body may be.
pub(crate) type Plain = BodyLimit<Endpoint>;
type PlainFuture = BodyLimitFuture<EndpointFuture<LimitedBody<ServeBody>>>;
type PlainBody = ResponseBody<EndpointBody>;

/// Puts the optional layers of a route into its stack, and knows in the end whether there were any.
///
/// One type of stack serves all routes: a layer that a route does not have stands there switched off, which costs a
/// request one predictable branch, and a route that has none of them does without the stack.
#[derive(Default)]
pub(crate) struct Optional {
    any: bool,
}

impl Optional {
    pub(crate) fn layer<L: Switch>(&mut self, layer: &Option<L>) -> L {
        self.any |= layer.is_some();
        layer.clone().unwrap_or_else(L::off)
    }

    /// What serves the route: `stack`, which every layer was put into, with CORS around it where the route has that; or
    /// `plain` where it has none of them.
    pub(crate) fn choose<S, R>(self, cors: Option<CorsOfRoute<ServeBody>>, stack: S, plain: Plain) -> Kind
    where
        S: Service<Request<ServeBody>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        R: Body<Data = Bytes, Error: Into<BoxError>> + Default + Send + 'static,
    {
        match cors {
            Some(cors) => Kind::Stack(Box::new(cors.layer(stack))),
            None if self.any => Kind::Stack(Box::new(stack)),
            None => Kind::Plain(plain),
        }
    }
}

/// A layer that can stand in a stack without doing anything.
pub(crate) trait Switch: Clone {
    /// The layer, switched off.
    fn off() -> Self;
}

impl Switch for Cache {
    fn off() -> Self {
        // One for all: a store that nobody uses still has its tables.
        static OFF: LazyLock<Cache> = LazyLock::new(crate::cache::off);
        OFF.clone()
    }
}

impl Switch for IpFilterLayer {
    fn off() -> Self {
        Self::new().enabled(false)
    }
}

impl Switch for ContentTypeLayer {
    fn off() -> Self {
        Self::default().enabled(false)
    }
}

impl Switch for TransformLayer {
    fn off() -> Self {
        Self::new()
    }
}

impl Switch for Limiter {
    fn off() -> Self {
        Self::with_store([], BoxStore::new(MemoryStore::builder().max_keys(1).build())).enabled(false)
    }
}

impl Switch for ConcurrencyLayer {
    fn off() -> Self {
        Self::new(0).enabled(false)
    }
}

/// The service of one route.
#[derive(Clone)]
pub(crate) struct RouteService {
    pub(crate) encoded_slashes: EncodedSlashes,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Plain(Plain),
    Stack(Box<dyn Stack>),
}

impl Clone for Kind {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(plain) => Self::Plain(plain.clone()),
            Self::Stack(stack) => Self::Stack(stack.boxed_clone()),
        }
    }
}

impl Service<Request<ServeBody>> for RouteService {
    type Response = Response<RouteBody>;
    type Error = Infallible;
    type Future = RouteFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ServeBody>) -> RouteFuture {
        if !self.encoded_slashes.admits(request.uri().path()) {
            let rejection = Rejection::new("router", Reason::BadRequest).detail("the path holds an encoded slash");
            return RouteFuture::Own { answer: Some(refuse(request.extensions().get(), rejection)) };
        }
        match &mut self.kind {
            Kind::Plain(plain) => RouteFuture::Plain { answer: plain.call(request) },
            Kind::Stack(stack) => RouteFuture::Stack { answer: stack.boxed_call(request) },
        }
    }
}

/// A stack of layers whose type is nobody's business.
pub(crate) trait Stack: Send + Sync {
    fn boxed_call(&mut self, request: Request<ServeBody>) -> StackFuture;
    fn boxed_clone(&self) -> Box<dyn Stack>;
}

type StackFuture = Pin<Box<dyn Future<Output = Result<Response<RouteBody>, Infallible>> + Send>>;

impl<S, R> Stack for S
where
    S: Service<Request<ServeBody>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn boxed_call(&mut self, request: Request<ServeBody>) -> StackFuture {
        Box::pin(Oneshot::start(self, request).map_ok(|response| response.map(RouteBody::stack)))
    }

    fn boxed_clone(&self) -> Box<dyn Stack> {
        Box::new(self.clone())
    }
}

pin_project! {
    #[project = RouteFutureProj]
    pub(crate) enum RouteFuture {
        Plain { #[pin] answer: PlainFuture },
        Stack { answer: StackFuture },
        Own { answer: Option<Response<Bytes>> },
    }
}

impl Future for RouteFuture {
    type Output = Result<Response<RouteBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            RouteFutureProj::Plain { answer } => {
                answer.poll(cx).map_ok(|response| response.map(|body| RouteBody::Plain { body }))
            }
            RouteFutureProj::Stack { answer } => answer.as_mut().poll(cx),
            RouteFutureProj::Own { answer } => {
                let answer = answer.take().expect("polled after it had completed");
                Poll::Ready(Ok(answer.map(|bytes| RouteBody::Plain { body: ResponseBody::own(bytes) })))
            }
        }
    }
}

pin_project! {
    /// The body of a route's answer.
    #[project = RouteBodyProj]
    pub(crate) enum RouteBody {
        Plain { #[pin] body: PlainBody },
        Stack { #[pin] body: UnsyncBoxBody<Bytes, BoxError> },
    }
}

impl RouteBody {
    fn stack<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::Stack { body: body.map_err(Into::into).boxed_unsync() }
    }
}

impl Body for RouteBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            RouteBodyProj::Plain { body } => body.poll_frame(cx).map_err(Into::into),
            RouteBodyProj::Stack { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain { body } => body.is_end_stream(),
            Self::Stack { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain { body } => body.size_hint(),
            Self::Stack { body } => body.size_hint(),
        }
    }
}
