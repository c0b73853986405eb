//! The inner service of every case: it plays a script, admits a limited number of requests at a time, and keeps book.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use http_body::Body;
use thiserror::Error;
use tower_service::Service;

use super::Rule;
use super::body::{Plan, Step, TestBody};
use super::transcript::{self, Moment};
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

/// What the case that runs can ask and change, however deep under a layer the service itself is.
#[derive(Clone, Debug)]
pub(super) struct Books(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    script: Script,
    free: usize,
    reserved: usize,
    calls: usize,
    live: usize,
    instances: usize,
    /// Instances that wait for a permit, first come first served.
    queue: VecDeque<(usize, Waker)>,
    /// Instances that have been given one and do not know yet.
    granted: Vec<usize>,
    /// Those who wait for the script to change.
    audience: Vec<Waker>,
    request_body: Option<Vec<Moment>>,
    breach: Breach,
}

/// The first fault seen from inside, shared by all the origins of a case.
pub(super) type Breach = Arc<Mutex<Option<(Rule, String)>>>;

impl Books {
    pub(super) fn new(script: Script, permits: usize, breach: Breach) -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            script,
            free: permits,
            reserved: 0,
            calls: 0,
            live: 0,
            instances: 0,
            queue: VecDeque::new(),
            granted: Vec::new(),
            audience: Vec::new(),
            request_body: None,
            breach,
        })))
    }

    pub(super) fn origin(&self) -> Origin {
        let mut ledger = self.ledger();
        ledger.instances += 1;
        Origin { books: self.clone(), instance: ledger.instances, polled: 0, state: State::Idle }
    }

    /// Changes the script, and wakes whoever waits for that.
    pub(super) fn play(&self, change: impl FnOnce(&mut Script)) {
        let mut ledger = self.ledger();
        change(&mut ledger.script);
        ledger.audience.drain(..).for_each(Waker::wake);
    }

    pub(super) fn add_permit(&self) {
        self.ledger().release();
    }

    pub(super) fn free(&self) -> usize {
        self.ledger().free
    }

    /// Instances that are ready and have not been called.
    pub(super) fn reserved(&self) -> usize {
        self.ledger().reserved
    }

    pub(super) fn calls(&self) -> usize {
        self.ledger().calls
    }

    /// Futures and bodies that have not been dropped.
    pub(super) fn live(&self) -> usize {
        self.ledger().live
    }

    /// What the last request's body was, once it was read, which is when the work on an answer begins.
    pub(super) fn take_request_body(&self) -> Option<Vec<Moment>> {
        self.ledger().request_body.take()
    }

    pub(super) fn breach(&self, rule: Rule, detail: &str) {
        let breach = self.ledger().breach.clone();
        breach.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| (rule, detail.to_owned()));
    }

    pub(super) fn live_token(&self) -> Live {
        self.ledger().live += 1;
        Live(self.clone())
    }

    fn script(&self) -> Script {
        self.ledger().script
    }

    fn reserve(&self, instance: usize, cx: &mut Context<'_>) -> Poll<Permit> {
        let mut ledger = self.ledger();
        if let Some(granted) = ledger.granted.iter().position(|one| *one == instance) {
            ledger.granted.swap_remove(granted);
        } else if ledger.free > 0 {
            ledger.free -= 1;
        } else {
            ledger.queue_up(instance, cx.waker());
            return Poll::Pending;
        }
        ledger.reserved += 1;
        Poll::Ready(Permit { books: self.clone(), called: false })
    }

    /// Pending until it was polled more often than the script says.
    fn poll_pending(
        &self,
        polled: &mut usize,
        times: impl Fn(&Script) -> (usize, Outcome),
        cx: &mut Context<'_>,
    ) -> Poll<Outcome> {
        let mut ledger = self.ledger();
        let (pending, outcome) = times(&ledger.script);
        if *polled >= pending {
            return Poll::Ready(outcome);
        }
        *polled += 1;
        match pending {
            FOREVER => ledger.audience.push(cx.waker().clone()),
            _ => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn release(&mut self) {
        match self.queue.pop_front() {
            None => self.free += 1,
            Some((instance, waker)) => {
                self.granted.push(instance);
                waker.wake();
            }
        }
    }

    fn queue_up(&mut self, instance: usize, waker: &Waker) {
        match self.queue.iter_mut().find(|(one, _)| *one == instance) {
            Some((_, waiting)) => waiting.clone_from(waker),
            None => self.queue.push_back((instance, waker.clone())),
        }
    }

    fn leave(&mut self, instance: usize) {
        self.queue.retain(|(one, _)| *one != instance);
        if let Some(granted) = self.granted.iter().position(|one| *one == instance) {
            self.granted.swap_remove(granted);
            self.release();
        }
    }
}

#[derive(Debug)]
struct Permit {
    books: Books,
    called: bool,
}

impl Permit {
    fn called(mut self) -> Self {
        self.called = true;
        self.books.ledger().reserved -= 1;
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut ledger = self.books.ledger();
        ledger.reserved -= usize::from(!self.called);
        ledger.release();
    }
}

/// Counts a future or body from its making to its drop.
#[derive(Debug)]
pub(super) struct Live(Books);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.ledger().live -= 1;
    }
}

impl Clone for Origin {
    fn clone(&self) -> Self {
        self.books.origin()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.books.ledger().leave(self.instance);
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
        self.books.ledger().calls += 1;
        if self.books.script().call_panics {
            planned_panic();
        }
        let books = self.books.clone();
        let live = books.live_token();
        Box::pin(async move {
            let _held = (permit, live);
            let read = transcript::read(request.into_body()).await;
            books.ledger().request_body = Some(read);
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
