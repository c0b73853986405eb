//! What leaving origins alone, trying again and choosing a server cost. `cargo bench --bench resilience`
#![allow(missing_docs, reason = "the macros make items without any")]

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue};
use tower::{Layer, Service};
use tower_gateway::circuit_breaker::CircuitBreakerLayer;
use tower_gateway::retry::RetryLayer;
use tower_gateway::upstream::{Balance, HashBy, Upstream};
use tower_gateway::{Head, Share};

use support::{Origin, block_on, request};

fn breakers() -> [(&'static str, CircuitBreakerLayer); 3] {
    [
        ("by_time", CircuitBreakerLayer::new()),
        ("last_100_calls", CircuitBreakerLayer::new().last_calls(100)),
        ("by_time_and_slow_calls", CircuitBreakerLayer::new().slow_calls(Duration::from_secs(1), Share::percent(50))),
    ]
}

fn breaker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("breaker");
    for (name, layer) in breakers() {
        group.bench_function(name, |bencher| bencher.iter(|| black_box(&layer).admit_and_record(false)));
        group.bench_function(format!("{name}/8_threads"), |bencher| {
            bencher.iter_custom(|calls| {
                let begin = Instant::now();
                std::thread::scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(|| (0..calls).for_each(|_| assert!(black_box(&layer).admit_and_record(false))));
                    }
                });
                // The time that one call takes of one core, of which there are two.
                begin.elapsed() * 2 / 8
            });
        });
    }
    group.bench_function("the_clock_alone", |bencher| bencher.iter(Instant::now));
    // What eight threads cost that share nothing.
    group.bench_function("the_clock_alone/8_threads", |bencher| {
        bencher.iter_custom(|calls| {
            let begin = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for _ in 0..calls {
                            black_box(Instant::now());
                        }
                    });
                }
            });
            begin.elapsed() * 2 / 8
        });
    });
    group.finish();
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer");
    macro_rules! call {
        ($name:expr, $service:expr) => {
            group.bench_function($name, |bencher| {
                let mut service = $service;
                // With the request made and the answer dropped, as in a server: what a layer costs is what is more than without.
                bencher.iter(|| drop(block_on(service.call(request())).unwrap()));
            });
        };
    }
    call!("none", Origin);
    call!("circuit_breaker", CircuitBreakerLayer::new().layer(Origin));
    call!("retry", RetryLayer::new().layer(Origin));
    call!("retry_and_circuit_breaker", RetryLayer::new().layer(CircuitBreakerLayer::new().layer(Origin)));
    group.finish();
}

fn choose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose");
    let field = HeaderName::from_static("x-tenant");
    let ways = [
        ("least_requests", Balance::LeastRequests),
        ("round_robin", Balance::RoundRobin),
        ("peak_ewma", Balance::PeakEwma),
        ("hash", Balance::Hash(HashBy::Header(field.clone()))),
    ];
    for (name, balance) in ways {
        for servers in [2, 10_000] {
            for weighted in [false, true] {
                let weight = |server: u32| if weighted { 1 + server % 3 } else { 1 };
                let upstream = (0..servers)
                    .fold(Upstream::builder(), |builder, server| {
                        builder.server(format!("http://s{server}"), weight(server))
                    })
                    .balance(balance.clone())
                    .build()
                    .unwrap();
                let mut keyed = request();
                keyed.headers_mut().insert(&field, HeaderValue::from_static("tenant-4711"));
                let weights = if weighted { "by_weight" } else { "equal" };
                group.bench_function(format!("{name}/{servers}/{weights}"), |bencher| {
                    bencher.iter(|| black_box(&upstream).choose_index(Head::of(&keyed)));
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, breaker, layers, choose);
criterion_main!(benches);
