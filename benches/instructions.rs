//! Instructions each layer costs a request: the same on every machine, however busy. Needs valgrind, and the runner of the
//! gungraun version in Cargo.lock: `cargo install gungraun-runner`; then `cargo bench --bench instructions`
#![allow(missing_docs, reason = "the macros make items without any")]

mod support;

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use tower::{Layer, Service};
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::strict::StrictLayer;

use support::{Answer, NoBody, block_on, request};

type Request = http::Request<NoBody>;

/// The second of two calls: what a thread sets up once is not a request's cost.
fn warm<S>(mut service: S) -> (S, Request)
where
    S: Service<Request>,
    S::Error: std::fmt::Debug,
{
    drop(block_on(service.call(request())).unwrap());
    (service, request())
}

macro_rules! cost {
    ($name:ident, $service:expr) => {
        #[library_benchmark]
        #[bench::request(warm($service))]
        fn $name<S: Service<Request>>((mut service, request): (S, Request)) -> Option<S::Response> {
            black_box(block_on(service.call(black_box(request))).ok())
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

library_benchmark_group!(name = layers; benchmarks = none, client_ip, ip_filter, request_id, strict, proxy, stack);
main!(library_benchmark_groups = layers);
