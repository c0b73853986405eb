//! The layers of a client stack.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::circuit_breaker::{BreakerKey, CircuitBreakerLayer};
use tower_gateway::retry::{RetryBudget, RetryLayer};
use tower_gateway::testing::Readiness;
use tower_gateway::testing::contract::{self, assert_contract};
use tower_gateway::{Clock, Share};

#[test]
fn circuit_breaker_keeps_the_contract() {
    assert_contract(&CircuitBreakerLayer::new());
    // Open for one host, half-open for all others: the first request is a probe.
    let half_open = || {
        let (clock, hand) = Clock::manual();
        let layer = CircuitBreakerLayer::with_clock(clock).key(BreakerKey::Host).failure_rate(None);
        let layer = layer.consecutive_failures(50);
        let fails = layer.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::builder().status(502).body(Full::<Bytes>::default()).expect("an answer"))
        }));
        for request in ["/", "http://down/"].into_iter().cycle().take(100) {
            let request = Request::get(request).body(()).expect("a request");
            fails.clone().oneshot(request).now_or_never().expect("no wait").expect("an answer");
        }
        hand.advance(Duration::from_secs(31));
        layer.handle().key("down").expect("requests came").force_open();
        layer
    };
    contract::of("circuit breaker", half_open)
        .refused(|| Request::get("http://down/"))
        .readiness(Readiness::Deferred)
        .held(|layer| layer.handle().status()[0].probes as usize)
        .shared(async |mut one, mut two| {
            one.send(Request::get("/")).await;
            one.inner_answers(StatusCode::BAD_GATEWAY);
            for _ in 0..50 {
                one.send(Request::get("/")).await;
            }
            two.send(Request::get("/")).await.status() == 503 && two.inner_calls() == 51
        })
        .assert();
}

#[test]
fn retry_keeps_the_contract() {
    // It fails by itself when a deadline has passed, so it asks for an error that it can make.
    contract::of("retry", || RetryLayer::new().attempts(2).budget(RetryBudget::new(Share::percent(20), 0)))
        .readiness(Readiness::Deferred)
        .shared(async |mut one, mut two| {
            one.inner_answers(StatusCode::BAD_GATEWAY);
            for _ in 0..100 {
                one.send(Request::get("/")).await;
            }
            let spent = one.inner_calls();
            for _ in 0..4 {
                two.send(Request::get("/")).await;
            }
            // 100 requests have paid for 20 retries, and 4 more pay for none.
            spent == 120 && two.inner_calls() == 124
        })
        .assert();
}
