//! The contract harness: what every layer owes, checked with real requests in paused time.
//!
//! Register a layer with [`of`], in a plain `#[test]`:
//!
//! ```
//! use http::{Method, Request, Response, StatusCode};
//! use tower_gateway::body::ResponseBody;
//! use tower_gateway::testing::contract;
//! # use std::future::Future;
//! # use std::pin::Pin;
//! # use std::sync::Arc;
//! # use std::sync::atomic::{AtomicUsize, Ordering};
//! # use std::task::{Context, Poll};
//! # use tower::{Layer, Service};
//!
//! /// Answers TRACE by itself, and counts how often it did.
//! #[derive(Clone, Default)]
//! struct NoTrace {
//!     refused: Arc<AtomicUsize>,
//! }
//! # impl<S> Layer<S> for NoTrace {
//! #     type Service = NoTraceService<S>;
//! #     fn layer(&self, inner: S) -> NoTraceService<S> {
//! #         NoTraceService { inner, refused: self.refused.clone() }
//! #     }
//! # }
//! # #[derive(Clone)]
//! # struct NoTraceService<S> {
//! #     inner: S,
//! #     refused: Arc<AtomicUsize>,
//! # }
//! # impl<S, B, R> Service<Request<B>> for NoTraceService<S>
//! # where
//! #     S: Service<Request<B>, Response = Response<R>> + Clone,
//! #     S::Future: Send + 'static,
//! #     S::Error: Send + 'static,
//! #     R: Send + 'static,
//! # {
//! #     type Response = Response<ResponseBody<R>>;
//! #     type Error = S::Error;
//! #     type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;
//! #     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
//! #         self.inner.poll_ready(cx)
//! #     }
//! #     fn call(&mut self, request: Request<B>) -> Self::Future {
//! #         if request.method() == Method::TRACE {
//! #             self.inner = self.inner.clone();
//! #             self.refused.fetch_add(1, Ordering::Relaxed);
//! #             let mut response = Response::new(ResponseBody::default());
//! #             *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
//! #             return Box::pin(async { Ok(response) });
//! #         }
//! #         let answer = self.inner.call(request);
//! #         Box::pin(async { Ok(answer.await?.map(ResponseBody::inner)) })
//! #     }
//! # }
//!
//! # /*
//! #[test]
//! fn no_trace_keeps_the_contract() {
//! # */
//!     contract::assert_contract(&NoTrace::default());
//!     contract::assert_transparent(&NoTrace::default());
//!     contract::of("no trace", NoTrace::default)
//!         .refused(|| Request::builder().method("TRACE"))
//!         .assert();
//! # /*
//! }
//! # */
//! ```
//!
//! Each case makes a fresh layer, puts it over an [`Origin`], and runs on a runtime of its own, so `of` is not for an
//! async test. A case that waits for ever is reported as well, and takes no time: the clock is paused.
//!
//! [`assert_contract`] and [`assert_transparent`] cost nothing at run time. They hold the layer to what its types owe,
//! and a layer that breaks that does not compile.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::TestBody;
use super::books::Books;
use super::cases::{self, Case, Fixture, Outcome, Registration};
use super::origin::Origin;
use super::stack::{Caller, Stack};
use super::{Rule, Violation, drive};
use crate::BoxError;

pub use super::cases::types::{Inner, Opaque, assert_contract, assert_transparent};

/// When a layer says that it can be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// When the inner service is, and the instance that said so is called.
    #[default]
    Immediate,
    /// Always. The inner service is readied when it is needed, and holds nothing while the layer waits for something
    /// else; a request that the layer answers by itself needs no ready inner service at all.
    Deferred,
}

/// Registers a layer by the name that a violation is reported under, and a factory of fresh ones.
///
/// A fresh layer must admit some hundred requests in a row.
pub fn of<L>(name: impl Into<String>, fresh: impl Fn() -> L + 'static) -> Contract<L> {
    Contract {
        registration: Registration {
            name: name.into(),
            admitted: Box::new(Request::builder),
            refused: None,
            readiness: Readiness::Immediate,
            answers_errors: false,
            shared: None,
            adopts: None,
        },
        fresh: Box::new(fresh),
        held: Rc::new(|_| 0),
        heir: Rc::new(|_| None),
    }
}

/// Makes a layer that adopts the one it is given, if that was registered.
type Heir<L> = Rc<dyn Fn(&L) -> Option<L>>;

/// A layer under test, and what the harness must know of it. Made by [`of`].
pub struct Contract<L> {
    registration: Registration,
    fresh: Box<dyn Fn() -> L>,
    held: Rc<dyn Fn(&L) -> usize>,
    heir: Heir<L>,
}

impl<L> Contract<L> {
    /// A request that the layer lets pass. `GET /` unless it is given here. Extensions may be put on it; the body is the
    /// harness's.
    #[must_use]
    pub fn admitted(mut self, request: impl Fn() -> request::Builder + 'static) -> Self {
        self.registration.admitted = Box::new(request);
        self
    }

    /// A request that the layer answers by itself, each time.
    #[must_use]
    pub fn refused(mut self, request: impl Fn() -> request::Builder + 'static) -> Self {
        self.registration.refused = Some(Box::new(request));
        self
    }

    /// How much the layer holds right now: permits, probes, requests in flight. It must be 0 after each case.
    #[must_use]
    pub fn held(mut self, count: impl Fn(&L) -> usize + 'static) -> Self {
        self.held = Rc::new(count);
        self
    }

    /// Which of the two readiness rules the layer keeps. [`Readiness::Immediate`] unless it is given here.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.registration.readiness = readiness;
        self
    }

    /// The layer turns the inner service's errors into answers of status 500 and above, as a proxy does over its client.
    #[must_use]
    pub fn answers_errors(mut self) -> Self {
        self.registration.answers_errors = true;
        self
    }

    /// Uses something up through the first caller, and is true when the second one shows it.
    ///
    /// It runs with services made by two `layer()` calls, by a clone of the layer, and by a clone of a service.
    ///
    /// ```
    /// # use http::Request;
    /// # use tower_gateway::testing::contract;
    /// # let limit_of_one = tower::layer::util::Identity::new;
    /// let registered = contract::of("limit of one", limit_of_one).shared(async |mut one, mut two| {
    ///     one.send(Request::get("/")).await;
    ///     two.send(Request::get("/")).await.status() == 429
    /// });
    /// # assert_eq!(registered.check().unwrap_err().rule(), tower_gateway::testing::Rule::SharedState);
    /// ```
    #[must_use]
    pub fn shared<F>(mut self, shows: F) -> Self
    where
        F: AsyncFn(Caller, Caller) -> bool + 'static,
    {
        let shows = Rc::new(shows);
        self.registration.shared = Some(Box::new(move |one, two| {
            let shows = shows.clone();
            Box::pin(async move { shows(one, two).await })
        }));
        self
    }
}

impl<L: 'static> Contract<L> {
    /// For a layer with an `adopt`. `heir` makes one with other settings that adopts the layer it is given; `shows` uses
    /// something up through the first caller, which the old layer serves, and is true when the second one, which the new
    /// layer serves, shows it by its own settings.
    ///
    /// It runs a second time with a layer that adopted a fresh one, where it must not show.
    ///
    /// ```
    /// # use http::Request;
    /// # use tower_gateway::testing::{Rule, contract};
    /// # let a_layer_without_state = tower::layer::util::Identity::new;
    /// # let limit_of = |_: usize| tower::layer::util::Identity::new();
    /// # trait Adopt { fn adopt(self, _: &Self) -> Self; }
    /// # impl Adopt for tower::layer::util::Identity { fn adopt(self, _: &Self) -> Self { self } }
    /// let registered = contract::of("limit", move || limit_of(1)).adopts(
    ///     move |old| limit_of(2).adopt(old),
    ///     async |mut old, mut new| {
    ///         // One of two is used up by the old one, and a second is left in the new one.
    ///         old.send(Request::get("/")).await;
    ///         let second = new.send(Request::get("/")).await.status();
    ///         (second, new.send(Request::get("/")).await.status().as_u16()) == (http::StatusCode::OK, 429)
    ///     },
    /// );
    /// # assert_eq!(registered.check().unwrap_err().rule(), Rule::Adopts);
    /// ```
    #[must_use]
    pub fn adopts<F>(mut self, heir: impl Fn(&L) -> L + 'static, shows: F) -> Self
    where
        F: AsyncFn(Caller, Caller) -> bool + 'static,
    {
        let shows = Rc::new(shows);
        self.heir = Rc::new(move |old| Some(heir(old)));
        self.registration.adopts = Some(Box::new(move |old, new| {
            let shows = shows.clone();
            Box::pin(async move { shows(old, new).await })
        }));
        self
    }
}

impl<L, S, B> Contract<L>
where
    L: Layer<Origin, Service = S> + Clone + Send + Sync + 'static,
    S: Service<Request<TestBody>, Response = Response<B>, Error: Into<BoxError> + 'static, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    /// Runs every case, and reports the first rule that was broken.
    ///
    /// # Panics
    ///
    /// When it is called within an async runtime: each case runs on one of its own.
    pub fn check(self) -> Result<(), Violation> {
        let Self { registration, fresh, held, heir } = self;
        let readiness = registration.readiness;
        let fixture = move || {
            let (held, heir) = (held.clone(), heir.clone());
            Box::new(Registered { layer: fresh(), held, heir, readiness }) as Box<dyn Fixture>
        };
        let subject = Subject { registration, fixture: Box::new(fixture) };

        subject.run(Rule::Readiness, cases::readiness::is_as_declared)?;
        subject.run(Rule::Answers, cases::answers::reach_who_they_should)?;
        subject.run(Rule::LongLived, cases::serving::one_instance_serves_many)?;
        subject.run(Rule::ReservationReturned, cases::serving::a_refusal_returns_the_reservation)?;
        subject.run(Rule::LongLived, cases::serving::clones_take_turns)?;
        subject.run(Rule::SharedState, cases::serving::state_is_shared)?;
        subject.run(Rule::Adopts, cases::serving::state_survives_a_reload)?;
        subject.run(Rule::ErrorUntouched, cases::answers::errors_pass)?;
        subject.run(Rule::FramesUntouched, cases::bodies::pass_untouched)?;
        subject.run(Rule::OwnAnswer, cases::bodies::own_answers_are_well_formed)?;
        subject.run(Rule::DropSafe, cases::giving_back::at_every_drop)?;
        subject.run(Rule::DropSafe, cases::giving_back::at_a_drop_of_a_call)?;
        subject.run(Rule::DropSafe, cases::giving_back::at_a_drop_while_another_is_in_flight)?;
        subject.run(Rule::PanicSafe, cases::giving_back::at_a_panic)
    }

    /// The same, for a test without a result.
    ///
    /// # Panics
    ///
    /// When a rule is broken, and as [`check`](Self::check) does.
    #[track_caller]
    pub fn assert(self) {
        if let Err(violation) = self.check() {
            panic!("{violation}");
        }
    }
}

impl<L> fmt::Debug for Contract<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("name", &self.registration.name)
            .field("readiness", &self.registration.readiness)
            .finish_non_exhaustive()
    }
}

struct Registered<L> {
    layer: L,
    held: Rc<dyn Fn(&L) -> usize>,
    heir: Heir<L>,
    readiness: Readiness,
}

impl<L, S, B> Fixture for Registered<L>
where
    L: Layer<Origin, Service = S> + Clone,
    S: Service<Request<TestBody>, Response = Response<B>, Error: Into<BoxError> + 'static> + Clone + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn service(&self, books: &Books) -> Stack {
        Stack::new(&self.layer, books, self.readiness)
    }

    fn service_of_a_clone(&self, books: &Books) -> Stack {
        Stack::new(&self.layer.clone(), books, self.readiness)
    }

    fn service_of_its_heir(&self, books: &Books) -> Stack {
        let heir = (self.heir)(&self.layer).expect("registered together with the check that asks for it");
        Stack::new(&heir, books, self.readiness)
    }

    fn held(&self) -> usize {
        (self.held)(&self.layer)
    }
}

struct Subject {
    registration: Registration,
    fixture: Box<dyn Fn() -> Box<dyn Fixture>>,
}

impl Subject {
    /// Longer than any layer waits for by itself; it passes at once when nothing else is to do.
    const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

    fn run(&self, rule: Rule, case: impl AsyncFnOnce(&Case<'_>) -> Outcome) -> Result<(), Violation> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime for a test");
        let context = Case::new(&self.registration, &self.fixture, rule);
        let ended = runtime.block_on(async {
            let case = drive::unless_spinning(drive::caught(case(&context)));
            tokio::time::timeout(Self::PATIENCE, case).await
        });
        // What the inner service saw comes first: it is the cause, a hang or a wrong answer its effect.
        if let Some(breach) = context.breach() {
            return Err(breach);
        }
        match ended {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(panic))) => Err(context.violation(format!("panicked: {}", drive::message(&*panic)))),
            Ok(None) => Err(context.violation("hangs: it is polled again and again and comes to no end")),
            Err(_) => Err(context.violation("hangs: it waits for something that never comes")),
        }
    }
}

/// A boxed future of the thread that runs a case.
pub(super) type Local<T> = Pin<Box<dyn Future<Output = T>>>;
