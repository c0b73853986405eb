//! The layers, and what the harness must know of each.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use http::Request;
use tower::layer::layer_fn;
use tower_gateway::auth::{ApiKey, ApiKeys, AuthLayer, KeyDigest, MemoryKeyStore, key_store_fn};
use tower_gateway::cache::CacheLayer;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::concurrency::ConcurrencyLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::limits::{BodyLimitLayer, ContentTypeLayer};
use tower_gateway::proxy::ProxyService;
use tower_gateway::rate_limit::{AsyncStore, Boxed, Charges, Decision, Key, Limit, Quota, RateLimitLayer, StoreError};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::strict::StrictLayer;
use tower_gateway::testing::contract::{self, assert_contract, assert_transparent};
use tower_gateway::testing::{Origin, Readiness, TestBody};
use tower_gateway::transform::{HeaderRules, TransformLayer};
use tower_gateway::{ClientIp, CredentialKind, Identity, RequestContext};

use crate::samples::{Deferred, Holding, Refusing, Transparent};

const PLENTY: usize = 1_000;
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 4711);

fn trace() -> http::request::Builder {
    Request::builder().method("TRACE")
}

fn from_a_peer() -> http::request::Builder {
    Request::builder().extension(PEER)
}

fn from_a_client() -> http::request::Builder {
    let context = RequestContext::new();
    context.set_client_ip(ClientIp::from_peer(PEER, 64));
    Request::builder().extension(context)
}

#[test]
fn client_ip_keeps_the_contract() {
    assert_contract(&ClientIpLayer::new());
    assert_transparent(&ClientIpLayer::new());
    contract::of("client ip", ClientIpLayer::new).admitted(from_a_peer).assert();
}

#[test]
fn request_id_keeps_the_contract() {
    assert_contract(&RequestIdLayer::new());
    assert_transparent(&RequestIdLayer::new());
    contract::of("request id", RequestIdLayer::new).assert();
}

#[test]
fn ip_filter_keeps_the_contract() {
    assert_contract(&IpFilterLayer::new());
    assert_transparent(&IpFilterLayer::new());
    // Whose client is not known is refused.
    contract::of("ip filter", IpFilterLayer::new).admitted(from_a_client).refused(Request::builder).assert();
}

#[test]
fn auth_keeps_the_contract() {
    let keys = || ApiKeys::new(MemoryKeyStore::new([(KeyDigest::of(b"k"), ApiKey::new("k1"))]));
    assert_contract(&AuthLayer::new(keys()));
    assert_transparent(&AuthLayer::new(keys()));
    let with_key = || Request::builder().header("x-api-key", "k");
    contract::of("auth", move || AuthLayer::new(keys()))
        .admitted(with_key)
        .refused(Request::builder)
        .readiness(Readiness::Deferred)
        .assert();
    // A key that has to be looked up is waited for.
    let slow = || {
        ApiKeys::new(key_store_fn(async |_| {
            tokio::task::yield_now().await;
            Ok(Some(ApiKey::new("k1")))
        }))
    };
    contract::of("auth that waits", move || AuthLayer::new(slow()))
        .admitted(with_key)
        .refused(Request::builder)
        .readiness(Readiness::Deferred)
        .assert();
}

#[test]
fn strict_keeps_the_contract() {
    assert_contract(&StrictLayer::new());
    assert_transparent(&StrictLayer::new());
    // Without a Host it is refused.
    let with_host = || Request::builder().header("host", "a");
    contract::of("strict", StrictLayer::new).admitted(with_host).refused(Request::builder).assert();
}

/// Everybody shares the quota; what asks for more than there ever is is refused each time.
fn limit_of(quota: u32) -> Limit {
    Limit::new("test", Quota::per_hour(quota))
        .key(Key::global())
        .cost_by(|head| if head.method() == "TRACE" { u64::MAX } else { 1 })
}

#[test]
fn rate_limit_keeps_the_contract() {
    assert_contract(&RateLimitLayer::per_minute(1));
    assert_transparent(&RateLimitLayer::per_minute(1));
    contract::of("rate limit", || RateLimitLayer::new([limit_of(PLENTY as u32)]))
        .refused(trace)
        .readiness(Readiness::Deferred)
        .shared(async |mut one, mut two| {
            for _ in 0..PLENTY {
                one.send(Request::get("/")).await;
            }
            two.send(Request::get("/")).await.status() == 429 && two.inner_calls() == PLENTY
        })
        .assert();
}

/// It reads bodies, so it is not transparent.
#[test]
fn the_cache_keeps_the_contract() {
    assert_contract(&CacheLayer::new());
    let only_if_cached = || Request::builder().header("cache-control", "only-if-cached");
    let in_flight = |layer: &CacheLayer| layer.handle().statistics().in_flight;
    contract::of("cache", CacheLayer::new)
        .refused(only_if_cached)
        .readiness(Readiness::Deferred)
        .held(in_flight)
        .assert();

    let stores = || CacheLayer::new().ttl(std::time::Duration::from_secs(60));
    contract::of("cache that stores", stores)
        .admitted(|| Request::builder().method("POST"))
        .refused(only_if_cached)
        .readiness(Readiness::Deferred)
        .held(in_flight)
        .shared(async |mut one, mut two| {
            one.send(Request::get("/")).await;
            two.send(Request::get("/")).await;
            two.inner_calls() == 1
        })
        .assert();
}

/// A store that takes its time, and a correction once the answer is there.
#[test]
fn rate_limit_with_a_slow_store_keeps_the_contract() {
    struct Slow;
    async fn slow(charges: Charges) -> Result<Decision, StoreError> {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let hour = std::time::Duration::from_secs(3600);
        Ok(if charges[0].cost == 1 { Decision::admit(1, hour) } else { Decision::refuse(0, hour, hour) })
    }
    impl AsyncStore for Slow {
        async fn acquire(&self, charges: Charges) -> Result<Decision, StoreError> {
            slow(charges).await
        }
        async fn debit(&self, charges: Charges) -> Result<Decision, StoreError> {
            slow(charges).await
        }
        async fn refund(&self, charges: Charges) -> Result<Decision, StoreError> {
            slow(charges).await
        }
        async fn peek(&self, charges: Charges) -> Result<Decision, StoreError> {
            slow(charges).await
        }
        async fn reset(&self, charges: Charges) -> Result<Decision, StoreError> {
            slow(charges).await
        }
    }
    let layer = || RateLimitLayer::with_store([limit_of(1).price(|_| Some(2))], Boxed::new(Slow));
    assert_contract(&layer());
    contract::of("rate limit, slow", layer).refused(trace).readiness(Readiness::Deferred).assert();
}

#[test]
fn concurrency_keeps_the_contract() {
    assert_contract(&ConcurrencyLayer::new(1));
    let held = |layer: &ConcurrencyLayer| layer.handle().in_flight() + layer.handle().waiting();
    let wait = std::time::Duration::from_secs(5);
    contract::of("concurrency", move || ConcurrencyLayer::new(3).queue(100, wait))
        .readiness(Readiness::Deferred)
        .held(held)
        .assert();
    contract::of("concurrency, adaptive", || ConcurrencyLayer::adaptive(100))
        .readiness(Readiness::Deferred)
        .held(held)
        .assert();
    // With no room at all, each request is refused; with one place, two layers share it.
    contract::of("concurrency of one", || ConcurrencyLayer::new(1)).readiness(Readiness::Deferred).held(held).assert();
}

#[test]
fn body_limit_keeps_the_contract() {
    assert_contract(&BodyLimitLayer::new(u64::MAX));
    contract::of("body limit", || BodyLimitLayer::new(u64::MAX)).assert();
}

#[test]
fn content_type_keeps_the_contract() {
    let json = || ContentTypeLayer::new(["application/json"]).expect("a media type");
    assert_contract(&json());
    let of_json = || Request::post("/").header("content-type", "application/json");
    contract::of("content type", json).admitted(of_json).assert();
}

#[test]
fn transform_keeps_the_contract() {
    let subject = || HeaderRules::new().set(http::header::FROM, "{subject}".parse().expect("a template"));
    let layer = move || TransformLayer::new().request(subject()).response(subject()).response_time(true);
    assert_contract(&layer());
    assert_transparent(&layer());
    let by = |subject: &'static str| {
        let context = RequestContext::new();
        context.set_identity(Identity::builder(CredentialKind::Jwt).subject(subject).build());
        Request::builder().extension(context)
    };
    contract::of("transform", layer).admitted(move || by("u1")).refused(move || by("u1\n")).assert();
}

/// Not a layer, but it wraps a client as one does.
#[test]
fn the_proxy_keeps_the_contract() {
    assert_contract(&layer_fn(ProxyService::<contract::Inner<TestBody>>::new));
    let named = |client: Origin| ProxyService::new(client).via_name("gateway").expect("a token");
    contract::of("proxy", move || layer_fn(named))
        .refused(|| Request::builder().header("via", "1.1 gateway"))
        .readiness(Readiness::Deferred)
        .answers_errors()
        .assert();
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
    contract::of("refusing", || Refusing::after(PLENTY))
        .refused(trace)
        .shared(async |mut one, mut two| {
            for _ in 0..PLENTY {
                one.send(Request::get("/")).await;
            }
            two.send(Request::get("/")).await.status() == 429 && two.inner_calls() == PLENTY
        })
        .adopts(
            |old| {
                old.left.fetch_add(1, Ordering::Relaxed);
                old.clone()
            },
            async |mut old, mut new| {
                for _ in 0..PLENTY {
                    old.send(Request::get("/")).await;
                }
                let one_more = new.send(Request::get("/")).await.status();
                (one_more.as_u16(), new.send(Request::get("/")).await.status().as_u16()) == (200, 429)
            },
        )
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
    let in_flight = |layer: &Holding| layer.in_flight.load(Ordering::Relaxed);
    contract::of("holding", Holding::default).held(in_flight).assert();
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
