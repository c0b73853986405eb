//! Over tower's own limiting services, with instances that live long: `ConcurrencyLimit(1)` and `Buffer(1)`, which
//! starve or panic when a layer calls what it did not ready, or keeps what it does not use.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::buffer::Buffer;
use tower::layer::layer_fn;
use tower::limit::ConcurrencyLimit;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_gateway::auth::{ApiKey, ApiKeys, AuthLayer, KeyDigest, MemoryKeyStore};
use tower_gateway::cache::CacheLayer;
use tower_gateway::circuit_breaker::{BreakerKey, CircuitBreakerLayer};
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::concurrency::ConcurrencyLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::limits::{BodyLimitLayer, ContentTypeLayer};
use tower_gateway::proxy::ProxyService;
use tower_gateway::rate_limit::{Key, Limit, Quota, RateLimitLayer};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::strict::StrictLayer;
use tower_gateway::transform::TransformLayer;
use tower_gateway::{ClientIp, RequestContext};

use crate::samples::{Deferred, Holding, Refusing, Transparent};

type Body = Full<Bytes>;

async fn slow<B>(_: Request<B>) -> Result<Response<Body>, Infallible> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(Response::new(Body::from("answer")))
}

async fn send<S, R>(service: &mut S, request: Request<Body>) -> u16
where
    S: Service<Request<Body>, Response = Response<R>, Error: Into<BoxError>>,
{
    let ready = tokio::time::timeout(Duration::from_secs(60), service.ready()).await;
    let call = ready.expect("it becomes ready").map_err(Into::into).unwrap().call(request);
    let answer = tokio::time::timeout(Duration::from_secs(60), call).await;
    answer.expect("it answers").map_err(Into::into).unwrap().status().as_u16()
}

/// From a client that is known, to a host that is named, and with a key, for the layers that ask.
fn get() -> Request<Body> {
    let mut request = Request::builder().header("host", "a").header("x-api-key", "k").body(Body::default()).unwrap();
    let client = ClientIp::from_peer(SocketAddr::from(([192, 0, 2, 7], 4711)), 64);
    RequestContext::of(request.extensions_mut()).set_client_ip(client);
    request
}

/// In turns, with refusals and with ready instances that are given up between them, and two at once.
async fn takes_turns<S, R>(one: S, two: S, refused: Option<fn() -> Request<Body>>)
where
    S: Service<Request<Body>, Response = Response<R>, Error: Into<BoxError>> + Clone,
{
    let mut turns = [one.clone(), two.clone(), one, two];
    for _ in 0..5 {
        for service in &mut turns {
            assert_eq!(send(service, get()).await, 200);
        }
        if let Some(refused) = refused {
            assert_ne!(send(&mut turns[0], refused()).await, 200);
            assert_eq!(send(&mut turns[1], get()).await, 200);
        }
        let mut given_up = turns[2].clone();
        given_up.ready().await.map_err(Into::into).unwrap();
        drop(given_up);
    }
    let [mut one, mut two, ..] = turns;
    assert_eq!(tokio::join!(send(&mut one, get()), send(&mut two, get())), (200, 200));
}

macro_rules! over_limits {
    ($($name:ident: $layer:expr, $refused:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(start_paused = true)]
            async fn serves_over_a_concurrency_limit_of_one() {
                let (layer, limit) = ($layer, ConcurrencyLimit::new(tower::service_fn(slow), 1));
                takes_turns(layer.layer(limit.clone()), layer.layer(limit), $refused).await;
            }

            #[tokio::test(start_paused = true)]
            async fn serves_over_a_buffer_of_one() {
                let (layer, buffer) = ($layer, Buffer::new(tower::service_fn(slow), 1));
                takes_turns(layer.layer(buffer.clone()), layer.layer(buffer), $refused).await;
            }
        }
    )*};
}

fn trace() -> Request<Body> {
    Request::builder().method("TRACE").body(Body::default()).unwrap()
}

fn only_if_cached() -> Request<Body> {
    Request::builder().uri("/other").header("cache-control", "only-if-cached").body(Body::default()).unwrap()
}

/// From nobody that is known, and to no host.
fn from_nobody() -> Request<Body> {
    Request::new(Body::default())
}

fn keys() -> MemoryKeyStore {
    MemoryKeyStore::new([(KeyDigest::of(b"k"), ApiKey::new("k1"))])
}

/// Open to requests without a host.
fn open_for_nobody() -> CircuitBreakerLayer {
    let layer = CircuitBreakerLayer::new().key(BreakerKey::Host);
    layer.handle().force_open();
    layer
}

/// More than three bytes, and of no type.
fn long() -> Request<Body> {
    Request::new(Body::from("more than three bytes"))
}

over_limits! {
    client_ip: ClientIpLayer::new(), None;
    request_id: RequestIdLayer::new(), None;
    ip_filter: IpFilterLayer::new(), Some(from_nobody);
    strict: StrictLayer::new(), Some(from_nobody);
    auth: AuthLayer::new(ApiKeys::new(keys())), Some(from_nobody);
    rate_limit: RateLimitLayer::new([
        Limit::new("test", Quota::per_hour(1_000)).key(Key::method()),
        Limit::new("none", Quota::per_hour(1)).key(Key::global()).cost_by(|head| if head.method() == "TRACE" { 2 } else { 0 }),
    ]), Some(trace);
    cache: CacheLayer::new(), Some(only_if_cached);
    cache_that_stores: CacheLayer::new().ttl(Duration::from_secs(60)), None;
    circuit_breaker: CircuitBreakerLayer::new(), None;
    open_circuit_breaker: open_for_nobody(), Some(from_nobody);
    concurrency: ConcurrencyLayer::new(1).queue(10, Duration::from_secs(1)), None;
    body_limit: BodyLimitLayer::new(3), Some(long);
    content_type: ContentTypeLayer::new(["a/b"]).unwrap(), Some(long);
    transform: TransformLayer::new().response_time(true), None;
    proxy: layer_fn(ProxyService::new), None;
    transparent: Transparent, None;
    refusing: Refusing::after(1_000), Some(trace);
    deferred: Deferred, Some(trace);
    holding: Holding::default(), None;
}
