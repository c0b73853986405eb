//! The layers, and what the harness must know of each.

use http::Request;
use tower_gateway::testing::contract::{self, assert_contract, assert_transparent};
use tower_gateway::testing::{Contract, Readiness};

use crate::samples::{Deferred, Holding, Refusing, Transparent};

const PLENTY: usize = 1_000;

fn trace() -> http::request::Builder {
    Request::builder().method("TRACE")
}

pub fn refusing() -> Contract<Refusing> {
    contract::of("refusing", || Refusing::after(PLENTY)).refused(trace)
}

#[test]
fn a_transparent_layer_keeps_the_contract() {
    assert_contract(&Transparent);
    assert_transparent(&Transparent);
    contract::of("transparent", || Transparent).assert();
}

#[test]
fn a_refusing_layer_keeps_the_contract() {
    assert_contract(&Refusing::after(PLENTY));
    assert_transparent(&Refusing::after(PLENTY));
    refusing()
        .shared(async |mut one, mut two| {
            for _ in 0..PLENTY {
                one.send(Request::get("/")).await;
            }
            two.send(Request::get("/")).await.status() == 429 && two.inner_calls() == PLENTY
        })
        .assert();
}

#[test]
fn a_deferred_layer_keeps_the_contract() {
    assert_contract(&Deferred);
    assert_transparent(&Deferred);
    contract::of("deferred", || Deferred).refused(trace).readiness(Readiness::Deferred).assert();
}

#[test]
fn a_layer_that_holds_until_the_body_ends_keeps_the_contract() {
    assert_contract(&Holding::default());
    contract::of("holding", Holding::default).held(Holding::in_flight).assert();
}

#[test]
fn layers_on_top_of_each_other_keep_the_contract() {
    let stack = || {
        tower::ServiceBuilder::new()
            .layer(Transparent)
            .layer(Refusing::after(PLENTY))
            .layer(Deferred)
            .layer(Holding::default())
            .into_inner()
    };
    assert_contract(&stack());
    // Immediate layers over a deferred one are ready when that is.
    contract::of("stack", stack).refused(trace).readiness(Readiness::Deferred).assert();
}
