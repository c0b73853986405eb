//! The health path on the public listeners, answered before any route.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{Either, Ready, ready};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower::{Layer, Service};
use tower_gateway::body::ResponseBody;
use tower_gateway::client_ip::CidrSet;
use tower_gateway::{ClientIp, Reason, Rejection, RequestContext};

/// What is asked of the gateway itself. Clones share one state.
#[derive(Clone)]
pub(crate) struct Health {
    path: Option<Arc<str>>,
    /// Who may ask; empty: everybody.
    allow: Arc<CidrSet>,
    draining: Arc<AtomicBool>,
    /// Whether anything is wrong behind the gateway.
    degraded: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Health {
    pub(crate) fn new(config: &crate::config::Health, degraded: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self {
            degraded,
            path: config.path.as_deref().map(Arc::from),
            allow: Arc::new(config.allow.iter().copied().collect()),
            draining: Arc::default(),
        }
    }

    /// Takes over from `old` whether this gateway is about to leave.
    pub(crate) fn adopt(self, old: &Self) -> Self {
        Self { draining: old.draining.clone(), ..self }
    }

    /// From now on the answer is that this gateway is about to leave.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The answer, when `path` is the health path.
    fn answer(&self, method: &Method, path: &str, context: Option<&RequestContext>) -> Option<Response<Bytes>> {
        if self.path.as_deref() != Some(path) {
            return None;
        }
        Some(self.answer_there(method, context))
    }

    #[inline(never)]
    fn answer_there(&self, method: &Method, context: Option<&RequestContext>) -> Response<Bytes> {
        let client = context.and_then(RequestContext::client_ip).map(ClientIp::address);
        if !self.allow.is_empty() && !client.is_some_and(|client| self.allow.contains(client)) {
            return refuse(context, Rejection::new("health", Reason::IpDenied));
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = refuse(context, Rejection::new("health", Reason::MethodNotAllowed));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let draining = self.draining.load(Ordering::Relaxed);
        let (status, body) = match draining {
            true => (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#),
            // It serves what it can: a load balancer that took it out would make things worse.
            false if (self.degraded)() => (StatusCode::OK, r#"{"status":"degraded"}"#),
            false => (StatusCode::OK, r#"{"status":"ok"}"#),
        };
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl<S> Layer<S> for Health {
    type Service = HealthCheck<S>;

    fn layer(&self, inner: S) -> HealthCheck<S> {
        HealthCheck { health: self.clone(), inner }
    }
}

/// Answers the health path, and leaves all others to the inner service.
#[derive(Clone)]
pub(crate) struct HealthCheck<S> {
    health: Health,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for HealthCheck<S>
where
    S: Service<Request<B>, Response = Response<ResponseBody<R>>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<S::Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = request.extensions().get::<RequestContext>();
        match self.health.answer(request.method(), request.uri().path(), context) {
            Some(answer) => Either::Left(ready(Ok(answer.map(ResponseBody::own)))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}

/// The answer to a refusal, which the context is told as well.
pub(crate) fn refuse(context: Option<&RequestContext>, rejection: Rejection) -> Response<Bytes> {
    let response = rejection.response(context);
    if let Some(context) = context {
        context.set_rejection(rejection);
    }
    response
}
