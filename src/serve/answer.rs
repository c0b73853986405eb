use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::signals::Signals;
use crate::body::ResponseBody;
use crate::{Reason, Rejection};

/// What an answer needs to know of its request and its connection.
pub(super) struct Origin {
    pub(super) signals: Arc<Signals>,
    /// HTTP/1.0, and not a HEAD: a body without a length ends with the connection.
    pub(super) may_end_with_connection: bool,
}

pin_project! {
    /// The future of one request. It never fails: an error or a panic of the service is an answer here.
    pub(super) struct Answering<F> {
        origin: Origin,
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] future: F },
        Refused { rejection: Rejection },
        Panicked,
    }
}

impl<F> Answering<F> {
    pub(super) fn called(origin: Origin, future: F) -> Self {
        Self { origin, state: State::Called { future } }
    }

    pub(super) fn refused(origin: Origin, rejection: Rejection) -> Self {
        Self { origin, state: State::Refused { rejection } }
    }

    pub(super) fn panicked(origin: Origin) -> Self {
        Self { origin, state: State::Panicked }
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Data: From<Bytes>,
{
    type Output = Result<Response<AnswerBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.state.project() {
            StateProj::Refused { rejection } => this.origin.refuse(rejection),
            StateProj::Panicked => this.origin.panicked(),
            StateProj::Called { future } => {
                // What a panic leaves behind half done is dropped with this connection, which closes after the answer.
                match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                    Ok(polled) => match ready!(polled) {
                        Ok(response) => response.map(ResponseBody::inner),
                        Err(_) => this.origin.failed(),
                    },
                    Err(_) => this.origin.panicked(),
                }
            }
        };
        Poll::Ready(Ok(this.origin.deliver(response)))
    }
}

impl Origin {
    fn refuse<B>(&self, rejection: &Rejection) -> Response<ResponseBody<B>> {
        self.signals.close_after_answer();
        rejection.response(None).map(ResponseBody::own)
    }

    fn internal_error<B>(&self) -> Response<ResponseBody<B>> {
        let reason = Reason::Other("internal_error");
        self.refuse(&Rejection::new("serve", reason).status(StatusCode::INTERNAL_SERVER_ERROR))
    }

    fn failed<B>(&self) -> Response<ResponseBody<B>> {
        self.signals.counters().service_errors.add_one();
        self.internal_error()
    }

    fn panicked<B>(&self) -> Response<ResponseBody<B>> {
        self.signals.counters().panics.add_one();
        self.internal_error()
    }

    fn deliver<B>(&self, mut response: Response<ResponseBody<B>>) -> Response<AnswerBody<B>>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.signals.upgraded();
        } else if self.signals.must_close() || self.signals.counters().drain.is_draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let ends_with_connection = self.may_end_with_connection
            && response.body().size_hint().exact().is_none()
            && !response.headers().contains_key(CONTENT_LENGTH)
            && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.signals.answer_began(ends_with_connection);
        response.map(|body| AnswerBody { body, signals: self.signals.clone(), ended: false })
    }
}

pin_project! {
    /// The body of an answer, which tells the connection when it has ended.
    pub(super) struct AnswerBody<B>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        #[pin]
        body: ResponseBody<B>,
        signals: Arc<Signals>,
        ended: bool,
    }

    impl<B> PinnedDrop for AnswerBody<B>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.signals.answer_ended(*this.ended || this.body.is_end_stream());
        }
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        *this.ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
