//! A layer over the harness's inner service, with its type erased: the cases are written once, not per layer.

use std::any::TypeId;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode, response};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{Plan, TestBody};
use super::books::Books;
use super::drive::Polls;
use super::origin::{Origin, TestError};
use super::transcript::{self, Moment};
use super::{Readiness, Rule};
use crate::BoxError;

pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>>>>;

trait AnyService {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
    fn call(&mut self, request: Request<TestBody>) -> Answering;
    fn boxed_clone(&self) -> Box<dyn AnyService>;
}

impl<S, B> AnyService for S
where
    S: Service<Request<TestBody>, Response = Response<B>, Error: Into<BoxError>> + Clone + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(self, cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<TestBody>) -> Answering {
        let answer = Service::call(self, request);
        Box::pin(async move {
            let response = answer.await.map_err(Into::into)?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }

    fn boxed_clone(&self) -> Box<dyn AnyService> {
        Box::new(self.clone())
    }
}

/// One service made by the layer under test.
pub(super) struct Stack {
    service: Box<dyn AnyService>,
    books: Books,
    readiness: Readiness,
    /// The layer's service has the error type of the inner one.
    pub(super) keeps_error_type: bool,
}

impl Stack {
    pub(super) fn new<L, S, B>(layer: &L, books: &Books, readiness: Readiness) -> Self
    where
        L: Layer<Origin, Service = S>,
        S: Service<Request<TestBody>, Response = Response<B>, Error: Into<BoxError> + 'static> + Clone + 'static,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self {
            service: Box::new(layer.layer(Origin::new(books))),
            books: books.clone(),
            readiness,
            keeps_error_type: TypeId::of::<S::Error>() == TypeId::of::<TestError>(),
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(cx)
    }

    pub(super) async fn ready(&mut self) -> Result<(), BoxError> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    pub(super) fn call(&mut self, request: Request<TestBody>) -> Answering {
        let mut answer = self.service.call(request);
        if self.readiness == Readiness::Immediate {
            return answer;
        }
        let books = self.books.clone();
        Box::pin(poll_fn(move |cx| {
            let polled = answer.as_mut().poll(cx);
            if polled.is_pending() && books.reserved() > 0 {
                books.breach(Rule::Readiness, "the inner service's reservation is held while the layer waits");
            }
            polled
        }))
    }

    /// One request from `poll_ready` to the last frame of its answer, with no more than `polls`.
    pub(super) async fn exchange(
        &mut self,
        request: Request<TestBody>,
        polls: &mut Polls,
    ) -> Result<Exchange, BoxError> {
        match polls.spend_on(self.ready()).await {
            None => return Ok(Exchange::GivenUpBeforeCall),
            Some(ready) => ready?,
        }
        let answer = self.call(request);
        let Some(response) = polls.spend_on(answer).await else { return Ok(Exchange::GivenUp) };
        let (head, body) = response?.into_parts();
        let Some(body) = polls.spend_on(transcript::read(body)).await else { return Ok(Exchange::GivenUp) };
        Ok(Exchange::Answered(Answer { head, body }))
    }

    /// The same, with as many polls as it takes.
    pub(super) async fn send(&mut self, request: Request<TestBody>) -> Result<Answer, BoxError> {
        match self.exchange(request, &mut { Polls::UNLIMITED }).await? {
            Exchange::Answered(answer) => Ok(answer),
            Exchange::GivenUpBeforeCall | Exchange::GivenUp => Err("given up with polls left".into()),
        }
    }
}

impl Clone for Stack {
    fn clone(&self) -> Self {
        Self {
            service: self.service.boxed_clone(),
            books: self.books.clone(),
            readiness: self.readiness,
            keeps_error_type: self.keeps_error_type,
        }
    }
}

pub(super) enum Exchange {
    Answered(Answer),
    GivenUpBeforeCall,
    GivenUp,
}

pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) body: Vec<Moment>,
}

/// A client of one service that the layer made; see [`Contract::shared`](super::Contract::shared).
pub struct Caller {
    stack: Stack,
}

impl Caller {
    pub(super) fn new(stack: Stack) -> Self {
        Self { stack }
    }

    /// Sends a request without a body, and reads the whole answer.
    ///
    /// # Panics
    ///
    /// When the request is not valid, or an error comes instead of an answer; the harness reports it.
    pub async fn send(&mut self, request: http::request::Builder) -> Response<Bytes> {
        let body = TestBody::new(Plan::EMPTY, Some(self.stack.books.live_token()));
        let request = request.body(body).expect("a valid request");
        let answer = self.stack.send(request).await.expect("an answer, not an error");
        Response::from_parts(answer.head, transcript::data(&answer.body).into())
    }

    /// How many requests have reached the inner service, which is the same for both callers.
    pub fn inner_calls(&self) -> usize {
        self.stack.books.calls()
    }

    /// What the inner service answers with from now on.
    pub fn inner_answers(&self, status: StatusCode) {
        self.stack.books.play(|script| script.status = status);
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("inner_calls", &self.inner_calls()).finish_non_exhaustive()
    }
}
