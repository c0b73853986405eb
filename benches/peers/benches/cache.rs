//! A hit in a cache, made and read to its end, of 1 KiB that an origin answers with eight fields. Each layer stores in moka.
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench cache`

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use http_cache::MokaManager;
use http_cache_tower::HttpCacheLayer;
use tokio::runtime::Runtime;
use tower::{Layer, Service};
use tower_gateway::RequestContext;
use tower_gateway::cache::CacheLayer;
use tower_http_cache::prelude::{CacheLayer as PeersLayer, InMemoryBackend};

#[derive(Clone)]
struct Origin {
    content: Bytes,
    date: String,
    asked: Arc<AtomicUsize>,
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("content-length", self.content.len())
            .header("cache-control", "max-age=3600")
            .header("etag", "\"0123456789abcdef\"")
            .header("date", &self.date)
            .header("server", "origin")
            .header("vary", "accept-encoding")
            .header("x-content-type-options", "nosniff");
        ready(Ok(response.body(Full::new(self.content.clone())).expect("a response")))
    }
}

fn request() -> Request<Full<Bytes>> {
    let request = Request::get("http://api.example.com/api/users/42").header("host", "api.example.com");
    let request = request.header("accept-encoding", "gzip").header("user-agent", "bench/1.0").header("accept", "*/*");
    request.extension(RequestContext::new()).body(Full::default()).expect("a request")
}

/// The status of an answer, and how many bytes it has.
async fn ask<S, R>(service: &mut S, request: Request<Full<Bytes>>) -> (u16, usize)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: std::fmt::Debug>,
    R: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.expect("ready");
    let response = service.call(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = std::pin::pin!(response.into_body());
    (status, body.collect().await.expect("a body").to_bytes().len())
}

fn hits(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let now = std::time::SystemTime::now();
    let (content, asked) = (Bytes::from(vec![7; 1024]), Arc::new(AtomicUsize::new(0)));
    let origin = Origin { content, date: httpdate::fmt_http_date(now), asked: asked.clone() };
    let mut group = criterion.benchmark_group("hit of 1 KiB");
    macro_rules! hit {
        ($name:expr, $layer:expr, $hits:expr) => {
            let mut service = $layer.layer(origin.clone());
            for _ in 0..3 {
                assert_eq!(runtime.block_on(ask(&mut service, request())), (200, 1024));
                std::thread::sleep(Duration::from_millis(20));
            }
            let before = asked.load(Ordering::Relaxed);
            runtime.block_on(ask(&mut service, request()));
            assert_eq!(asked.load(Ordering::Relaxed) == before, $hits, $name);
            group.bench_function($name, |bencher| {
                bencher.iter_batched(
                    request,
                    |request| runtime.block_on(ask(&mut service, request)),
                    BatchSize::SmallInput,
                );
            });
        };
    }
    struct None;
    impl<S> Layer<S> for None {
        type Service = S;
        fn layer(&self, service: S) -> S {
            service
        }
    }
    hit!("the origin alone", None, false);
    hit!("tower-gateway", CacheLayer::new(), true);
    hit!("http-cache-tower", HttpCacheLayer::new(MokaManager::default()), true);
    let peer = PeersLayer::builder(InMemoryBackend::new(10_000)).ttl(Duration::from_secs(3600)).build();
    hit!("tower-http-cache", peer, true);
    group.finish();
}

criterion_group!(benches, hits);
criterion_main!(benches);
