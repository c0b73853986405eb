//! Layers of any type in a stack of one type: what is around a plugin and what is within it is boxed, on routes that have
//! one, and on no others.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either};
use pin_project_lite::pin_project;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};
use tower_gateway::BoxError;

use crate::stack::Switch;

/// The body of requests and answers where plugins are.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What a plugin is around.
pub(crate) type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A plugin's layer.
#[derive(Clone)]
pub(crate) struct PluginLayer(Arc<dyn Fn(Inner) -> Inner + Send + Sync>);

impl PluginLayer {
    pub(crate) fn new<L, S, R>(layer: L) -> Self
    where
        L: Layer<Inner, Service = S> + Send + Sync + 'static,
        S: Service<Request<Body>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        R: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let boxed = |response: Response<R>| response.map(|body| body.map_err(Into::into).boxed_unsync());
        Self(Arc::new(move |inner| BoxCloneSyncService::new(layer.layer(inner).map_response(boxed))))
    }
}

/// The plugins of a route, the first one outermost.
#[derive(Clone, Default)]
pub(crate) struct PluginStack(Arc<[PluginLayer]>);

impl PluginStack {
    pub(crate) fn new(plugins: Vec<PluginLayer>) -> Self {
        Self(plugins.into())
    }
}

impl Switch for PluginStack {
    fn off() -> Self {
        Self::default()
    }
}

impl<S, R> Layer<S> for PluginStack
where
    S: Service<Request<Body>, Response = Response<R>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    R: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Service = Plugged<S>;

    fn layer(&self, inner: S) -> Plugged<S> {
        if self.0.is_empty() {
            return Plugged::Directly(inner);
        }
        let boxed = |response: Response<R>| response.map(|body| body.map_err(Into::into).boxed_unsync());
        let innermost: Inner = BoxCloneSyncService::new(inner.map_response(boxed));
        Plugged::ByPlugins(self.0.iter().rev().fold(innermost, |inner, plugin| (plugin.0)(inner)))
    }
}

/// The rest of the stack, reached through plugins or without any.
#[derive(Clone)]
pub(crate) enum Plugged<S> {
    Directly(S),
    ByPlugins(Inner),
}

impl<S, B, R> Service<Request<B>> for Plugged<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Either<R, Body>>;
    type Error = Infallible;
    type Future = PluggedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self {
            Self::Directly(inner) => inner.poll_ready(cx),
            Self::ByPlugins(plugins) => plugins.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self {
            Self::Directly(inner) => PluggedFuture::Directly { answer: inner.call(request) },
            Self::ByPlugins(plugins) => {
                let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                PluggedFuture::ByPlugins { answer: plugins.call(request) }
            }
        }
    }
}

type Answer<R> = Result<Response<R>, Infallible>;

pin_project! {
    #[project = PluggedFutureProj]
    pub(crate) enum PluggedFuture<F> {
        Directly { #[pin] answer: F },
        ByPlugins { answer: Pin<Box<dyn Future<Output = Answer<Body>> + Send>> },
    }
}

impl<F, R> Future for PluggedFuture<F>
where
    F: Future<Output = Answer<R>>,
{
    type Output = Answer<Either<R, Body>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            PluggedFutureProj::Directly { answer } => answer.poll(cx).map_ok(|response| response.map(Either::Left)),
            PluggedFutureProj::ByPlugins { answer } => {
                answer.as_mut().poll(cx).map_ok(|response| response.map(Either::Right))
            }
        }
    }
}
