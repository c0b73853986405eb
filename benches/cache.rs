//! What a hit costs, alone and by several threads on one key; and what storing adds to a response that is passed on.
//! `cargo bench --bench cache`
#![allow(missing_docs, reason = "the macros make items without any")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service};
use tower_gateway::RequestContext;
use tower_gateway::cache::CacheLayer;

/// Answers with so many bytes and eight fields, made now.
#[derive(Clone)]
struct Origin {
    content: Bytes,
    cache_control: &'static str,
    date: HeaderValue,
}

impl Origin {
    fn new(content: Bytes, cache_control: &'static str) -> Self {
        let date = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).expect("a date");
        Self { content, cache_control, date }
    }
}

impl Service<Request<()>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("content-length", self.content.len())
            .header("cache-control", self.cache_control)
            .header("etag", "\"0123456789abcdef\"")
            .header("date", &self.date)
            .header("server", "origin")
            .header("vary", "accept-encoding")
            .header("x-content-type-options", "nosniff");
        ready(Ok(response.body(Full::new(self.content.clone())).expect("a response")))
    }
}

fn request() -> Request<()> {
    let request = Request::get("/api/users/42").header("host", "api.example.com").header("accept-encoding", "gzip");
    let request = request.header("user-agent", "bench/1.0").header("accept", "*/*");
    request.extension(RequestContext::new()).body(()).expect("a request")
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// The bytes of an answer, read to the end.
fn read<S, R>(service: &mut S, request: Request<()>) -> usize
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let Ok(response) = now(service.call(request));
    let mut body = pin!(response.into_body());
    let mut length = 0;
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
        length += frame.expect("a whole body").data_ref().map_or(0, Bytes::len);
    }
    length
}

/// Asks until what comes is from the store.
fn fill<S, R>(service: &mut S)
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    read(service, request());
    let Ok(response) = now(service.call(request()));
    assert_eq!(response.headers()["x-cache"], "HIT", "a hit is to be measured");
}

fn hit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    for size in [1024, 1024 * 1024] {
        let body = Bytes::from(vec![7; size]);
        let mut service = CacheLayer::new().x_cache(true).layer(Origin::new(body.clone(), "max-age=3600"));
        fill(&mut service);
        group.bench_function(format!("hit/{size}"), |bencher| {
            bencher.iter_batched(request, |request| read(&mut service, request), BatchSize::SmallInput);
        });
        for (name, directives) in [("passed_on", "no-store"), ("stored", "max-age=3600")] {
            let layer =
                CacheLayer::new().coalesce(false).client_directives(true).layer(Origin::new(body.clone(), directives));
            let mut service = layer;
            let forced = || {
                let mut request = request();
                request.headers_mut().insert("cache-control", http::HeaderValue::from_static("no-cache"));
                request
            };
            group.bench_function(format!("{name}/{size}"), |bencher| {
                bencher.iter_batched(forced, |request| read(&mut service, request), BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

/// All threads on one key, each hit with a request of its own: hits a second of all of them together.
fn hot_key(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache/hot_key");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 2, 8] {
        let layer = CacheLayer::new().x_cache(true);
        let mut service = layer.layer(Origin::new(Bytes::from(vec![7; 1024]), "max-age=3600"));
        fill(&mut service);
        group.bench_function(format!("{threads}_threads"), |bencher| {
            bencher.iter_custom(|iterations| {
                let each = iterations / threads + 1;
                let start = Instant::now();
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        let mut service = service.clone();
                        scope.spawn(move || {
                            for _ in 0..each {
                                read(&mut service, request());
                            }
                        });
                    }
                });
                start.elapsed().mul_f64(iterations as f64 / (each * threads) as f64).max(Duration::from_nanos(1))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hit, hot_key);
criterion_main!(benches);
