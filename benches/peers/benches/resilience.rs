//! A circuit breaker around a service that answers at once, a retry that never has to try again, and the choice among
//! servers. `cargo bench --manifest-path benches/peers/Cargo.toml --bench resilience`

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::Empty;
use pingora_load_balancing::LoadBalancer;
use pingora_load_balancing::selection::{Random, RoundRobin};
use tower::balance::p2c::Balance as P2c;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::retry::{Policy, Retry};
use tower::{Layer, Service};
use tower_gateway::circuit_breaker::CircuitBreakerLayer;
use tower_gateway::retry::RetryLayer;
use tower_gateway::upstream::{Balance, Upstream};
use tower_gateway::{Head, UpstreamError};
use tower_resilience_circuitbreaker::CircuitBreakerLayer as PeersBreaker;

type NoBody = Empty<Bytes>;

#[derive(Clone)]
struct Origin;

impl<B> Service<Request<B>> for Origin {
    type Response = Response<NoBody>;
    type Error = UpstreamError;
    type Future = Ready<Result<Self::Response, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

fn request() -> Request<NoBody> {
    let request = Request::get("/api/users/42").header("host", "api.example.com").header("accept", "*/*");
    request.header("user-agent", "bench/1.0").body(Empty::new()).expect("a request")
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// tower's policy: every answer is final, and the head is kept to try again with.
#[derive(Clone)]
struct Never;

impl<E> Policy<Request<NoBody>, Response<NoBody>, E> for Never {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<NoBody>, answer: &mut Result<Response<NoBody>, E>) -> Option<Ready<()>> {
        answer.is_err().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<NoBody>) -> Option<Request<NoBody>> {
        Some(request.clone())
    }
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a call through");
    macro_rules! call {
        ($name:expr, $service:expr) => {
            group.bench_function($name, |bencher| {
                let mut service = $service;
                let mut cx = Context::from_waker(Waker::noop());
                bencher.iter_batched(
                    request,
                    |request| {
                        assert!(Service::<Request<NoBody>>::poll_ready(&mut service, &mut cx).is_ready());
                        now(service.call(request)).map(|answer| answer.status()).ok()
                    },
                    BatchSize::SmallInput,
                );
            });
        };
    }
    call!("nothing", Origin);
    call!("tower-gateway's breaker", CircuitBreakerLayer::new().layer(Origin));
    let peer = PeersBreaker::builder().failure_rate_threshold(0.5).sliding_window_size(100).build().expect("a breaker");
    call!("tower-resilience's breaker", peer.layer(Origin));
    call!("tower-gateway's retry", RetryLayer::new().layer(Origin));
    call!("tower's retry", Retry::new(Never, Origin));
    group.finish();
}

#[derive(Clone)]
struct Chosen;

impl Service<()> for Chosen {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

fn choices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("the choice among");
    for servers in [2_u16, 10_000] {
        for (name, balance) in [("least requests", Balance::LeastRequests), ("round robin", Balance::RoundRobin)] {
            let builder =
                (0..servers).fold(Upstream::builder(), |builder, at| builder.server(format!("http://s{at}"), 1));
            let upstream = builder.balance(balance).build().expect("an upstream");
            let request = request();
            group.bench_function(format!("{servers}: tower-gateway, {name}"), |bencher| {
                bencher.iter(|| black_box(&upstream).choose_index(Head::of(&request)));
            });
        }
        let backends: Vec<_> = (0..servers).map(|at| format!("127.{}.{}.1:80", at >> 8, at & 255)).collect();
        let round_robin = LoadBalancer::<RoundRobin>::try_from_iter(&backends).expect("servers");
        group.bench_function(format!("{servers}: pingora, round robin"), |bencher| {
            bencher.iter(|| black_box(&round_robin).select(b"", 16));
        });
        let random = LoadBalancer::<Random>::try_from_iter(&backends).expect("servers");
        group.bench_function(format!("{servers}: pingora, random"), |bencher| {
            bencher.iter(|| black_box(&random).select(b"", 16));
        });
        // With a call, since the choice is part of being ready.
        let loads = (0..servers).map(|_| PendingRequests::new(Chosen, CompleteOnResponse::default()));
        let mut p2c = P2c::new(ServiceList::new::<()>(loads.collect::<Vec<_>>()));
        let mut cx = Context::from_waker(Waker::noop());
        group.bench_function(format!("{servers}: tower's p2c, with a call"), |bencher| {
            bencher.iter(|| {
                assert!(p2c.poll_ready(&mut cx).is_ready());
                now(p2c.call(())).is_ok()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, layers, choices);
criterion_main!(benches);
