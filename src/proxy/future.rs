use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode, Version, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::body::{ForwardBody, ProxyBody};
use super::error::rejection;
use super::fields::strip_known_hop_by_hop;
use super::service::Settings;
use super::streams::lasts;
use super::timeouts::{Timer, UploadProgress, Waiting, deadline};
use super::upgrade::{Asked, switch};
use crate::aside::aside;
use crate::body::ResponseBody;
use crate::date;
use crate::known::Known;
use crate::lines::Lines;
use crate::rejection::grpc;
use crate::turn;
use crate::{BoxError, Head, Oneshot, RequestContext, UpstreamError, UpstreamErrorKind};

pin_project! {
    /// The future of [`ProxyService`](super::ProxyService).
    pub struct ProxyFuture<C, B>
    where
        C: Service<Request<ForwardBody<B>>>,
    {
        #[pin]
        state: State<Oneshot<C, Request<ForwardBody<B>>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Exchange {
            #[pin]
            answer: F,
            timer: Timer,
            exchange: Exchange,
        },
        Answered { response: Option<Response<Bytes>> },
    }
}

/// What is to be remembered until the answer comes.
struct Exchange {
    settings: Arc<Settings>,
    context: Option<RequestContext>,
    /// The handshake, where the client asks to switch protocols.
    switching: Option<Box<Asked>>,
    start: Instant,
    /// Its future has been polled.
    began: bool,
    upload: Option<UploadProgress>,
    /// For the whole exchange, by the proxy's settings: not where the call may be a stream.
    total: Option<Duration>,
    /// For the whole exchange, by the caller's own word, also where it is a stream.
    patience: Option<Duration>,
    /// The head as it was sent, kept only for a hook that wants to see it, or that a failure is told by.
    head: Option<Box<request::Parts>>,
}

impl<C, B> ProxyFuture<C, B>
where
    C: Service<Request<ForwardBody<B>>> + Clone,
    B: Body,
{
    pub(super) fn answered(response: Response<Bytes>) -> Self {
        Self { state: State::Answered { response: Some(response) } }
    }

    pub(super) fn start(
        settings: Arc<Settings>,
        context: Option<RequestContext>,
        switching: Option<Box<Asked>>,
        parts: request::Parts,
        body: B,
        client: &mut C,
    ) -> Self {
        let start = Instant::now();
        let upload = if body.is_end_stream() {
            None
        } else {
            aside();
            Some(UploadProgress::new(start))
        };
        let (mut patience, mut total, mut head) = (None, settings.timeouts.total, None);
        if grpc::is_call(&parts.method, &parts.headers) {
            aside();
            patience = grpc::timeout(&parts.headers);
            total = total.filter(|_| settings.timeouts.total_ends_streams);
            head = Some(Box::new(what_makes_a_call(&parts)));
        }
        if settings.gate.on_reject.is_some() {
            aside();
            head = Some(Box::new(parts.clone()));
        }
        // Only what has a body can have trailers.
        let asked = upload.as_ref().and(context.clone());
        let body = ForwardBody::new(body, upload.clone(), settings.stripped.clone(), asked);
        let answer = Oneshot::start(client, Request::from_parts(parts, body));
        turn::ask();
        let exchange = Exchange { settings, context, switching, start, began: false, upload, total, patience, head };
        Self { state: State::Exchange { answer, timer: Timer::default(), exchange } }
    }
}

/// So much of the head of a gRPC call as it is known by.
fn what_makes_a_call(parts: &request::Parts) -> request::Parts {
    let mut own = Request::new(()).into_parts().0;
    own.method = parts.method.clone();
    if let Some(content_type) = parts.headers.get(CONTENT_TYPE) {
        own.headers.insert(CONTENT_TYPE, content_type.clone());
    }
    own
}

impl<C, B, R> Future for ProxyFuture<C, B>
where
    C: Service<Request<ForwardBody<B>>, Response = Response<R>>,
    C::Error: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody<ProxyBody<R>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Exchange { answer, timer, exchange } if !exchange.began => {
                // All requests that came in together are read before the first of them is sent: the origin is then woken
                // once for all of them instead of once for each, which is most of what a wake-up costs either side.
                exchange.began = true;
                if turn::give(cx) {
                    return Poll::Pending;
                }
                exchange.poll(answer, timer, cx)
            }
            StateProj::Exchange { answer, timer, exchange } => exchange.poll(answer, timer, cx),
            StateProj::Answered { response } => {
                aside();
                let response = response.take().expect("polled after it had completed");
                Poll::Ready(Ok(response.map(ResponseBody::own)))
            }
        }
    }
}

impl Exchange {
    #[inline]
    fn poll<F, R, E>(
        &mut self,
        answer: Pin<&mut F>,
        timer: &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody<ProxyBody<R>>>, Infallible>>
    where
        F: Future<Output = Result<Response<R>, E>>,
        E: Into<BoxError>,
    {
        let error = match answer.poll(cx) {
            Poll::Ready(Ok(response)) => return self.pass_on(response),
            Poll::Ready(Err(error)) => UpstreamError::classify(error),
            Poll::Pending => UpstreamError::new(ready!(self.poll_deadline(timer, cx))),
        };
        aside();
        Poll::Ready(Ok(self.fail(error)))
    }

    /// Ready with the answer, which is then written where it is wanted and not moved there.
    fn pass_on<R>(
        &mut self,
        mut response: Response<R>,
    ) -> Poll<Result<Response<ResponseBody<ProxyBody<R>>>, Infallible>> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(asked) = self.switching.take()
            && switch(*asked, &mut response, self.settings.timeouts.upgrade_idle)
        {
            aside();
            let answer = response.map(|body| ResponseBody::inner(ProxyBody::new(body, None, None, None)));
            return Poll::Ready(Ok(answer));
        }
        let status = response.status();
        let known = Known::of(response.headers());
        if !may_be_passed_on(status, response.headers(), known) {
            return Poll::Ready(Ok(self.fail(UpstreamError::new(UpstreamErrorKind::InvalidResponse))));
        }
        // What the origin speaks concerns the connection to it (RFC 9110 section 2.5).
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        strip_known_hop_by_hop(headers, known);
        if status == StatusCode::NO_CONTENT {
            aside();
            // RFC 9110 section 8.6: a 204 has no Content-Length.
            headers.remove(CONTENT_LENGTH);
        }
        // Connection may have named it.
        if !known.any(Known::DATE) || known.any(Known::CONNECTION) && !headers.contains_key(DATE) {
            aside();
            headers.insert(DATE, date::now());
        }
        let timeouts = &self.settings.timeouts;
        let is_exempt = self.total.is_some() && !timeouts.total_ends_streams && lasts(response.headers());
        let total = if is_exempt { self.patience } else { self.most() };
        let total = deadline(self.start, total);
        let context = self.context.take();
        let answer = response.map(|body| ResponseBody::inner(ProxyBody::new(body, timeouts.body_idle, total, context)));
        Poll::Ready(Ok(answer))
    }

    #[cold]
    fn fail<R>(&mut self, error: UpstreamError) -> Response<ResponseBody<ProxyBody<R>>> {
        let rejection = rejection(&error);
        if let Some(context) = &self.context {
            context.set_upstream_error(error);
        }
        let none = request::Request::new(()).into_parts().0;
        let head = Head::from(self.head.as_deref().unwrap_or(&none));
        self.settings.gate.answer(head, self.context.as_ref(), rejection).map(ResponseBody::own)
    }

    /// How long the exchange may take as long as it is not known to be a stream.
    fn most(&self) -> Option<Duration> {
        [self.total, self.patience].into_iter().flatten().min()
    }

    fn poll_deadline(&self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<UpstreamErrorKind> {
        loop {
            let head = self.head_deadline();
            let total = deadline(self.start, self.most());
            let (next, kind) = match (head, total) {
                (None, None) => return Poll::Pending,
                (Some((head, _)), Some(total)) if total < head => (total, Some(UpstreamErrorKind::TotalTimeout)),
                (None, Some(total)) => (total, Some(UpstreamErrorKind::TotalTimeout)),
                (Some((head, final_)), _) => (head, final_.then_some(UpstreamErrorKind::ResponseTimeout)),
            };
            ready!(timer.poll_until(cx, next));
            if let Some(kind) = kind {
                return Poll::Ready(kind);
            }
        }
    }

    /// When to look again, and whether the time is up then: not while the client is still sending.
    fn head_deadline(&self) -> Option<(Instant, bool)> {
        let limit = self.settings.timeouts.response_head;
        match self.upload.as_ref().map(UploadProgress::waiting_for) {
            None => deadline(self.start, limit).map(|at| (at, true)),
            Some(waiting) => {
                aside();
                match waiting {
                    Waiting::Origin(since) => deadline(since, limit).map(|at| (at, true)),
                    Waiting::Client => deadline(Instant::now(), limit).map(|at| (at, false)),
                }
            }
        }
    }
}

/// Whatever the client made of it, an answer is not passed on when it is none (nobody asked to switch protocols, an
/// interim answer is never the last one, and 600 is no status), or when the next recipient could take its end to be
/// elsewhere: two lengths, or a coding other than `chunked`, which is not undone here (RFC 9112 section 6.3).
fn may_be_passed_on(status: StatusCode, headers: &HeaderMap, known: Known) -> bool {
    if !(200..600).contains(&status.as_u16()) {
        aside();
        return false;
    }
    if known.any(Known::CONTENT_LENGTH) {
        let length = Lines::of(headers, CONTENT_LENGTH).only();
        if !length.is_some_and(|length| length.as_bytes().iter().all(u8::is_ascii_digit)) {
            aside();
            return false;
        }
    }
    if known.any(Known::TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        return chunked && codings.next().is_none() && !known.any(Known::CONTENT_LENGTH);
    }
    true
}

impl<C, B> fmt::Debug for ProxyFuture<C, B>
where
    C: Service<Request<ForwardBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyFuture").finish_non_exhaustive()
    }
}
