//! Four small layers that keep the contract, one for each way to do so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_gateway::Oneshot;
use tower_gateway::body::{BodyEnd, BodyGuard, GuardedBody, ResponseBody};

pin_project! {
    /// Passes the inner answer on, or gives one of its own.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: Option<F>,
        own: StatusCode,
    }
}

impl<F, R, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => Poll::Ready(Ok(ready!(inner.poll(cx))?.map(ResponseBody::inner))),
            None => Poll::Ready(Ok(own_answer(*this.own))),
        }
    }
}

fn own_answer<R>(status: StatusCode) -> Response<ResponseBody<R>> {
    let mut response = Response::new(ResponseBody::own(Bytes::from_static(b"refused")));
    *response.status_mut() = status;
    response
}

/// Marks a request as seen, and passes it on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transparent;

#[derive(Clone, Debug)]
pub(crate) struct TransparentService<S>(S);

impl<S> Layer<S> for Transparent {
    type Service = TransparentService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TransparentService(inner)
    }
}

impl<S, B, R> Service<Request<B>> for TransparentService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.headers_mut().insert("x-seen", http::HeaderValue::from_static("yes"));
        Answering { inner: Some(self.0.call(request)), own: StatusCode::OK }
    }
}

/// Refuses TRACE, and anything after `quota` requests.
#[derive(Clone, Debug)]
pub(crate) struct Refusing {
    pub(crate) left: Arc<AtomicUsize>,
}

impl Refusing {
    pub(crate) fn after(quota: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(quota)) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RefusingService<S> {
    inner: S,
    left: Arc<AtomicUsize>,
}

impl<S> Layer<S> for Refusing {
    type Service = RefusingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RefusingService { inner, left: self.left.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for RefusingService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let one_less = |left: usize| left.checked_sub(1);
        let admitted = request.method() != http::Method::TRACE
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if admitted {
            return Answering { inner: Some(self.inner.call(request)), own: StatusCode::OK };
        }
        // A fresh clone has reserved nothing.
        self.inner = self.inner.clone();
        Answering { inner: None, own: StatusCode::TOO_MANY_REQUESTS }
    }
}

/// Waits a moment of virtual time before it calls the inner service, and refuses TRACE without one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deferred;

#[derive(Clone, Debug)]
pub(crate) struct DeferredService<S>(S);

impl<S> Layer<S> for Deferred {
    type Service = DeferredService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeferredService(inner)
    }
}

impl<S, B, R> Service<Request<B>> for DeferredService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            if request.method() == http::Method::TRACE {
                return Ok(own_answer(StatusCode::METHOD_NOT_ALLOWED));
            }
            Ok(Oneshot::start(&mut inner, request).await?.map(ResponseBody::inner))
        })
    }
}

/// Counts requests until their answers have ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    pub(crate) in_flight: Arc<AtomicUsize>,
}

#[derive(Debug)]
pub(crate) struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(in_flight: &Arc<AtomicUsize>) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Self(in_flight.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BodyGuard for Held {
    fn ended(self, _: BodyEnd) {}
}

#[derive(Clone, Debug)]
pub(crate) struct HoldingService<S> {
    inner: S,
    in_flight: Arc<AtomicUsize>,
}

impl<S> Layer<S> for Holding {
    type Service = HoldingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HoldingService { inner, in_flight: self.in_flight.clone() }
    }
}

pin_project! {
    pub(crate) struct HoldingFuture<F> {
        #[pin]
        inner: F,
        held: Option<Held>,
    }
}

impl<F, R, E> Future for HoldingFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<GuardedBody<R, Held>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let held = this.held.take().expect("polled after it had completed");
        Poll::Ready(Ok(response.map(|body| ResponseBody::inner(GuardedBody::new(body, held)))))
    }
}

impl<S, B, R> Service<Request<B>> for HoldingService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<ResponseBody<GuardedBody<R, Held>>>;
    type Error = S::Error;
    type Future = HoldingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let held = Held::new(&self.in_flight);
        HoldingFuture { inner: self.inner.call(request), held: Some(held) }
    }
}
