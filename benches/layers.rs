//! What each layer costs a request, over a service that answers at once. `cargo bench --bench layers`
#![allow(missing_docs, reason = "the macros make items without any")]

mod support;

use std::pin::pin;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use tower::{Layer, Service};
use tower_gateway::client_ip::{CidrSet, ClientIpLayer, ForwardingHeader};
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::rate_limit::{RateLimitHeaders, RateLimitLayer};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::serve::Swap;
use tower_gateway::strict::StrictLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use support::{Answer, block_on, cidrs, finish, request};

/// So many requests are made before they are timed: few, so that the memory of each is found by the next as it is in a server.
const MADE_AHEAD: u64 = 4;

/// One call of the service, with the answer dropped behind it. What a layer costs is what is more than the time of the service alone.
/// Were the answers kept, each would take memory that the machine has not seen before, which costs more than the call. The requests
/// are made outside of what is timed: that takes longer than all that is done with them, and is another time in each process.
fn call<S>(bencher: &mut Bencher<'_>, mut service: S)
where
    S: Service<http::Request<support::NoBody>>,
    S::Error: std::fmt::Debug,
{
    let mut made = Vec::with_capacity(MADE_AHEAD as usize);
    bencher.iter_custom(|calls| {
        let (mut left, mut taken) = (calls, Duration::ZERO);
        while left > 0 {
            let now = left.min(MADE_AHEAD);
            left -= now;
            made.extend((0..now).map(|_| request()));
            let start = Instant::now();
            for request in made.drain(..) {
                drop(finish(pin!(service.call(request))).unwrap());
            }
            taken += start.elapsed();
        }
        taken
    });
}

/// Answers at once, as an origin does.
async fn six_fields<B>(_: http::Request<B>) -> Result<http::Response<support::NoBody>, std::convert::Infallible> {
    let answer = http::Response::builder()
        .header("content-type", "application/json")
        .header("content-length", "1024")
        .header("date", "Fri, 21 Nov 2026 08:00:00 GMT")
        .header("server", "origin")
        .header("cache-control", "no-cache")
        .header("etag", "\"1\"");
    Ok(answer.body(support::NoBody::new()).expect("the answer is valid"))
}

fn layers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("layer");
    group.bench_function("none", |bencher| call(bencher, Answer));
    group.bench_function("client_ip/untrusted", |bencher| call(bencher, ClientIpLayer::new().layer(Answer)));
    group.bench_function("client_ip/trusted", |bencher| {
        let layer = ClientIpLayer::new().trusted_proxies(cidrs(["0.0.0.0/0"])).header(ForwardingHeader::XForwardedFor);
        call(bencher, layer.layer(Answer));
    });
    group.bench_function("ip_filter/10000_ranges", |bencher| {
        let ranges: CidrSet = support::many_ranges(10_000);
        call(bencher, ClientIpLayer::new().layer(IpFilterLayer::new().deny(ranges).layer(Answer)));
    });
    group.bench_function("request_id", |bencher| call(bencher, RequestIdLayer::new().layer(Answer)));
    group.bench_function("request_id/without_trace", |bencher| {
        call(bencher, RequestIdLayer::new().trace_context(false).layer(Answer));
    });
    group.bench_function("request_id/tower_http", |bencher| {
        let header = http::HeaderName::from_static("x-request-id");
        let set = SetRequestIdLayer::new(header.clone(), MakeRequestUuid);
        call(bencher, set.layer(PropagateRequestIdLayer::new(header).layer(Answer)));
    });
    group.bench_function("rate_limit", |bencher| {
        call(bencher, ClientIpLayer::new().layer(RateLimitLayer::per_second(1_000_000_000).layer(Answer)));
    });
    group.bench_function("rate_limit/without_headers", |bencher| {
        let silent = RateLimitLayer::per_second(1_000_000_000).headers(RateLimitHeaders::none());
        call(bencher, ClientIpLayer::new().layer(silent.layer(Answer)));
    });
    for (name, headers) in [
        ("rate_limit/ietf", RateLimitHeaders::none().ietf(true)),
        ("rate_limit/legacy", RateLimitHeaders::none().legacy(true)),
    ] {
        let some = RateLimitLayer::per_second(1_000_000_000).headers(headers);
        group.bench_function(name, |bencher| call(bencher, ClientIpLayer::new().layer(some.layer(Answer))));
    }
    group.bench_function("rate_limit/all_headers", |bencher| {
        let all = RateLimitLayer::per_second(1_000_000_000).headers(RateLimitHeaders::default().older_draft(true));
        call(bencher, ClientIpLayer::new().layer(all.layer(Answer)));
    });
    // To an answer that has fields already, whose map has to grow.
    group.bench_function("none/of_six_fields", |bencher| call(bencher, tower::service_fn(six_fields)));
    group.bench_function("rate_limit/of_six_fields", |bencher| {
        let limit = RateLimitLayer::per_second(1_000_000_000);
        call(bencher, ClientIpLayer::new().layer(limit.layer(tower::service_fn(six_fields))));
    });
    group.bench_function("strict", |bencher| call(bencher, StrictLayer::new().layer(Answer)));
    group.bench_function("proxy", |bencher| call(bencher, ProxyService::new(Answer).strip_prefix("/api").unwrap()));
    group.bench_function("stack", |bencher| call(bencher, support::stack()));
    group.finish();
}

/// The same call, where the service is asked first whether it is ready, which is where a `Swap` looks for another one.
fn ready_and_call<S>(bencher: &mut Bencher<'_>, mut service: S)
where
    S: Service<http::Request<support::NoBody>>,
    S::Error: std::fmt::Debug,
{
    bencher.iter(|| {
        block_on(std::future::poll_fn(|cx| service.poll_ready(cx))).unwrap();
        drop(block_on(service.call(request())).unwrap());
    });
}

fn swap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swap");
    group.bench_function("without", |bencher| ready_and_call(bencher, support::stack()));
    group.bench_function("with", |bencher| ready_and_call(bencher, Swap::new(support::stack())));
    group.finish();
}

fn cidr_lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cidr_set");
    for size in [10, 10_000] {
        let set = support::many_ranges(size);
        let mut address = 0u32;
        group.bench_function(format!("{size}_ranges"), |bencher| {
            bencher.iter(|| {
                address = address.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                set.contains(std::net::Ipv4Addr::from_bits(address).into())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, layers, swap, cidr_lookup);
criterion_main!(benches);
