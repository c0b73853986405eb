//! Instructions each layer costs a request: the same on every machine, however busy. Needs valgrind, and the runner of the
//! gungraun version in Cargo.lock: `cargo install gungraun-runner`; then `cargo bench --bench instructions`
#![allow(missing_docs, reason = "the macros make items without any")]

mod support;
#[path = "../tests/support/tokens.rs"]
mod tokens;

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use http::Response;
use http::header::AUTHORIZATION;
use http_body_util::Full;
use tower::{Layer, Service};
use tower_gateway::auth::{Algorithm, AuthLayer, Issuer, Jwt};
use tower_gateway::body::ResponseBody;
use tower_gateway::cache::{CacheBody, CacheLayer};
use tower_gateway::circuit_breaker::CircuitBreakerLayer;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::rate_limit::{RateLimitHeaders, RateLimitLayer};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::retry::RetryLayer;
use tower_gateway::strict::StrictLayer;

use support::{Answer, NoBody, Origin, block_on, request};
use tokens::Signer;

type Request = http::Request<NoBody>;

/// The second of two calls: what a thread sets up once is not a request's cost.
fn warm<S>(service: S) -> (S, Request)
where
    S: Service<Request>,
    S::Error: std::fmt::Debug,
{
    warm_with(service, request)
}

fn warm_with<S>(mut service: S, request: impl Fn() -> Request) -> (S, Request)
where
    S: Service<Request>,
    S::Error: std::fmt::Debug,
{
    drop(block_on(service.call(request())).unwrap());
    (service, request())
}

/// The service that `make` makes for an issuer, and a request with a token that this issuer has signed so.
fn with_token<S>(algorithm: Algorithm, make: impl Fn(Jwt) -> S) -> (S, Request)
where
    S: Service<Request>,
    S::Error: std::fmt::Debug,
{
    let signer = Signer::new(algorithm);
    let bearer = format!("Bearer {}", tokens::typical(&signer));
    let issuer = Issuer::new(signer.key()).issuer("https://issuer.example/").audience(["gateway"]);
    warm_with(make(Jwt::new([issuer]).unwrap()), || {
        let mut request = request();
        request.headers_mut().insert(AUTHORIZATION, bearer.parse().unwrap());
        request
    })
}

macro_rules! cost {
    ($name:ident, $service:expr) => {
        cost!($name => warm($service));
    };
    ($name:ident => $made:expr) => {
        #[library_benchmark]
        #[bench::request($made)]
        // The service is handed back, so that its end is no part of it.
        fn $name<S: Service<Request>>((mut service, request): (S, Request)) -> (Option<S::Response>, S) {
            (black_box(block_on(service.call(black_box(request))).ok()), service)
        }
    };
}

cost!(none, Answer);
cost!(client_ip, ClientIpLayer::new().layer(Answer));
cost!(ip_filter, ClientIpLayer::new().layer(IpFilterLayer::new().deny(support::many_ranges(10_000)).layer(Answer)));
cost!(request_id, RequestIdLayer::new().layer(Answer));
cost!(strict, StrictLayer::new().layer(Answer));
cost!(proxy, ProxyService::new(Answer).strip_prefix("/api").unwrap());
cost!(stack, support::stack());
cost!(rate_limit, ClientIpLayer::new().layer(RateLimitLayer::per_second(1_000_000_000).layer(Answer)));
cost!(
    rate_limit_silent,
    ClientIpLayer::new()
        .layer(RateLimitLayer::per_second(1_000_000_000).headers(RateLimitHeaders::none()).layer(Answer))
);
cost!(token => with_token(Algorithm::Hs256, |_| Answer));

macro_rules! auth_cost {
    ($($remembered:ident, $verified:ident: $algorithm:ident;)*) => {
        $(
            cost!($remembered => with_token(Algorithm::$algorithm, |jwt| AuthLayer::new(jwt).layer(Answer)));
            cost!($verified => with_token(Algorithm::$algorithm, |jwt| AuthLayer::new(jwt.cache(0, 0)).layer(Answer)));
        )*
    };
}

auth_cost! {
    hs256_remembered, hs256_verified: Hs256;
    rs256_remembered, rs256_verified: Rs256;
    ps256_remembered, ps256_verified: Ps256;
    es256_remembered, es256_verified: Es256;
    es384_remembered, es384_verified: Es384;
    eddsa_remembered, eddsa_verified: EdDsa;
}

/// An answer of 1 KiB with seven fields, fresh for an hour.
fn page() -> Response<Full<Bytes>> {
    let fields = [
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("cache-control", "max-age=3600"),
        ("etag", "\"0123456789abcdef\""),
        ("server", "origin"),
        ("vary", "accept-encoding"),
        ("x-content-type-options", "nosniff"),
    ];
    let response = fields.iter().fold(Response::builder(), |response, (name, value)| response.header(*name, *value));
    response.body(Full::from(vec![7; 1024])).expect("a response")
}

/// A cache whose origin has answered once, and a request for the same.
fn stored() -> (impl Service<Request, Response = Cached, Error = std::convert::Infallible>, Request) {
    let origin = tower::service_fn(|_: Request| std::future::ready(Ok(page())));
    let layer = CacheLayer::new().x_cache(true);
    // What is stored is dropped by nobody while it is measured.
    std::mem::forget(layer.clone());
    let mut service = layer.layer(origin);
    for expected in ["MISS", "HIT"] {
        let answer = block_on(service.call(request())).expect("an answer");
        assert_eq!(answer.headers()["x-cache"], expected);
        read(answer);
    }
    (service, request())
}

type Cached = Response<ResponseBody<CacheBody<Full<Bytes>>>>;

fn read(response: Cached) -> usize {
    use http_body_util::BodyExt;
    block_on(response.into_body().collect()).expect("a body").to_bytes().len()
}

#[library_benchmark]
#[bench::request(stored())]
fn cache_hit<S: Service<Request, Response = Cached>>((mut service, request): (S, Request)) -> usize {
    block_on(service.call(black_box(request))).map_or(0, read)
}

cost!(client, Origin);
cost!(circuit_breaker, CircuitBreakerLayer::new().layer(Origin));
cost!(retry, RetryLayer::new().layer(Origin));

library_benchmark_group!(
    name = layers;
    benchmarks = none, client_ip, ip_filter, request_id, strict, proxy, stack, rate_limit, rate_limit_silent, token,
        hs256_remembered, hs256_verified, rs256_remembered, rs256_verified, ps256_remembered, ps256_verified,
        es256_remembered, es256_verified, es384_remembered, es384_verified, eddsa_remembered, eddsa_verified, cache_hit,
        client, circuit_breaker, retry
);
main!(library_benchmark_groups = layers);
