use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Settings;
use super::template::Scope;
use crate::aside::aside;
use crate::body::ResponseBody;
use crate::names::set_for_origin;
use crate::readiness::release;
use crate::{Head, Reason, Rejection, RequestContext};

const X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The service that [`TransformLayer`](super::TransformLayer) makes.
#[derive(Clone, Debug)]
pub struct Transform<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for Transform<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = TransformFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !self.settings.gate.applies(&request) {
            aside();
            return TransformFuture::inner(self.inner.call(request), None);
        }
        // Before anything is changed of it.
        let after = After::new(&self.settings, &request);
        match self.settings.refusal(&mut request) {
            None => TransformFuture::inner(self.inner.call(request), after),
            Some(refusal) => {
                aside();
                release(&mut self.inner);
                TransformFuture::own(refusal, after)
            }
        }
    }
}

impl Settings {
    /// The answer to a request that cannot be changed as it should; others are.
    fn refusal<B>(&self, request: &mut Request<B>) -> Option<Response<Bytes>> {
        if self.request.is_empty() { None } else { self.change(request) }
    }

    #[inline(never)]
    fn change<B>(&self, request: &mut Request<B>) -> Option<Response<Bytes>> {
        let head = Head::of(request);
        // All values first, since they may be those of fields that are about to change.
        let values: Result<Vec<_>, _> =
            self.request.values(Scope::of(head)).map(|(name, value)| value.map(|value| (name, value))).collect();
        let Ok(values) = values else {
            let rejection = Rejection::new("transform", Reason::BadRequest)
                .detail("what is known of the request cannot be passed on in a header field");
            return Some(self.gate.answer(head, head.context(), rejection));
        };
        let headers = request.headers_mut();
        self.request.remove_from(headers);
        for (name, value) in values {
            match value {
                Some(value) => set_for_origin(headers, name, value),
                None => drop(headers.remove(name)),
            }
        }
        None
    }
}

/// What is to be done to the answer, and what that needs of the request.
#[derive(Debug)]
struct After {
    settings: Arc<Settings>,
    start: Option<Instant>,
    context: Option<RequestContext>,
    target: Option<Box<(Uri, Option<HeaderValue>)>>,
}

impl After {
    fn new<B>(settings: &Arc<Settings>, request: &Request<B>) -> Option<Self> {
        let timed = settings.response_time || settings.server_timing;
        if settings.response.is_empty() && !timed {
            return None;
        }
        let target = || Box::new((request.uri().clone(), request.headers().get(HOST).cloned()));
        let context = || request.extensions().get().cloned();
        Some(Self {
            settings: Arc::clone(settings),
            start: timed.then(|| settings.clock.now()),
            context: if settings.response.reads_request() { context() } else { None },
            target: settings.response.reads_target().then(target),
        })
    }

    fn apply(self, headers: &mut HeaderMap) {
        let rules = &self.settings.response;
        rules.remove_from(headers);
        if rules.sets() {
            self.set(headers);
        }
        if let Some(start) = self.start {
            self.settings.write_times(self.settings.clock.now() - start, headers);
        }
    }

    #[inline(never)]
    fn set(&self, headers: &mut HeaderMap) {
        let nowhere = (Uri::default(), None);
        let (uri, host) = self.target.as_deref().unwrap_or(&nowhere);
        for (name, value) in self.settings.response.values(Scope::new(self.context.as_ref(), uri, host.as_ref())) {
            match value {
                Ok(Some(value)) => drop(headers.insert(name, value)),
                // An answer that is there already is not given up for a field that it cannot have.
                Ok(None) | Err(_) => drop(headers.remove(name)),
            }
        }
    }
}

impl Settings {
    #[inline(never)]
    fn write_times(&self, elapsed: Duration, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(32);
        if self.response_time {
            // Writing to a string cannot fail, here and below.
            let _ = write!(text, "{}ms", elapsed.as_millis());
            if let Ok(value) = HeaderValue::try_from(text.as_str()) {
                headers.insert(X_RESPONSE_TIME, value);
            }
        }
        if self.server_timing {
            text.clear();
            let _ = write!(text, "gateway;dur={}.{:03}", elapsed.as_millis(), elapsed.subsec_micros() % 1000);
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(SERVER_TIMING, value);
            }
        }
    }
}

pin_project! {
    /// The future of [`Transform`].
    #[derive(Debug)]
    pub struct TransformFuture<F> {
        #[pin]
        kind: Kind<F>,
        after: Option<After>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Own { response: Option<Response<Bytes>> },
    }
}

impl<F> TransformFuture<F> {
    fn inner(future: F, after: Option<After>) -> Self {
        Self { kind: Kind::Inner { future }, after }
    }

    fn own(response: Response<Bytes>, after: Option<After>) -> Self {
        Self { kind: Kind::Own { response: Some(response) }, after }
    }
}

impl<F, R, E> Future for TransformFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.kind.project() {
            KindProj::Inner { future } => ready!(future.poll(cx))?.map(ResponseBody::inner),
            KindProj::Own { response } => {
                aside();
                response.take().expect("polled after it had completed").map(ResponseBody::own)
            }
        };
        if let Some(after) = this.after.take() {
            after.apply(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests;
