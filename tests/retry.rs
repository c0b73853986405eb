//! Retries as their users meet them: over a scripted service in paused time, and over real servers.

mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use support::{OriginConnection, RawOrigin};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::circuit_breaker::CircuitBreakerLayer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::retry::{ReplayBody, RetryBudget, RetryLayer};
use tower_gateway::upstream::{Balance, Client, Upstream};
use tower_gateway::{BoxError, RequestContext, Share, UpstreamError, UpstreamErrorKind};

/// What the inner service does with one try.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer(u16),
    Ask(u16, &'static str),
    Fail(UpstreamErrorKind),
    /// Fails when it has read so much.
    ReadAndFail(UpstreamErrorKind),
    Hang,
}

/// Does one thing after another, and remembers what it was sent.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Does>>>, Arc<Mutex<Vec<Seen>>>);

#[derive(Debug)]
struct Seen {
    at: Instant,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Script {
    fn of(does: impl IntoIterator<Item = Does>) -> Self {
        Self(Arc::new(Mutex::new(does.into_iter().collect())), Arc::default())
    }

    async fn play<B>(self, request: Request<ReplayBody<B>>) -> Result<Response<Full<Bytes>>, UpstreamError>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let does = self.0.lock().unwrap().pop_front().expect("no try more than scripted");
        let at = Instant::now();
        let (parts, body) = request.into_parts();
        let body = match does {
            Does::Fail(_) | Does::Hang => Bytes::new(),
            _ => body
                .collect()
                .await
                .map_err(|error| UpstreamError::with_source(UpstreamErrorKind::Request, error))?
                .to_bytes(),
        };
        self.1.lock().unwrap().push(Seen { at, method: parts.method, headers: parts.headers, body });
        match does {
            Does::Answer(status) => Ok(Response::builder().status(status).body(Full::from("body")).unwrap()),
            Does::Ask(status, after) => {
                Ok(Response::builder().status(status).header("retry-after", after).body(Full::default()).unwrap())
            }
            Does::Fail(kind) | Does::ReadAndFail(kind) => Err(kind.into()),
            Does::Hang => std::future::pending().await,
        }
    }

    fn tries(&self) -> usize {
        self.1.lock().unwrap().len()
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.1.lock().unwrap().iter().map(|seen| seen.body.clone()).collect()
    }

    fn waits(&self) -> Vec<Duration> {
        let seen = self.1.lock().unwrap();
        seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }
}

async fn run<B>(layer: &RetryLayer, script: &Script, request: Request<B>) -> Result<StatusCode, UpstreamErrorKind>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let script = script.clone();
    let service = layer.layer(service_fn(move |request| script.clone().play(request)));
    service.oneshot(request).await.map(|answer| answer.status()).map_err(|error| error.kind())
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/a").header("x-kept", "yes").body(Empty::new()).unwrap()
}

fn with_body(method: Method, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).body(Full::from(body)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_one_is_passed_on_at_once() {
    for status in [200, 404, 429, 500] {
        let script = Script::of([Does::Answer(status)]);
        assert_eq!(run(&RetryLayer::new(), &script, get()).await.unwrap().as_u16(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_followed_by_another_try_with_the_same_head() {
    for fails in [Does::Answer(503), Does::Fail(UpstreamErrorKind::Reset), Does::Fail(UpstreamErrorKind::Connect)] {
        let script = Script::of([fails, Does::Answer(200)]);
        let (layer, mut request) = (RetryLayer::new(), get());
        let context = RequestContext::of(request.extensions_mut());
        assert_eq!(run(&layer, &script, request).await, Ok(StatusCode::OK));
        let seen = script.1.lock().unwrap();
        assert!(seen.iter().all(|seen| seen.method == Method::GET && seen.headers["x-kept"] == "yes"));
        assert!(seen[1].at - seen[0].at <= Duration::from_millis(26), "the timer is exact to a millisecond");
        assert_eq!(layer.handle().stats().retries, 1);
        assert!(context.upstream_error().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_passed_on_whatever_it_is() {
    let script = Script::of([Does::Answer(502), Does::Fail(UpstreamErrorKind::Reset), Does::Answer(503)]);
    assert_eq!(run(&RetryLayer::new(), &script, get()).await, Ok(StatusCode::SERVICE_UNAVAILABLE));
    let script = Script::of([Does::Answer(502), Does::Fail(UpstreamErrorKind::Reset)]);
    let layer = RetryLayer::new().attempts(2);
    assert_eq!(run(&layer, &script, get()).await, Err(UpstreamErrorKind::Reset));
}

#[tokio::test(start_paused = true)]
async fn a_post_is_sent_again_only_when_nothing_was_sent_or_it_has_a_key() {
    let sent = Script::of([Does::ReadAndFail(UpstreamErrorKind::Reset)]);
    let post = || with_body(Method::POST, "order");
    assert_eq!(run(&RetryLayer::new(), &sent, post()).await, Err(UpstreamErrorKind::Reset));

    let unsent = Script::of([Does::Fail(UpstreamErrorKind::Connect), Does::Answer(201)]);
    assert_eq!(run(&RetryLayer::new(), &unsent, post()).await, Ok(StatusCode::CREATED));
    assert_eq!(unsent.bodies()[1], "order");

    let keyed = Script::of([Does::ReadAndFail(UpstreamErrorKind::Reset), Does::Answer(201)]);
    let mut request = post();
    request.headers_mut().insert("idempotency-key", "7".parse().unwrap());
    assert_eq!(run(&RetryLayer::new(), &keyed, request).await, Ok(StatusCode::CREATED));
    assert_eq!(keyed.bodies(), ["order", "order"]);

    let chosen = Script::of([Does::ReadAndFail(UpstreamErrorKind::Reset), Does::Answer(201)]);
    let layer = RetryLayer::new().methods([Method::POST]);
    assert_eq!(run(&layer, &chosen, post()).await, Ok(StatusCode::CREATED));
}

#[tokio::test(start_paused = true)]
async fn a_body_larger_than_may_be_kept_is_not_sent_again_and_is_counted() {
    let layer = RetryLayer::new().replay_bytes(4);
    let large = Script::of([Does::Answer(503)]);
    assert_eq!(run(&layer, &large, with_body(Method::PUT, "12345")).await, Ok(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(large.bodies(), ["12345"], "and is sent whole once");
    assert_eq!(layer.handle().stats().too_large, 1);
    let fits = Script::of([Does::Answer(503), Does::Answer(200)]);
    assert_eq!(run(&layer, &fits, with_body(Method::PUT, "1234")).await, Ok(StatusCode::OK));
    assert_eq!(fits.bodies(), ["1234", "1234"]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_up_to_a_limit() {
    let short = Script::of([Does::Ask(503, "1"), Does::Answer(200)]);
    assert_eq!(run(&RetryLayer::new(), &short, get()).await, Ok(StatusCode::OK));
    assert!(short.waits()[0] >= Duration::from_secs(1), "{:?}", short.waits());
    let long = Script::of([Does::Ask(503, "2")]);
    assert_eq!(run(&RetryLayer::new(), &long, get()).await, Ok(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test(start_paused = true)]
async fn the_first_retry_is_made_at_once_where_another_server_can_be_asked() {
    let layer = RetryLayer::new().at_once_when(|| true).backoff(Duration::from_secs(1), Duration::from_secs(1));
    let script = Script::of([Does::Ask(503, "60"), Does::Answer(503), Does::Answer(200)]);
    assert_eq!(run(&layer, &script, get()).await, Ok(StatusCode::OK));
    assert_eq!(script.waits()[0], Duration::ZERO);
    assert!(script.waits()[1] > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_takes_too_long_is_given_up_for_another() {
    let layer = RetryLayer::new().per_try(Duration::from_millis(100));
    let script = Script::of([Does::Hang, Does::Answer(200)]);
    let start = Instant::now();
    assert_eq!(run(&layer, &script, get()).await, Ok(StatusCode::OK));
    assert!((100..130).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());

    let script = Script::of([Does::Hang, Does::Hang, Does::Hang]);
    assert_eq!(run(&layer, &script, get()).await, Err(UpstreamErrorKind::ResponseTimeout));
    let post = Script::of([Does::Hang]);
    assert_eq!(run(&layer, &post, with_body(Method::POST, "x")).await, Err(UpstreamErrorKind::ResponseTimeout));
}

#[tokio::test(start_paused = true)]
async fn all_tries_together_keep_the_deadline() {
    let layer = RetryLayer::new().attempts(10).deadline(Duration::from_millis(250)).per_try(Duration::from_millis(100));
    let script = Script::of([Does::Hang; 10]);
    let start = Instant::now();
    assert_eq!(run(&layer, &script, get()).await, Err(UpstreamErrorKind::ResponseTimeout));
    assert!(start.elapsed() <= Duration::from_millis(251), "{:?}", start.elapsed());
    assert!((2..=3).contains(&script.tries()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_not_a_slow_try() {
    let layer = RetryLayer::new().per_try(Duration::from_millis(100)).attempts(2);
    let frames = futures_util::stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_millis(70)).await;
        (sent < 5).then(|| (Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(b"x"))), sent + 1))
    });
    let body = http_body_util::StreamBody::new(Box::pin(frames));
    let script = Script::of([Does::Answer(200)]);
    assert_eq!(run(&layer, &script, Request::put("/").body(body).unwrap()).await, Ok(StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn when_everything_fails_retries_stay_within_their_budget() {
    let layer = RetryLayer::new().budget(RetryBudget::new(Share::percent(20), 0));
    let script = Script::of(vec![Does::Answer(503); 10_000]);
    for _ in 0..1_000 {
        assert_eq!(run(&layer, &script, get()).await, Ok(StatusCode::SERVICE_UNAVAILABLE));
    }
    assert!((1_150..=1_200).contains(&script.tries()), "{}", script.tries());
    let stats = layer.handle().stats();
    assert_eq!(stats.retries as usize, script.tries() - 1_000);
    assert!(stats.budget_exhausted > 700);

    let again = RetryLayer::new().budget(RetryBudget::new(Share::percent(20), 0)).adopt(&layer);
    assert_eq!(run(&again, &script, get()).await, Ok(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(again.handle().stats().retries, stats.retries, "a reload does not refill it");
}

#[tokio::test(start_paused = true)]
async fn what_an_open_breaker_refuses_is_not_tried_again() {
    let script = Script::of([]);
    let breaker = CircuitBreakerLayer::new();
    breaker.handle().force_open();
    let inner = breaker.layer(service_fn(move |request| script.clone().play(request)));
    let layer = RetryLayer::new();
    let answer = layer.layer(inner).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(layer.handle().stats().retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_try_given_up_for_its_time_is_a_failure_to_the_breaker_inside() {
    let script = Script::of([Does::Hang, Does::Answer(200)]);
    let breaker = CircuitBreakerLayer::new();
    let inner = breaker.layer(service_fn(move |request| script.clone().play(request)));
    let service = RetryLayer::new().per_try(Duration::from_millis(10)).layer(inner);
    assert_eq!(service.oneshot(get()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(breaker.handle().status()[0].failures, 1);
}

/// Answers with its name, or resets each connection at the first request.
async fn server(name: &'static str, resets: bool) -> RawOrigin {
    RawOrigin::scripted(move |mut connection: OriginConnection| async move {
        while connection.request().await.is_some() {
            if resets {
                return connection.reset();
            }
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await;
        }
    })
    .await
}

#[tokio::test]
async fn each_try_goes_to_another_server() {
    let (bad, worse, good) = (server("bad", true).await, server("worse", true).await, server("good", false).await);
    for balance in [Balance::RoundRobin, Balance::LeastRequests] {
        let upstream =
            [&bad, &worse, &good].iter().fold(Upstream::builder(), |upstream, origin| upstream.server(origin.url(), 1));
        let client = Client::new(upstream.balance(balance).build().unwrap());
        let proxy = ProxyService::new(RetryLayer::new().budget(RetryBudget::new(Share::ALL, 1_000)).layer(client));
        for _ in 0..20 {
            let mut request = Request::put("/").body(Full::<Bytes>::from("a body")).unwrap();
            let context = RequestContext::of(request.extensions_mut());
            let answer = proxy.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "good");
            assert_eq!(context.upstream_server().unwrap().as_ref(), good.address.to_string());
            assert!(context.tries() <= 3);
        }
    }
}
