use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Settings;
use super::{make, random};
use crate::body::ResponseBody;
use crate::lines::Lines;
use crate::names::ForOrigin;
use crate::{ClientIp, Head, RequestContext, RequestId, TraceContext};

const MAX_INCOMING_LENGTH: usize = 128;

/// The service of a [`RequestIdLayer`](super::RequestIdLayer).
///
/// Readiness is immediate: it is ready when the inner service is.
#[derive(Clone)]
pub struct RequestIdService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> RequestIdService<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S: fmt::Debug> fmt::Debug for RequestIdService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestIdService").field("inner", &self.inner).field("settings", &self.settings).finish()
    }
}

impl<S, B, R> Service<Request<B>> for RequestIdService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = RequestIdFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let stamp = self.settings.gate.applies(&request).then(|| {
            let id = self.settings.identify(&mut request);
            (self.settings.header.clone(), id)
        });
        RequestIdFuture { inner: self.inner.call(request), stamp }
    }
}

impl Settings {
    /// Sets the id and the trace of a request, in its context and in its headers.
    fn identify<B>(&self, request: &mut Request<B>) -> RequestId {
        let context = RequestContext::get_or_insert(request.extensions_mut());
        let is_trusted = self.trust_every_peer || context.client_ip().is_some_and(ClientIp::peer_is_trusted);
        let (id, trace) = (context.request_id().cloned(), context.trace().cloned());

        let id = id.unwrap_or_else(|| {
            let incoming = if is_trusted { self.incoming_id(request.headers()) } else { None };
            incoming.unwrap_or_else(|| self.make_id(&Head::of(request)))
        });
        let headers = request.headers_mut();
        self.spellings.remove_from(headers);
        let mut of_origin = ForOrigin::of(headers);
        of_origin.set(&self.header, id.as_header_value().clone());

        let trace = self.trace_context.then(|| {
            let trace = trace.unwrap_or_else(|| self.next_trace(of_origin.headers(), is_trusted));
            trace.write_for_origin(&mut of_origin);
            trace
        });
        // What was there before stays.
        let context = RequestContext::get_or_insert(request.extensions_mut());
        context.note_request_id(id.clone());
        if let Some(trace) = trace {
            context.note_trace(trace);
        }
        id
    }

    fn incoming_id(&self, headers: &HeaderMap) -> Option<RequestId> {
        let line = Lines::of(headers, &self.header).only()?;
        let is_acceptable = line.len() <= MAX_INCOMING_LENGTH
            && line.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"._:+/=@-".contains(byte));
        if is_acceptable { RequestId::new(line.clone()) } else { None }
    }

    fn make_id(&self, head: &Head<'_>) -> RequestId {
        let own = self.make.as_ref().and_then(|make| make.make_request_id(head));
        own.unwrap_or_else(|| make::uuid_v7(&self.clock))
    }

    fn next_trace(&self, headers: &HeaderMap, is_trusted: bool) -> TraceContext {
        let is_believed = is_trusted || !self.restart_untrusted_traces;
        let caller = if is_believed { TraceContext::from_headers(headers) } else { None };
        match caller {
            Some(caller) => caller.child(random::parent_id()),
            None => TraceContext::start(random::trace_id(), random::parent_id(), self.sample_started_traces),
        }
    }
}

pin_project! {
    /// The future of a [`RequestIdService`].
    #[derive(Debug)]
    pub struct RequestIdFuture<F> {
        #[pin]
        inner: F,
        stamp: Option<(HeaderName, RequestId)>,
    }
}

impl<F, R, E> Future for RequestIdFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some((header, id)) = this.stamp.take() {
            response.headers_mut().insert(header, id.as_header_value().clone());
        }
        Poll::Ready(Ok(response.map(ResponseBody::inner)))
    }
}
