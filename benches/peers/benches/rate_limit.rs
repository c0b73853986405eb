//! Layers that limit each client address, with the fields that each of them tells by default: nanoseconds a request over all
//! threads, of a limit that is never reached. `cargo bench --manifest-path benches/peers/Cargo.toml --bench rate_limit`

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum_gcra::RateLimitLayer as GcraLayer;
use axum_gcra::gcra::Quota as GcraQuota;
use axum_gcra::real_ip::RealIp;
use http::{Request, Response};
use tower::{Layer, Service};
use tower_gateway::rate_limit::{Limit, MemoryStore, Quota, RateLimitHeaders, RateLimitLayer};
use tower_gateway::{ClientIp, RequestContext};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

const KEYS: u32 = 1_000_000;
const LASTING: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;

#[derive(Clone)]
struct Answer;

impl<B> Service<Request<B>> for Answer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}

/// The address as each of the layers finds it: nothing is parsed.
#[derive(Clone)]
struct FromExtension;

#[derive(Clone, Copy)]
struct Address(IpAddr);

impl KeyExtractor for FromExtension {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        request.extensions().get::<Address>().map(|address| address.0).ok_or(GovernorError::UnableToExtractKey)
    }
}

fn request(key: u32) -> Request<()> {
    let address = IpAddr::from(Ipv4Addr::from_bits(key));
    let mut request = Request::new(());
    let context = RequestContext::of(request.extensions_mut());
    context.set_client_ip(ClientIp::from_peer(SocketAddr::new(address, 1), 64));
    request.extensions_mut().insert(Address(address));
    request.extensions_mut().insert(RealIp(address));
    request
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::yield_now();
    }
}

fn round<S, R>(threads: u32, keys: u32, service: &S) -> f64
where
    S: Service<Request<()>, Response = Response<R>, Error: std::fmt::Debug> + Clone + Send + Sync,
{
    let start = Barrier::new(threads as usize);
    let begin = Instant::now();
    let requests: u64 = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, mut service) = (&start, service.clone());
                scope.spawn(move || {
                    start.wait();
                    let end = Instant::now() + LASTING;
                    let (mut key, mut requests) = (thread * 7919 % keys, 0);
                    while Instant::now() < end {
                        for _ in 0..200 {
                            // Any order but the one they were put in.
                            key = (key + 514_229) % keys;
                            let answer = block_on(service.call(black_box(request(key)))).unwrap();
                            assert_eq!(answer.status(), 200);
                        }
                        requests += 200;
                    }
                    requests
                })
            })
            .collect();
        running.into_iter().map(|running| running.join().expect("no panic")).sum()
    });
    begin.elapsed().as_nanos() as f64 / requests as f64
}

/// The median of some rounds, once every key is known.
fn measure<S, R>(name: &str, service: S)
where
    S: Service<Request<()>, Response = Response<R>, Error: std::fmt::Debug> + Clone + Send + Sync,
{
    let mut figures = Vec::new();
    for keys in [1, KEYS] {
        let mut known = service.clone();
        (0..keys).for_each(|key| drop(block_on(known.call(request(key))).unwrap()));
        for threads in [1, 8] {
            let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(threads, keys, &service)).collect();
            rounds.sort_by(f64::total_cmp);
            figures.push(format!("{:.0}", rounds[ROUNDS / 2]));
        }
    }
    println!("| {name} | {} |", figures.join(" | "));
}

fn main() {
    println!("| ns a request | 1 key, 1 thread | 1 key, 8 threads | {KEYS} keys, 1 thread | {KEYS} keys, 8 threads |");
    println!("|---|---|---|---|---|");
    measure("the service alone", Answer);

    let store = || MemoryStore::builder().max_keys(2_000_000).build();
    let limits = || [Limit::new("default", Quota::per_second(1_000_000_000))];
    let ours = RateLimitLayer::with_store(limits(), store());
    measure("tower-gateway, five fields", ours.layer(Answer));
    let silent = RateLimitLayer::with_store(limits(), store()).headers(RateLimitHeaders::none());
    measure("tower-gateway, no fields", silent.layer(Answer));

    let mut builder = GovernorConfigBuilder::default().key_extractor(FromExtension);
    builder.per_nanosecond(1).burst_size(1_000_000_000);
    let governor = GovernorLayer::new(builder.finish().expect("a quota"));
    measure("tower_governor, no fields", Layer::<Answer>::layer(&governor, Answer));
    let governor = GovernorLayer::new(builder.use_headers().finish().expect("a quota"));
    measure("tower_governor, two fields", Layer::<Answer>::layer(&governor, Answer));

    let gcra = GcraLayer::<RealIp>::builder()
        .with_default_quota(GcraQuota::new(Duration::from_nanos(1), 1_000_000_000.try_into().expect("not zero")));
    measure("axum_gcra, no fields", gcra.build().layer(Answer));
}
