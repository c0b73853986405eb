//! A layer with one fault for each thing that can go wrong, and the proof that the harness sees it.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tokio::task::yield_now;
use tower::util::MapErrLayer;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_gateway::testing::{Caller, Contract, Origin, Readiness, Rule, TestBody, TestError, contract};
use tower_gateway::{UpstreamError, UpstreamErrorKind};

use self::Fault::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    No,
    RefusesWhatItShouldAdmit,
    AdmitsWhatItShouldRefuse,
    AnswersWithAnotherStatus,
    CountsPerService,
    CallsAnUnreadyClone,
    KeepsTheReservation,
    NeverAnswersTheThirdRequest,
    SpinsOnTheThirdRequest,
    PanicsOnTheThirdRequest,
    NeverHearsOfAPermit,
    SwallowsTheError,
    ChangesTheError,
    LeaksAtTheSecondAwait,
    KeepsTheInnerFuture,
    LeaksOnAPanic,
    DropsTrailers,
    ChangesData,
    HidesTheSizeHint,
    OverstatesTheSizeHint,
    HidesTheEndOfStream,
    EndsTooEarly,
    DropsTheRequestBody,
    MisstatesItsOwnLength,
    MisstatesItsOwnHint,
    ReadyBeforeTheInnerOne,
}

/// The faults of a layer whose readiness is deferred.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deferral {
    Right,
    ReadyOnlyWithTheInnerOne,
    ReservesInPollReady,
    HoldsTheReservationWhileItWaits,
    ReadiesTheInnerOneForARefusal,
    ForgetsAnInstanceInTheQueue,
    AsksAFailedInstanceAgain,
    LeaksWhileItQueues,
}

fn trace() -> http::request::Builder {
    Request::builder().method(Method::TRACE)
}

fn immediate(fault: Fault) -> Contract<Faulty> {
    contract::of(format!("{fault:?}"), move || Faulty { fault, used: Arc::default(), held: Arc::default() })
        .refused(trace)
        .held(|layer| layer.held.load(Ordering::Relaxed))
        .shared(async |mut one, mut two| {
            let before = one.send(Request::get("/")).await.headers()["x-used"].to_str().unwrap().to_owned();
            two.send(Request::get("/")).await.headers()["x-used"] != before
        })
}

fn fresh(_: &Faulty) -> Faulty {
    Faulty { fault: No, used: Arc::default(), held: Arc::default() }
}

async fn goes_on(mut old: Caller, mut new: Caller) -> bool {
    old.send(Request::get("/")).await;
    new.send(Request::get("/")).await.headers()["x-used"] == "1"
}

fn deferred(fault: Deferral) -> Contract<Late> {
    contract::of(format!("{fault:?}"), move || Late { fault, held: Arc::default(), busy: Arc::default() })
        .refused(trace)
        .held(|layer| layer.held.load(Ordering::Relaxed))
        .readiness(Readiness::Deferred)
}

macro_rules! caught {
    ($($test:ident: $contract:expr, $rule:ident, $says:literal;)*) => {$(
        #[test]
        fn $test() {
            let violation = $contract.check().expect_err("the fault is seen");
            assert_eq!(violation.rule(), Rule::$rule, "{violation}");
            assert!(violation.detail().contains($says), "{violation}");
        }
    )*};
}

caught! {
    refusing_what_should_be_admitted_is_caught: immediate(RefusesWhatItShouldAdmit), Answers, "answered by the layer";
    admitting_what_should_be_refused_is_caught: immediate(AdmitsWhatItShouldRefuse), Answers, "reached the inner";
    another_status_is_caught: immediate(AnswersWithAnotherStatus), Answers, "204 No Content came out";
    state_made_per_service_is_caught: immediate(CountsPerService), SharedState, "second layer() call";
    forgetting_what_was_adopted_is_caught: immediate(No).adopts(fresh, goes_on), Adopts, "does not show in the new one";
    a_check_of_adoption_that_proves_nothing_is_caught:
        immediate(No).adopts(fresh, async |_, _| true), Adopts, "adopted another one as well";
    calling_a_clone_that_was_not_polled_is_caught:
        immediate(CallsAnUnreadyClone), CalledWhenReady, "had not said it was ready";
    asking_a_failed_instance_again_is_caught:
        deferred(Deferral::AsksAFailedInstanceAgain), CalledWhenReady, "had failed was polled again";
    keeping_the_reservation_of_a_refusal_is_caught:
        immediate(KeepsTheReservation), ReservationReturned, "still taken";
    a_hang_is_caught: immediate(NeverAnswersTheThirdRequest), LongLived, "never comes";
    spinning_is_caught: immediate(SpinsOnTheThirdRequest), LongLived, "again and again";
    a_panic_of_the_layer_is_caught: immediate(PanicsOnTheThirdRequest), LongLived, "panicked: the third";
    a_waker_that_is_lost_is_caught: immediate(NeverHearsOfAPermit), LongLived, "never comes";
    another_error_type_is_caught: boxes_errors(), ErrorUntouched, "another error type";
    swallowing_the_error_is_caught: immediate(SwallowsTheError), ErrorUntouched, "502 Bad Gateway came out";
    changing_the_error_is_caught: immediate(ChangesTheError), ErrorUntouched, "poll_ready of the inner service became";
    leaking_at_the_second_await_is_caught: immediate(LeaksAtTheSecondAwait), DropSafe, "the layer still holds 1";
    keeping_the_inner_future_is_caught: immediate(KeepsTheInnerFuture), DropSafe, "still taken";
    leaking_while_another_is_in_flight_is_caught:
        deferred(Deferral::LeaksWhileItQueues), DropSafe, "another was dropped";
    leaking_on_a_panic_is_caught: immediate(LeaksOnAPanic), PanicSafe, "the layer still holds 1";
    dropping_trailers_is_caught: immediate(DropsTrailers), FramesUntouched, "came out as Some(End)";
    changing_data_is_caught: immediate(ChangesData), FramesUntouched, "ALL OF IT";
    dropping_the_request_body_is_caught: immediate(DropsTheRequestBody), FramesUntouched, "of a request's body";
    hiding_the_size_hint_is_caught: immediate(HidesTheSizeHint), SizeHint, "the outer one";
    overstating_the_size_hint_is_caught: immediate(OverstatesTheSizeHint), SizeHint, "the outer one";
    hiding_the_end_of_stream_is_caught: immediate(HidesTheEndOfStream), EndOfStream, "the outer one's false";
    ending_too_early_is_caught: immediate(EndsTooEarly), EndOfStream, "the outer one's true";
    a_wrong_content_length_is_caught: immediate(MisstatesItsOwnLength), OwnAnswer, "Content-Length";
    a_wrong_hint_of_an_own_answer_is_caught: immediate(MisstatesItsOwnHint), OwnAnswer, "the hint was";
    being_ready_before_the_inner_service_is_caught:
        immediate(ReadyBeforeTheInnerOne), Readiness, "ready while the inner service is not";
    declaring_a_deferred_layer_immediate_is_caught:
        deferred(Deferral::Right).readiness(Readiness::Immediate), Readiness, "ready while the inner service is not";
    waiting_in_poll_ready_is_caught: deferred(Deferral::ReadyOnlyWithTheInnerOne), Readiness, "declared deferred";
    declaring_an_immediate_layer_deferred_is_caught:
        immediate(No).readiness(Readiness::Deferred), Readiness, "declared deferred";
    reserving_in_poll_ready_is_caught: deferred(Deferral::ReservesInPollReady), Readiness, "poll_ready reserves";
    holding_a_reservation_while_it_waits_is_caught:
        deferred(Deferral::HoldsTheReservationWhileItWaits), Readiness, "while the layer waits";
    a_refusal_that_waits_for_the_inner_service_is_caught:
        deferred(Deferral::ReadiesTheInnerOneForARefusal), Readiness, "answers by itself waits";
    an_instance_forgotten_in_the_queue_is_caught:
        deferred(Deferral::ForgetsAnInstanceInTheQueue), Readiness, "never comes";
}

#[test]
fn the_same_layers_without_a_fault_pass() {
    immediate(No).adopts(Faulty::clone, goes_on).assert();
    deferred(Deferral::Right).assert();
}

#[test]
fn a_layer_that_answers_errors_is_one_that_does() {
    let violation = immediate(ChangesTheError).answers_errors().check().unwrap_err();
    assert_eq!(violation.rule(), Rule::ErrorUntouched);
    immediate(SwallowsTheError).answers_errors().assert();
}

#[test]
#[should_panic(expected = "ChangesData breaks the rule FramesUntouched")]
fn assert_names_the_layer_and_the_rule() {
    immediate(ChangesData).assert();
}

type BoxesErrors = MapErrLayer<fn(TestError) -> BoxError>;

fn boxes_errors() -> Contract<BoxesErrors> {
    contract::of("boxes errors", || BoxesErrors::new(BoxError::from))
}

#[derive(Clone)]
struct Faulty {
    fault: Fault,
    used: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct FaultyService {
    inner: Origin,
    layer: Faulty,
}

type Answer = Response<UnsyncBoxBody<Bytes, TestError>>;
type Answering = Pin<Box<dyn Future<Output = Result<Answer, TestError>> + Send>>;

impl Layer<Origin> for Faulty {
    type Service = FaultyService;

    fn layer(&self, inner: Origin) -> FaultyService {
        let mut layer = self.clone();
        if self.fault == CountsPerService {
            layer.used = Arc::default();
        }
        FaultyService { inner, layer }
    }
}

impl Service<Request<TestBody>> for FaultyService {
    type Response = Answer;
    type Error = TestError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        let ready = match self.layer.fault {
            ReadyBeforeTheInnerOne => Poll::Ready(Ok(())),
            NeverHearsOfAPermit => poll_ready(&mut self.inner, &mut Context::from_waker(Waker::noop())),
            _ => poll_ready(&mut self.inner, cx),
        };
        if self.layer.fault == ChangesTheError { ready.map_err(|_| another_error()) } else { ready }
    }

    fn call(&mut self, request: Request<TestBody>) -> Answering {
        let fault = self.layer.fault;
        let is_trace = request.method() == Method::TRACE;
        if fault == RefusesWhatItShouldAdmit || is_trace && fault != AdmitsWhatItShouldRefuse {
            if fault != KeepsTheReservation {
                self.inner = self.inner.clone();
            }
            return Box::pin(std::future::ready(Ok(refusal(fault))));
        }
        let used = self.layer.used.fetch_add(1, Ordering::Relaxed);
        match fault {
            NeverAnswersTheThirdRequest if used == 2 => return Box::pin(pending()),
            SpinsOnTheThirdRequest if used == 2 => {
                return Box::pin(poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }));
            }
            PanicsOnTheThirdRequest if used == 2 => panic!("the third"),
            _ => {}
        }
        let answer = match fault {
            CallsAnUnreadyClone => self.inner.clone().call(request),
            DropsTheRequestBody => self.inner.call(request.map(|_| Empty::<Bytes>::new())),
            _ => self.inner.call(request),
        };
        let held = self.layer.held.clone();
        Box::pin(async move {
            let guard = Held::new(&held, fault == LeaksOnAPanic);
            let answer = match fault {
                // It goes on when the client has left.
                KeepsTheInnerFuture => tokio::spawn(answer).await.expect("no panic comes before"),
                _ => answer.await,
            };
            if fault == LeaksAtTheSecondAwait {
                held.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
                held.fetch_sub(1, Ordering::Relaxed);
            }
            drop(guard);
            let mut response = match answer {
                Err(_) if fault == SwallowsTheError => return Ok(status(StatusCode::BAD_GATEWAY, Empty::new())),
                Err(_) if fault == ChangesTheError => return Err(another_error()),
                answer => answer?,
            };
            if fault == AnswersWithAnotherStatus {
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            response.headers_mut().insert("x-used", used.into());
            Ok(response.map(|body| FaultyBody { body: Box::pin(body), fault, begun: false }.boxed_unsync()))
        })
    }
}

fn poll_ready(inner: &mut Origin, cx: &mut Context<'_>) -> Poll<Result<(), TestError>> {
    Service::<Request<TestBody>>::poll_ready(inner, cx)
}

fn another_error() -> TestError {
    UpstreamError::from(UpstreamErrorKind::Reset).into()
}

fn status<B>(status: StatusCode, body: B) -> Answer
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
{
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn refusal(fault: Fault) -> Answer {
    if fault == MisstatesItsOwnHint {
        return status(StatusCode::FORBIDDEN, Misstated(Full::from("refused")));
    }
    let mut response = status(StatusCode::FORBIDDEN, Full::from("refused"));
    if fault == MisstatesItsOwnLength {
        response.headers_mut().insert(CONTENT_LENGTH, 70.into());
    }
    response
}

/// Counted until it is dropped; a forgetful one not by a panic.
struct Held<'a> {
    count: &'a AtomicUsize,
    forgetful: bool,
}

impl<'a> Held<'a> {
    fn new(count: &'a AtomicUsize, forgetful: bool) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { count, forgetful }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !(self.forgetful && std::thread::panicking()) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

struct FaultyBody {
    body: Pin<Box<TestBody>>,
    fault: Fault,
    begun: bool,
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = TestError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TestError>>> {
        let frame = std::task::ready!(self.body.as_mut().poll_frame(cx));
        self.begun = true;
        Poll::Ready(match frame {
            Some(Ok(frame)) if self.fault == DropsTrailers && frame.is_trailers() => None,
            Some(Ok(frame)) if self.fault == ChangesData => {
                Some(Ok(frame.map_data(|data| data.to_ascii_uppercase().into())))
            }
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self.fault {
            HidesTheEndOfStream => false,
            EndsTooEarly => self.begun || self.body.is_end_stream(),
            _ => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.fault {
            HidesTheSizeHint => SizeHint::default(),
            OverstatesTheSizeHint => SizeHint::with_exact(self.body.size_hint().lower() + 1),
            _ => self.body.size_hint(),
        }
    }
}

/// Says that it is a byte longer than it is.
struct Misstated(Full<Bytes>);

impl Body for Misstated {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.size_hint().lower() + 1)
    }
}

/// A layer whose readiness is deferred.
#[derive(Clone)]
struct Late {
    fault: Deferral,
    held: Arc<AtomicUsize>,
    busy: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct LateService {
    inner: Origin,
    layer: Late,
}

impl Layer<Origin> for Late {
    type Service = LateService;

    fn layer(&self, inner: Origin) -> LateService {
        LateService { inner, layer: self.clone() }
    }
}

impl Service<Request<TestBody>> for LateService {
    type Response = Answer;
    type Error = TestError;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        match self.layer.fault {
            Deferral::ReadyOnlyWithTheInnerOne => poll_ready(&mut self.inner, cx),
            Deferral::ReservesInPollReady => match poll_ready(&mut self.inner, cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(())),
            },
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<TestBody>) -> Answering {
        let Late { fault, held, busy } = self.layer.clone();
        let mut inner = self.inner.clone();
        let asks_at_once = fault == Deferral::ForgetsAnInstanceInTheQueue;
        let waits = asks_at_once && poll_ready(&mut self.inner, &mut Context::from_waker(Waker::noop())).is_pending();
        if !waits {
            std::mem::swap(&mut inner, &mut self.inner);
        }
        Box::pin(async move {
            if request.method() == Method::TRACE {
                if fault == Deferral::ReadiesTheInnerOneForARefusal {
                    poll_fn(|cx| poll_ready(&mut inner, cx)).await?;
                }
                return Ok(refusal(No));
            }
            if fault == Deferral::LeaksWhileItQueues && busy.load(Ordering::Relaxed) > 0 {
                held.fetch_add(1, Ordering::Relaxed);
                while busy.load(Ordering::Relaxed) > 0 {
                    yield_now().await;
                }
                held.fetch_sub(1, Ordering::Relaxed);
            }
            let _busy = Held::new(&busy, false);
            let answer = match fault {
                Deferral::HoldsTheReservationWhileItWaits => {
                    poll_fn(|cx| poll_ready(&mut inner, cx)).await?;
                    yield_now().await;
                    inner.call(request).await
                }
                Deferral::AsksAFailedInstanceAgain => {
                    if poll_fn(|cx| poll_ready(&mut inner, cx)).await.is_err() {
                        poll_fn(|cx| poll_ready(&mut inner, cx)).await?;
                    }
                    inner.call(request).await
                }
                _ => inner.oneshot(request).await,
            };
            Ok(answer?.map(BodyExt::boxed_unsync))
        })
    }
}
