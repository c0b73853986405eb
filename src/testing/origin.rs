//! The inner service of every case: it plays a script, and admits a limited number of requests at a time.

use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body::Body;
use thiserror::Error;
use tower_service::Service;

use super::Rule;
use super::body::{Plan, Step, TestBody};
use super::books::{Books, Permit};
use super::transcript;
use crate::{BoxError, UpstreamError};

/// The error of the harness's inner service.
///
/// It is made from an [`UpstreamError`], as layers around a client ask of the error they pass on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("error {number} of the inner service")]
pub struct TestError {
    number: u32,
}

impl TestError {
    pub(super) const fn numbered(number: u32) -> Self {
        Self { number }
    }
}

impl From<UpstreamError> for TestError {
    fn from(_: UpstreamError) -> Self {
        Self::numbered(0)
    }
}

/// The payload of a panic that a script asks for. It does not go through the panic hook, so a test that passes prints
/// nothing.
pub(super) struct PlannedPanic;

pub(super) fn planned_panic() -> ! {
    resume_unwind(Box::new(PlannedPanic))
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Succeed,
    Fail(TestError),
    Panic,
}

/// A wait that ends only when the script is changed.
pub(super) const FOREVER: usize = usize::MAX;

/// How the service behaves until it is told otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    /// How many times `poll_ready` of an instance is pending, and what comes of it.
    pub(super) ready: (usize, Outcome),
    pub(super) call_panics: bool,
    /// The same for the future of a call.
    pub(super) answer: (usize, Outcome),
    pub(super) status: StatusCode,
    pub(super) body: Plan,
}

impl Script {
    pub(super) const WELL: Self = Self {
        ready: (0, Outcome::Succeed),
        call_panics: false,
        answer: (0, Outcome::Succeed),
        status: StatusCode::OK,
        body: Plan::exact(&[Step::Data("answer")]),
    };
}

/// The inner service that the harness puts under a layer.
///
/// It is stricter than most: only an instance whose own `poll_ready` succeeded may be called, one that failed may not be
/// asked again, a clone inherits neither, and each ready instance holds a permit until it is dropped or its call is done.
/// Permits go to the instances that wait for them in the order they came, as tower's `ConcurrencyLimit` gives its own:
/// an instance that waits and is then forgotten keeps the next permit from all others.
#[derive(Debug)]
pub struct Origin {
    books: Books,
    instance: usize,
    polled: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Ready(Permit),
    Failed,
}

impl Origin {
    pub(super) fn new(books: &Books) -> Self {
        Self { instance: books.enter(), books: books.clone(), polled: 0, state: State::Idle }
    }
}

impl Clone for Origin {
    fn clone(&self) -> Self {
        Self::new(&self.books)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.books.leave(self.instance);
    }
}

impl<B> Service<Request<B>> for Origin
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<TestBody>;
    type Error = TestError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TestError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        match self.state {
            State::Ready(_) => return Poll::Ready(Ok(())),
            State::Failed => {
                self.books.breach(Rule::CalledWhenReady, "an instance whose poll_ready had failed was polled again");
                return Poll::Ready(Err(TestError::numbered(0)));
            }
            State::Idle => {}
        }
        match std::task::ready!(self.books.poll_pending(&mut self.polled, |script| script.ready, cx)) {
            Outcome::Panic => planned_panic(),
            Outcome::Fail(error) => {
                self.state = State::Failed;
                Poll::Ready(Err(error))
            }
            Outcome::Succeed => {
                self.state = State::Ready(std::task::ready!(self.books.reserve(self.instance, cx)));
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.polled = 0;
        let permit = match std::mem::replace(&mut self.state, State::Idle) {
            State::Ready(permit) => Some(permit.called()),
            State::Idle | State::Failed => {
                self.books.breach(Rule::CalledWhenReady, "an instance was called that had not said it was ready");
                None
            }
        };
        self.books.record_call();
        if self.books.script().call_panics {
            planned_panic();
        }
        let books = self.books.clone();
        let live = books.live_token();
        Box::pin(async move {
            let _held = (permit, live);
            let read = transcript::read(request.into_body()).await;
            books.record_request_body(read);
            let mut polled = 0;
            match poll_fn(|cx| books.poll_pending(&mut polled, |script| script.answer, cx)).await {
                Outcome::Panic => planned_panic(),
                Outcome::Fail(error) => Err(error),
                Outcome::Succeed => {
                    let script = books.script();
                    let mut response = Response::new(TestBody::new(script.body, Some(books.live_token())));
                    *response.status_mut() = script.status;
                    Ok(response)
                }
            }
        })
    }
}
