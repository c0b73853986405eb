//! How often the stack allocates for one request. A change that adds to it has to say so here.

#[path = "../benches/support/mod.rs"]
mod support;
#[path = "support/tokens.rs"]
mod tokens;

use std::io::{Read, Write};
use std::net::TcpListener;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Empty};
use support::{Answer, NoBody, block_on, request};
use tower::{Layer, Service};
use tower_gateway::auth::{Algorithm, ApiKey, ApiKeys, AuthLayer, Issuer, Jwt, KeyDigest, MemoryKeyStore};
use tower_gateway::cache::CacheLayer;
use tower_gateway::circuit_breaker::CircuitBreakerLayer;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::rate_limit::{Charge, MemoryStore, Quota, RateLimitHeaders, RateLimitLayer, Store};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::retry::RetryLayer;
use tower_gateway::strict::StrictLayer;
use tower_gateway::upstream::{Client, Upstream};

/// Allocations of one call, the request and its context made before, the answer dropped after.
fn allocations<S>(mut service: S) -> u64
where
    S: Service<http::Request<NoBody>>,
    S::Error: std::fmt::Debug,
{
    // What a thread sets up once is not a request's cost.
    drop(block_on(service.call(request())).unwrap());
    let request = request();
    let mut answer = None;
    let counted = allocation_counter::measure(|| answer = Some(block_on(service.call(request)).unwrap()));
    drop(answer);
    counted.count_total
}

#[test]
fn the_context_costs_four_allocations_once() {
    let mut extensions = http::Extensions::new();
    let counted = allocation_counter::measure(|| drop(tower_gateway::RequestContext::of(&mut extensions)));
    assert_eq!(counted.count_total, 4);
    let again = allocation_counter::measure(|| drop(tower_gateway::RequestContext::of(&mut extensions)));
    assert_eq!(again.count_total, 0);
}

#[test]
fn each_layer_allocates_what_it_says() {
    assert_eq!(allocations(Answer), 0);
    assert_eq!(allocations(ClientIpLayer::new().layer(Answer)), 0);
    let filter = IpFilterLayer::new().deny(support::cidrs(["198.51.100.0/24"]));
    assert_eq!(allocations(ClientIpLayer::new().layer(filter.layer(Answer))), 0);
    assert_eq!(allocations(StrictLayer::new().layer(Answer)), 0);
    // The id and the trace, and the header map's growth for two more fields.
    assert_eq!(allocations(RequestIdLayer::new().layer(Answer)), 6);
    // The new path, X-Forwarded-For, the request map's growth, and a new map for the Date that this origin left out.
    assert_eq!(allocations(ProxyService::new(Answer).strip_prefix("/api").unwrap()), 7);
}

#[test]
fn a_key_that_is_known_is_counted_without_an_allocation() {
    let store = MemoryStore::new();
    let charges = [Quota::per_second(10), Quota::per_hour(1000)]
        .map(|quota| Charge::new(store.digests().of_limit(&quota.to_string()).key(b"alice"), quota));
    assert!(store.acquire_now(&charges).admitted);
    for known in [&charges[..], &charges[..1]] {
        let counted = allocation_counter::measure(|| assert!(store.acquire_now(known).admitted));
        assert_eq!(counted.count_total, 0);
    }

    let limit = || RateLimitLayer::per_minute(100);
    assert_eq!(allocations(ClientIpLayer::new().layer(limit().headers(RateLimitHeaders::none()).layer(Answer))), 0);
    // The two tables of an answer that has no field yet. What of 100 requests remains has been told before, but for the first time,
    // which the thread remembers. A date that it has not written before is two more, once a second.
    let fields = || allocations(ClientIpLayer::new().layer(limit().layer(Answer)));
    let counted: Vec<_> = (0..10).map(|_| fields()).skip(1).collect();
    assert!(counted.contains(&2) && counted.iter().all(|count| [2, 4].contains(count)), "{counted:?}");
    // Of more than are remembered it is written each time. Of answers that are like none before, one in sixteen is kept.
    let limit = || RateLimitLayer::per_minute(5_000);
    let fields = || allocations(ClientIpLayer::new().layer(limit().layer(Answer)));
    let counted: Vec<_> = (0..26).map(|_| fields()).skip(16).collect();
    assert!(counted.contains(&3) && counted.iter().all(|count| [3, 5].contains(count)), "{counted:?}");
}

#[test]
fn a_breaker_allocates_nothing_and_a_retry_what_the_head_takes() {
    assert_eq!(allocations(CircuitBreakerLayer::new().layer(Answer)), 0);
    let answer = tower::service_fn(|_: Request<tower_gateway::retry::ReplayBody<NoBody>>| {
        std::future::ready(Ok::<_, tower_gateway::UpstreamError>(http::Response::new(NoBody::new())))
    });
    let mut retry = RetryLayer::new().layer(answer);
    // A server's requests share the bytes they were read from; these do once they have been cloned.
    let request = request();
    drop((request.headers().clone(), request.uri().clone()));
    // The two tables of the fields, and one box for all that is kept until the answer is there.
    let counted = allocation_counter::measure(|| drop(block_on(retry.call(request)).unwrap()));
    assert_eq!(counted.count_total, 3);
}

/// The key, and the two tables of the answer's fields. Of the body, however long it is: nothing.
#[test]
fn a_hit_allocates_what_benches_readme_says() {
    for length in [1024, 512 * 1024] {
        let origin = tower::service_fn(move |_: http::Request<NoBody>| async move {
            let response = http::Response::builder().header("cache-control", "max-age=60").header("x-a", "b");
            let body = http_body_util::Full::new(Bytes::from(vec![7; length]));
            Ok::<_, std::convert::Infallible>(response.body(body).unwrap())
        });
        let mut service = CacheLayer::new().x_cache(true).layer(origin);
        for _ in 0..2 {
            block_on(block_on(service.call(request())).unwrap().into_body().collect()).unwrap();
        }
        let request = request();
        let mut answer = None;
        let counted = allocation_counter::measure(|| {
            let response = block_on(service.call(request)).unwrap();
            answer = Some(response.map(|mut body| std::pin::pin!(body.frame()).as_mut().now_or_never()));
        });
        let frame = answer.unwrap().into_body().flatten().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().len(), length);
        assert_eq!(counted.count_total, 3);
        assert!(counted.bytes_total < 2048, "{counted:?}");
    }
}

/// A long body stays in the pieces in which it came, which the store and the client share.
#[test]
fn storing_copies_no_long_body() {
    let body = Bytes::from(vec![7; 512 * 1024]);
    let origin = tower::service_fn(move |_: http::Request<NoBody>| {
        let response = http::Response::builder().header("cache-control", "max-age=60");
        std::future::ready(Ok::<_, std::convert::Infallible>(
            response.body(http_body_util::Full::new(body.clone())).unwrap(),
        ))
    });
    let mut service = CacheLayer::new().x_cache(true).layer(origin);
    let request = request();
    let counted = allocation_counter::measure(|| {
        let answer = block_on(service.call(request)).unwrap();
        assert_eq!(block_on(answer.into_body().collect()).unwrap().to_bytes().len(), 512 * 1024);
    });
    assert!(counted.bytes_total < 64 * 1024, "{counted:?}");
    assert_eq!(block_on(service.call(self::request())).unwrap().headers()["x-cache"], "HIT");
}

#[test]
fn the_whole_stack_allocates_what_benches_readme_says() {
    assert_eq!(allocations(support::stack()), 9);
}

/// An origin that answers whatever comes over one connection.
fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
        let answer = format!("HTTP/1.1 200 OK\r\n{date}\r\ncontent-length: 2\r\nx-own: 1\r\n\r\nok");
        while connection.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn a_request_over_a_kept_connection_costs_three_allocations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = Upstream::builder().server(origin(), 1).build().unwrap();
    let mut proxy =
        ProxyService::new(Client::new(upstream)).x_forwarded(false).via(false).strip_prefix("/api").unwrap();
    let mut exchange = |request: Request<Empty<Bytes>>| {
        runtime.block_on(async {
            let answer = proxy.call(request).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        });
    };
    let request = || Request::get("/api/users/42").header("host", "gateway").body(Empty::new()).unwrap();
    exchange(request());
    exchange(request());
    let request = request();
    let counted = allocation_counter::measure(|| exchange(request));
    // The new path, its owner, and the timer of the deadline, which `serve` would keep with its connection's; the buffers and the
    // maps of fields are those of the exchange before.
    assert_eq!(counted.count_total, 3);
}

/// What a request with a credential costs more than one without the layer.
fn allocations_with(layer: &AuthLayer, name: &'static str, value: &str) -> u64 {
    let with_credential = || {
        let mut request = request();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut service = layer.layer(Answer);
    drop(block_on(service.call(with_credential())).unwrap());
    let request = with_credential();
    let mut answer = None;
    let counted = allocation_counter::measure(|| answer = Some(block_on(service.call(request)).unwrap()));
    assert_eq!(answer.unwrap().status(), 200);
    counted.count_total
}

#[test]
fn a_token_that_is_remembered_and_an_api_key_in_memory_allocate_nothing() {
    for algorithm in [Algorithm::Hs256, Algorithm::Es256] {
        let signer = tokens::Signer::new(algorithm);
        let issuer = Issuer::new(signer.key()).issuer("https://issuer.example/").audience(["gateway"]);
        let layer = AuthLayer::new(Jwt::new([issuer]).unwrap());
        let token = format!("Bearer {}", signer.token(&tokens::claims("u1")));
        assert_eq!(allocations_with(&layer, "authorization", &token), 0, "{algorithm}");
    }
    let keys = MemoryKeyStore::new([(KeyDigest::of(b"k"), ApiKey::new("k1"))]);
    assert_eq!(allocations_with(&AuthLayer::new(ApiKeys::new(keys)), "x-api-key", "k"), 0);
}
