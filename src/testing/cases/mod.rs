//! What is done to a layer, one case a rule or two, and what every case has at hand.

pub(super) mod answers;
pub(super) mod bodies;
pub(super) mod giving_back;
pub(super) mod readiness;
pub(super) mod serving;
pub(super) mod types;

use std::sync::PoisonError;

use http::{Request, request};

use super::body::{Plan, TestBody};
use super::books::{Books, Breach};
use super::contract::Local;
use super::origin::Script;
use super::stack::{Answer, Caller, Stack};
use super::{Readiness, Rule, Violation, drive};

pub(super) type Outcome = Result<(), Violation>;
type MakeRequest = Box<dyn Fn() -> request::Builder>;
type ShowsSharing = Box<dyn Fn(Caller, Caller) -> Local<bool>>;

/// What is known of a layer, apart from its type.
pub(super) struct Registration {
    pub(super) name: String,
    pub(super) admitted: MakeRequest,
    pub(super) refused: Option<MakeRequest>,
    pub(super) readiness: Readiness,
    pub(super) answers_errors: bool,
    pub(super) shared: Option<ShowsSharing>,
    pub(super) adopts: Option<ShowsSharing>,
}

/// One fresh layer.
pub(super) trait Fixture {
    /// A service by a `layer()` call of its own.
    fn service(&self, books: &Books) -> Stack;
    fn service_of_a_clone(&self, books: &Books) -> Stack;
    /// By a layer with other settings that adopted this one. Only for one that was registered to.
    fn service_of_its_heir(&self, books: &Books) -> Stack;
    fn held(&self) -> usize;
}

pub(super) struct Case<'a> {
    layer: &'a Registration,
    fixture: &'a dyn Fn() -> Box<dyn Fixture>,
    rule: Rule,
    breach: Breach,
}

impl<'a> Case<'a> {
    pub(super) fn new(layer: &'a Registration, fixture: &'a dyn Fn() -> Box<dyn Fixture>, rule: Rule) -> Self {
        Self { layer, fixture, rule, breach: Breach::default() }
    }

    pub(super) fn violation(&self, detail: impl Into<String>) -> Violation {
        Violation::new(&self.layer.name, self.rule, detail)
    }

    /// Of another rule than the case is about, where it shows by the way.
    fn violation_of(&self, rule: Rule, detail: impl Into<String>) -> Violation {
        Violation::new(&self.layer.name, rule, detail)
    }

    pub(super) fn breach(&self) -> Option<Violation> {
        let breach = self.breach.lock().unwrap_or_else(PoisonError::into_inner).take();
        breach.map(|(rule, detail)| self.violation_of(rule, detail))
    }

    /// A fresh layer over an inner service that admits one request at a time.
    fn bench(&self, script: Script) -> Bench<'_> {
        self.bench_with_permits(script, 1)
    }

    fn bench_with_permits(&self, script: Script, permits: usize) -> Bench<'_> {
        let books = Books::new(script, permits, self.breach.clone());
        Bench { case: self, layer: (self.fixture)(), books, permits }
    }

    /// The requests that the layer can be sent.
    fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let refused = self.layer.refused.is_some().then_some(Kind::Refused);
        [Kind::Admitted].into_iter().chain(refused)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Admitted,
    Refused,
}

struct Bench<'a> {
    case: &'a Case<'a>,
    layer: Box<dyn Fixture>,
    books: Books,
    permits: usize,
}

impl Bench<'_> {
    fn service(&self) -> Stack {
        self.layer.service(&self.books)
    }

    fn service_of_a_clone(&self) -> Stack {
        self.layer.service_of_a_clone(&self.books)
    }

    fn service_of_its_heir(&self) -> Stack {
        self.layer.service_of_its_heir(&self.books)
    }

    fn admitted(&self) -> Request<TestBody> {
        self.request(Kind::Admitted, Plan::EMPTY)
    }

    fn request(&self, kind: Kind, body: Plan) -> Request<TestBody> {
        let make = match (kind, &self.case.layer.refused) {
            (Kind::Refused, Some(refused)) => refused,
            _ => &self.case.layer.admitted,
        };
        let body = TestBody::new(body, Some(self.books.live_token()));
        make().body(body).expect("the registered request is valid")
    }

    /// Sends an admitted request, which is to be answered.
    async fn serve(&self, stack: &mut Stack, when: &str) -> Result<Answer, Violation> {
        let answer = stack.send(self.admitted()).await;
        answer.map_err(|error| self.case.violation(format!("{when}, a request ends with an error: {error}")))
    }

    /// Nothing is held, by the layer or of the inner service.
    async fn nothing_held(&self, when: &str) -> Outcome {
        drive::settle().await;
        let fail = |what: String| Err(self.case.violation(format!("{when}, {what}")));
        if self.books.free() < self.permits {
            return fail("a permit of the inner service is still taken".into());
        }
        if self.books.live() > 0 {
            return fail("a request, future or body of the inner service is still alive".into());
        }
        match self.layer.held() {
            0 => Ok(()),
            held => fail(format!("the layer still holds {held}")),
        }
    }
}
