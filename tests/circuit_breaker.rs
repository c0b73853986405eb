//! The circuit breaker as its users meet it: a layer, a clock, a handle.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::body::ResponseBody;
use tower_gateway::circuit_breaker::{BreakerKey, BreakerState, CircuitBreakerLayer};
use tower_gateway::classify::{HttpClassifier, Outcome};
use tower_gateway::{Clock, ManualClock, RequestContext, RouteName, Share};

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Opens at the second failure in a row, for ten seconds.
fn breaker() -> (CircuitBreakerLayer, Arc<ManualClock>) {
    let (clock, hand) = Clock::manual();
    let layer =
        CircuitBreakerLayer::with_clock(clock).consecutive_failures(2).open_for(Duration::from_secs(10)).name("users");
    (layer, hand)
}

/// Answers with the status that its path is, with a body that is not read yet.
async fn answer(request: Request<Empty<Bytes>>) -> Answer {
    let status = request.uri().path().trim_start_matches('/').parse().expect("a status");
    Ok(Response::builder().status::<u16>(status).body(Full::from("body")).unwrap())
}

fn get(status: u16) -> Request<Empty<Bytes>> {
    Request::get(format!("/{status}")).body(Empty::new()).unwrap()
}

async fn send<S, R>(service: &S, status: u16) -> StatusCode
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>, Error = Infallible> + Clone,
    R: http_body::Body<Error: std::fmt::Debug>,
{
    let response = service.clone().oneshot(get(status)).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.map(drop).expect("a whole body");
    status
}

#[tokio::test]
async fn it_opens_refuses_probes_and_closes() {
    let (layer, hand) = breaker();
    let (service, handle) = (layer.layer(service_fn(answer)), layer.handle());
    let mut changes = handle.subscribe();
    send(&service, 500).await;
    assert_eq!(handle.state(), BreakerState::Closed);
    send(&service, 500).await;
    assert_eq!(handle.state(), BreakerState::Open);

    let refused = service.clone().oneshot(get(200)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "10");
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("\"error\":\"circuit_open\""));

    hand.advance(Duration::from_secs(10));
    assert_eq!(send(&service, 200).await, StatusCode::OK);
    assert_eq!(handle.state(), BreakerState::Closed);
    let status = &handle.status()[0];
    assert_eq!((&*status.key, status.refused, status.opened, status.calls), ("users", 1, 1, 0));

    let mut seen = Vec::new();
    for _ in 0..3 {
        let change = changes.next().await.unwrap();
        seen.push((change.from, change.to));
    }
    use BreakerState::*;
    assert_eq!(seen, [(Closed, Open), (Open, HalfOpen), (HalfOpen, Closed)]);
}

#[tokio::test]
async fn a_success_counts_only_when_its_body_has_been_read() {
    let (layer, hand) = breaker();
    let (service, handle) = (layer.layer(service_fn(answer)), layer.handle());
    send(&service, 503).await;
    send(&service, 503).await;
    hand.advance(Duration::from_secs(10));
    let probe = service.clone().oneshot(get(200)).await.unwrap();
    assert_eq!(handle.state(), BreakerState::HalfOpen);
    assert_eq!(handle.status()[0].probes, 1);
    assert_eq!(send(&service, 200).await, StatusCode::SERVICE_UNAVAILABLE, "the one place is taken");
    probe.into_body().collect().await.unwrap();
    assert_eq!(handle.state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_probe_whose_client_leaves_or_that_panics_gives_back_its_place() {
    let (layer, hand) = breaker();
    let classifier = HttpClassifier::new().dropped(Outcome::Ignored);
    let layer = layer.classifier(classifier);
    let handle = layer.handle();
    let well = layer.layer(service_fn(answer));
    let hangs = layer.layer(service_fn(|_: Request<Empty<Bytes>>| std::future::pending::<Answer>()));
    let panics = layer.layer(service_fn(|_: Request<Empty<Bytes>>| async { panic!("a bug") as Answer }));
    send(&well, 500).await;
    send(&well, 500).await;
    hand.advance(Duration::from_secs(10));

    let mut call = Box::pin(hangs.oneshot(get(200)));
    assert!(futures_util::poll!(&mut call).is_pending());
    assert_eq!(handle.status()[0].probes, 1);
    drop(call);
    assert_eq!(handle.status()[0].probes, 0);

    let panicked = tokio::spawn(panics.oneshot(get(200))).await;
    assert!(panicked.is_err());
    drop(well.clone().oneshot(get(200)).await.unwrap());
    assert_eq!((handle.state(), handle.status()[0].probes), (BreakerState::HalfOpen, 0));
    assert_eq!(send(&well, 200).await, StatusCode::OK);
    assert_eq!(handle.state(), BreakerState::Closed);
}

#[tokio::test]
async fn an_open_breaker_asks_nothing_of_the_inner_service() {
    let (layer, _) = breaker();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = layer.layer(service_fn(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        answer(request)
    }));
    layer.handle().force_open();
    assert_eq!(send(&service, 200).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    layer.handle().force_closed();
    for _ in 0..10 {
        assert_eq!(send(&service, 500).await, StatusCode::INTERNAL_SERVER_ERROR);
    }
    layer.handle().reset();
    send(&service, 500).await;
    send(&service, 500).await;
    assert_eq!(layer.handle().state(), BreakerState::Open, "free to open again");
}

#[tokio::test]
async fn slow_calls_open_it_though_they_succeed() {
    let (clock, hand) = Clock::manual();
    let layer =
        CircuitBreakerLayer::with_clock(clock).slow_calls(Duration::from_secs(1), Share::percent(50)).min_requests(4);
    let takes = |millis| {
        let hand = hand.clone();
        layer.layer(service_fn(move |request| {
            hand.advance(Duration::from_millis(millis));
            answer(request)
        }))
    };
    let (quick, slow) = (takes(999), takes(1_000));
    for service in [&quick, &slow, &quick] {
        send(service, 200).await;
    }
    assert_eq!(layer.handle().state(), BreakerState::Closed);
    assert_eq!(layer.handle().status()[0].slow, 1);
    send(&slow, 200).await;
    assert_eq!(layer.handle().state(), BreakerState::Open);
}

#[tokio::test]
async fn a_call_given_up_after_a_long_time_was_slow() {
    let (clock, hand) = Clock::manual();
    let layer = CircuitBreakerLayer::with_clock(clock).slow_calls(Duration::from_secs(1), Share::ALL).min_requests(2);
    let hangs = layer.layer(service_fn(|_: Request<Empty<Bytes>>| std::future::pending::<Answer>()));
    for _ in 0..2 {
        let mut call = Box::pin(hangs.clone().oneshot(get(200)));
        assert!(futures_util::poll!(&mut call).is_pending());
        hand.advance(Duration::from_secs(1));
    }
    assert_eq!(layer.handle().state(), BreakerState::Open);
}

#[tokio::test]
async fn each_key_has_a_breaker_of_its_own_and_there_is_room_for_so_many() {
    let (layer, _) = breaker();
    let layer = layer.key(BreakerKey::Route).max_keys(2);
    let (service, handle) = (layer.layer(service_fn(answer)), layer.handle());
    let on = |route: &'static str, status| {
        let mut request = get(status);
        RequestContext::of(request.extensions_mut()).set_route(RouteName::from(route));
        let service = service.clone();
        async move { service.oneshot(request).await.unwrap().status() }
    };
    on("a", 500).await;
    on("a", 500).await;
    assert_eq!(on("a", 200).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(on("b", 404).await, StatusCode::NOT_FOUND);
    on("c", 500).await;
    on("d", 500).await;
    assert!(handle.key("c").is_none(), "both places are taken");
    assert_eq!(on("e", 200).await, StatusCode::SERVICE_UNAVAILABLE, "c and d were counted together with e");
    let keys: Vec<_> = handle.status().into_iter().map(|status| (status.key.to_string(), status.state)).collect();
    use BreakerState::*;
    assert_eq!(keys, [("users".into(), Open), ("a".into(), Open), ("b".into(), Closed)]);
    handle.key("a").unwrap().reset();
    assert_eq!(on("a", 200).await, StatusCode::OK);
}

#[tokio::test]
async fn a_reload_keeps_what_is_open_and_changes_the_rest() {
    let (layer, hand) = breaker();
    let old = layer.layer(service_fn(answer));
    send(&old, 500).await;
    send(&old, 500).await;
    let same_window = CircuitBreakerLayer::new().failure_rate(Share::ALL).adopt(&layer);
    let other_window = CircuitBreakerLayer::new().last_calls(50).adopt(&layer);
    for new in [same_window, other_window] {
        let service = new.layer(service_fn(answer));
        assert_eq!(send(&service, 200).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    hand.advance(Duration::from_secs(10));
    assert_eq!(send(&old, 200).await, StatusCode::OK);
}

#[tokio::test]
async fn a_dry_run_lets_pass_and_says_what_it_would_have_done() {
    let (layer, _) = breaker();
    let service = layer.clone().dry_run(true).layer(service_fn(answer));
    layer.handle().force_open();
    let mut request = get(200);
    let context = RequestContext::of(request.extensions_mut());
    assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
    let rejection = context.rejection().unwrap();
    assert!(rejection.is_dry_run() && rejection.layer() == "circuit_breaker");
}

#[tokio::test]
async fn a_fallback_answers_for_an_origin_that_is_left_alone() {
    let (layer, _) = breaker();
    let stale = service_fn(|_| async { Ok(Response::new(ResponseBody::inner(Full::from("stale")))) });
    let service = layer.clone().fallback(stale).layer(service_fn(answer));
    assert_eq!(send(&service, 404).await, StatusCode::NOT_FOUND);
    layer.handle().force_open();
    let body = service.oneshot(get(404)).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "stale");
}
