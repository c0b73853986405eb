//! What serves one route: its end alone, or a stack around it. Either is boxed once, at its edge, with one box for the
//! future of an answer and its body, however many layers there are; what stands behind the layers that may refuse is so a
//! second time, so that a request that is refused has none of it made or moved.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_gateway::body::ResponseBody;
use tower_gateway::concurrency::ConcurrencyLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::limits::{BodyLimit, ContentTypeLayer, LimitedBody};
use tower_gateway::rate_limit::{BoxStore, MemoryStore};
use tower_gateway::serve::ServeBody;
use tower_gateway::strict::EncodedSlashes;
use tower_gateway::transform::TransformLayer;
use tower_gateway::{BoxError, Oneshot, Reason, Rejection};

use crate::cache::Cache;
use crate::cors::CorsOfRoute;
use crate::endpoint::Endpoint;
use crate::health::refuse;
use crate::rate_limits::Limiter;

/// A route without optional layers: its end, and how long a body may be.
pub(crate) type Plain = BodyLimit<Endpoint>;

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
    pub(crate) fn choose<S, R>(
        self,
        cors: Option<CorsOfRoute<ServeBody>>,
        stack: S,
        plain: Plain,
    ) -> Box<dyn Stack<ServeBody>>
    where
        S: Service<Request<ServeBody>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        R: Body<Data = Bytes, Error: Into<BoxError>> + Default + Send + 'static,
    {
        match cors {
            Some(cors) => Box::new(cors.layer(stack)),
            None if self.any => Box::new(stack),
            None => Box::new(plain),
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
    pub(crate) stack: Box<dyn Stack<ServeBody>>,
}

impl Service<Request<ServeBody>> for RouteService {
    type Response = Response<ResponseBody<RouteBody>>;
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
        RouteFuture::Stack { exchange: Some(self.stack.boxed_call(request)) }
    }
}

/// A stack of layers whose type is nobody's business.
pub(crate) trait Stack<B>: Send + Sync {
    fn boxed_call(&mut self, request: Request<B>) -> BoxExchange;
    fn boxed_clone(&self) -> Box<dyn Stack<B>>;
}

impl<B> Clone for Box<dyn Stack<B>> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}

impl<S, B, R> Stack<B> for S
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn boxed_call(&mut self, request: Request<B>) -> BoxExchange {
        Box::pin(Running::Called { future: Oneshot::start(self, request) })
    }

    fn boxed_clone(&self) -> Box<dyn Stack<B>> {
        Box::new(self.clone())
    }
}

/// Where a stack is cut in two: before it are layers that refuse, behind it are those for who is let in.
#[derive(Clone, Copy)]
pub(crate) struct Door;

/// What is behind the door.
#[derive(Clone)]
pub(crate) struct Behind(Box<dyn Stack<LimitedBody<ServeBody>>>);

impl<S, R> Layer<S> for Door
where
    S: Service<Request<LimitedBody<ServeBody>>, Response = Response<R>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Service = Behind;

    fn layer(&self, inner: S) -> Behind {
        Behind(Box::new(inner))
    }
}

impl Service<Request<LimitedBody<ServeBody>>> for Behind {
    type Response = Response<RouteBody>;
    type Error = Infallible;
    type Future = BehindFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<LimitedBody<ServeBody>>) -> BehindFuture {
        BehindFuture(Some(self.0.boxed_call(request)))
    }
}

pub(crate) struct BehindFuture(Option<BoxExchange>);

impl Future for BehindFuture {
    type Output = Result<Response<RouteBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut running = self.0.take().expect("polled after it had completed");
        match running.as_mut().poll_head(cx) {
            Poll::Ready(head) => Poll::Ready(Ok(Response::from_parts(head, RouteBody(running)))),
            Poll::Pending => {
                self.0 = Some(running);
                Poll::Pending
            }
        }
    }
}

/// One request at a stack: first the future of its answer, then the answer's body, in one place.
///
/// Both are large, and every layer outside would move them about.
pub(crate) trait Exchange: Send {
    /// The head of the answer, once.
    fn poll_head(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<response::Parts>;
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;
    fn is_end_stream(&self) -> bool;
    fn size_hint(&self) -> SizeHint;
}

type BoxExchange = Pin<Box<dyn Exchange>>;

pin_project! {
    #[project = RunningProj]
    enum Running<F, R> {
        Called { #[pin] future: F },
        Answered { #[pin] body: R },
    }
}

impl<F, R> Exchange for Running<F, R>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Send,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send,
{
    fn poll_head(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<response::Parts> {
        let RunningProj::Called { future } = self.as_mut().project() else { return Poll::Pending };
        let (head, body) = match ready!(future.poll(cx)) {
            Ok(response) => response.into_parts(),
            Err(never) => match never {},
        };
        self.set(Self::Answered { body });
        Poll::Ready(head)
    }

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            RunningProj::Answered { body } => body.poll_frame(cx).map_err(Into::into),
            RunningProj::Called { .. } => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Answered { body } => body.is_end_stream(),
            Self::Called { .. } => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Answered { body } => body.size_hint(),
            Self::Called { .. } => SizeHint::with_exact(0),
        }
    }
}

pub(crate) enum RouteFuture {
    Stack { exchange: Option<BoxExchange> },
    Own { answer: Option<Response<Bytes>> },
}

impl Future for RouteFuture {
    type Output = Result<Response<ResponseBody<RouteBody>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match &mut *self {
            Self::Stack { exchange } => {
                let running = exchange.as_mut().expect("polled after it had completed");
                let head = ready!(running.as_mut().poll_head(cx));
                Response::from_parts(head, exchange.take().map_or_else(ResponseBody::default, RouteBody::of))
            }
            Self::Own { answer } => answer.take().expect("polled after it had completed").map(ResponseBody::own),
        }))
    }
}

/// The body of a route's answer.
pub(crate) struct RouteBody(BoxExchange);

impl RouteBody {
    fn of(exchange: BoxExchange) -> ResponseBody<Self> {
        ResponseBody::inner(Self(exchange))
    }
}

impl Body for RouteBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
