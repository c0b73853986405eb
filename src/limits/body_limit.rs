use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::limited::{Broken, LimitedBody};
use crate::body::ResponseBody;
use crate::gate::{Gate, gate_setters};
use crate::readiness::release;
use crate::{BoxError, Head, Reason, Rejection, RequestContext};

/// Bounds the length of request bodies. See the [module](super).
#[derive(Clone, Debug)]
pub struct BodyLimitLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    gate: Gate,
    limit: u64,
}

impl BodyLimitLayer {
    /// Bodies of at most `limit` bytes; with 0, none at all.
    pub fn new(limit: u64) -> Self {
        Self { settings: Arc::new(Settings { gate: Gate::default(), limit }) }
    }

    gate_setters!();
    gate_setters!(answers);
}

impl<S> Layer<S> for BodyLimitLayer {
    type Service = BodyLimit<S>;

    fn layer(&self, inner: S) -> BodyLimit<S> {
        BodyLimit { inner, settings: Arc::clone(&self.settings) }
    }
}

/// The service that [`BodyLimitLayer`] makes.
#[derive(Clone, Debug)]
pub struct BodyLimit<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for BodyLimit<S>
where
    S: Service<Request<LimitedBody<B>>, Response = Response<R>> + Clone,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = BodyLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.body().is_end_stream() || !self.settings.gate.applies(&request) {
            return BodyLimitFuture::inner(self.inner.call(request.map(LimitedBody::unlimited)), None);
        }
        let limit = self.settings.limit;
        let announced = request.body().size_hint();
        if announced.lower() > limit {
            release(&mut self.inner);
            let head = Head::of(&request);
            return BodyLimitFuture::own(self.settings.refusal(head, head.context()));
        }
        // One that says how long it is keeps to it, and is counted all the same.
        let watch = announced.upper().is_none_or(|upper| upper > limit).then(|| Watch::new(&self.settings, &request));
        let broken = watch.as_ref().map(|watch| watch.broken.clone());
        BodyLimitFuture::inner(self.inner.call(request.map(|body| LimitedBody::new(body, limit, broken))), watch)
    }
}

impl Settings {
    fn refusal(&self, head: Head<'_>, context: Option<&RequestContext>) -> Response<Bytes> {
        self.gate.answer(head, context, Rejection::new("body_limit", Reason::BodyTooLarge))
    }
}

/// What an answer is replaced with when the body turns out to be too long.
#[derive(Debug)]
struct Watch {
    broken: Broken,
    settings: Arc<Settings>,
    context: Option<RequestContext>,
    /// Kept only for a hook that wants to see it.
    head: Option<Box<request::Parts>>,
}

impl Watch {
    fn new<B>(settings: &Arc<Settings>, request: &Request<B>) -> Self {
        let head = || {
            let mut kept = Request::new(());
            *kept.method_mut() = request.method().clone();
            *kept.uri_mut() = request.uri().clone();
            *kept.headers_mut() = request.headers().clone();
            *kept.extensions_mut() = request.extensions().clone();
            Box::new(kept.into_parts().0)
        };
        Self {
            broken: Broken::default(),
            settings: Arc::clone(settings),
            context: request.extensions().get().cloned(),
            head: settings.gate.on_reject.is_some().then(head),
        }
    }

    fn refusal(&self) -> Response<Bytes> {
        let none = Request::new(()).into_parts().0;
        let head = Head::from(self.head.as_deref().unwrap_or(&none));
        self.settings.refusal(head, self.context.as_ref())
    }
}

pin_project! {
    /// The future of [`BodyLimit`].
    #[derive(Debug)]
    pub struct BodyLimitFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Inner { #[pin] future: F, watch: Option<Watch> },
        Own { response: Option<Response<Bytes>> },
    }
}

impl<F> BodyLimitFuture<F> {
    fn inner(future: F, watch: Option<Watch>) -> Self {
        Self { kind: Kind::Inner { future, watch } }
    }

    fn own(response: Response<Bytes>) -> Self {
        Self { kind: Kind::Own { response: Some(response) } }
    }
}

impl<F, R, E> Future for BodyLimitFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future, watch } => {
                let response = ready!(future.poll(cx))?;
                match watch {
                    Some(watch) if watch.broken.is_true() => Poll::Ready(Ok(watch.refusal().map(ResponseBody::own))),
                    _ => Poll::Ready(Ok(response.map(ResponseBody::inner))),
                }
            }
            KindProj::Own { response } => {
                let response = response.take().expect("polled after it had completed");
                Poll::Ready(Ok(response.map(ResponseBody::own)))
            }
        }
    }
}
