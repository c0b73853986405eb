//! The cache with Redis behind its memory: real servers, started here.

#[path = "support/redis.rs"]
mod redis;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use redis::RedisServer;
use tower::{Layer, Service, ServiceExt};
use tower_gateway::cache::store::{MemoryStore, RedisStore, Remote, Tiered};
use tower_gateway::cache::{CacheLayer, PurgeOf};
use tower_gateway::redis::Redis;

type Store = Tiered<Remote<RedisStore>>;

/// How long a test waits for what must happen, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway of its own: its memory, and a connection to the Redis of all.
fn gateway(server: &RedisServer) -> CacheLayer<Store> {
    waiting(server, PATIENCE)
}

fn waiting(server: &RedisServer, deadline: Duration) -> CacheLayer<Store> {
    let redis = Redis::builder(&server.url()).unwrap().timeout(deadline).key_prefix("gw:").build();
    let store = Tiered::new(MemoryStore::new(1 << 20), Remote::new(RedisStore::new(redis)).deadline(deadline));
    CacheLayer::with_store(store).x_cache(true)
}

#[derive(Clone, Default)]
struct Origin(Arc<AtomicUsize>);

impl Origin {
    fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn service(
        &self,
    ) -> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static {
        let count = self.0.clone();
        tower::service_fn(move |request: Request<()>| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let response = Response::builder().header("cache-control", "max-age=60").header("vary", "accept");
            let response = response.header("x-path", request.uri().path());
            async move { Ok(response.body(Full::from(format!("answer {number}"))).unwrap()) }
        })
    }
}

async fn get(layer: &CacheLayer<Store>, origin: &Origin, path: &str) -> (String, String) {
    let request = Request::get(format!("http://a.test{path}")).body(()).unwrap();
    let Ok(response) = layer.layer(origin.service()).oneshot(request).await;
    let outcome = response.headers()["x-cache"].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (outcome, String::from_utf8(body.into()).unwrap())
}

/// Writes go on in the background.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn hit(content: &str) -> (String, String) {
    ("HIT".to_owned(), content.to_owned())
}

#[tokio::test]
async fn what_one_gateway_has_stored_another_serves() {
    let server = RedisServer::start();
    let (one, two, origin) = (gateway(&server), gateway(&server), Origin::default());
    assert_eq!(get(&one, &origin, "/a").await.0, "MISS");
    until("the write", || server.command(&["EXISTS", "gw:cache:http://a.test/a"]).contains('1')).await;
    assert_eq!(get(&two, &origin, "/a").await, hit("answer 1"));
    // From its memory now.
    let reads = server.calls("get");
    assert_eq!(get(&two, &origin, "/a").await, hit("answer 1"));
    assert_eq!((server.calls("get"), origin.asked()), (reads, 1));
    let ttl: i64 =
        server.command(&["PTTL", "gw:cache:http://a.test/a"]).trim_start_matches(':').trim().parse().unwrap();
    assert!((60_000..=3_660_000).contains(&ttl), "{ttl}: the lifetime, and the time it is kept stale");
}

#[tokio::test]
async fn a_purge_and_a_write_reach_what_is_in_redis() {
    let server = RedisServer::start();
    let (one, two, origin) = (gateway(&server), gateway(&server), Origin::default());
    let exists = |path: &str| server.command(&["EXISTS", &format!("gw:cache:http://a.test{path}")]).contains('1');
    for path in ["/a", "/b", "/c"] {
        get(&one, &origin, path).await;
        until("the write", || exists(path)).await;
    }
    one.handle().purge(&PurgeOf::Url("http://a.test/a".parse().unwrap()));
    until("the removal", || !exists("/a")).await;
    let post = Request::post("http://a.test/b").body(()).unwrap();
    one.layer(origin.service()).oneshot(post).await.unwrap();
    until("the removal", || !exists("/b")).await;
    assert_eq!(get(&two, &origin, "/a").await.0, "MISS");
    assert_eq!(get(&two, &origin, "/b").await.0, "MISS");
    // A prefix removes nothing there; what is read is held against it.
    two.handle().purge(&PurgeOf::Prefix("http://a.test/c".into()));
    assert!(exists("/c"));
    assert_eq!(get(&two, &origin, "/c").await.0, "MISS");
}

#[tokio::test]
async fn a_corrupt_or_foreign_value_is_a_miss() {
    let server = RedisServer::start();
    let origin = Origin::default();
    server.command(&["SET", "gw:cache:http://a.test/a", "not a record"]);
    server.command(&["LPUSH", "gw:cache:http://a.test/b", "of another type"]);
    for path in ["/a", "/b"] {
        assert_eq!(get(&gateway(&server), &origin, path).await.0, "MISS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_started_again_under_load_fails_no_request() {
    let mut server = RedisServer::start();
    let (layer, origin) = (waiting(&server, Duration::from_millis(100)), Origin::default());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (layer, origin, stop) = (layer.clone(), origin.clone(), stop.clone());
            tokio::spawn(async move {
                let mut served = 0;
                while served < 50 || !stop.load(Ordering::Relaxed) {
                    // New keys ask Redis, old ones are in memory.
                    let (_, content) = get(&layer, &origin, &format!("/{client}/{}", served / 2)).await;
                    assert!(content.starts_with("answer "), "{content}");
                    served += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    // Memory goes on meanwhile.
    let (_, before) = get(&layer, &origin, "/memory").await;
    assert_eq!(get(&layer, &origin, "/memory").await, hit(&before));
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.restart();
    until("a write to the new server", || !server.command(&["DBSIZE"]).contains(":0")).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}
