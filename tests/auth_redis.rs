//! API keys in a real Redis, which is stopped and started again.

#[path = "support/redis.rs"]
mod server;
#[path = "support/tokens.rs"]
mod tokens;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::auth::{ApiKeys, AuthLayer, CachedKeyStore, RedisKeyStore};
use tower_gateway::redis::Redis;
use tower_gateway::{Clock, RequestContext};

use self::server::RedisServer;
use self::tokens::sha256;

/// The status, and whose request it was.
async fn send(layer: &AuthLayer, key: &str) -> (u16, Option<String>) {
    let service = layer.layer(service_fn(async |request: Request<()>| {
        let context = request.extensions().get::<RequestContext>().unwrap();
        let subject = context.identity().and_then(|identity| identity.subject()).unwrap_or_default();
        Ok::<_, Infallible>(Response::builder().header("x-subject", subject).body(()).unwrap())
    }));
    let request = Request::get("/").header("x-api-key", key).body(()).unwrap();
    let answer = service.oneshot(request).await.unwrap();
    let subject = answer.headers().get("x-subject").map(|subject| subject.to_str().unwrap().to_owned());
    (answer.status().as_u16(), subject)
}

#[tokio::test]
async fn keys_are_looked_up_and_remembered_and_a_store_that_is_down_closes() {
    let mut server = RedisServer::start();
    let add = |key: &str, fields: &[&str]| {
        let name = format!("gw:apikey:{}", sha256(key.as_bytes()));
        server.command(&[&["HSET", &name][..], fields].concat());
    };
    add("good", &["id", "k1", "subject", "u1", "scopes", "read write", "expires", "2100-01-01T00:00:00Z"]);
    add("old", &["id", "k2", "subject", "u2", "expires", "2020-01-01T00:00:00Z"]);
    add("off", &["id", "k3", "disabled", "true"]);
    add("odd", &["id", "k4", "expires", "some day"]);
    let redis = Redis::builder(&server.url()).unwrap().key_prefix("gw:").timeout(Duration::from_secs(2)).build();
    let (clock, hand) = Clock::manual();
    let store = CachedKeyStore::new(RedisKeyStore::new(redis.clone())).clock(clock);
    let layer = AuthLayer::new(ApiKeys::new(store)).require_scopes(["read"]).unwrap();

    assert_eq!(send(&layer, "good").await, (200, Some("u1".to_owned())));
    for key in ["bad", "old", "off", "odd"] {
        assert_eq!(send(&layer, key).await, (401, None), "{key}");
    }
    let asked = server.calls("hgetall");
    assert_eq!(asked, 5);
    for _ in 0..10 {
        assert_eq!((send(&layer, "good").await.0, send(&layer, "bad").await.0), (200, 401));
    }
    assert_eq!(server.calls("hgetall"), asked, "remembered");

    server.kill();
    assert_eq!((send(&layer, "good").await.0, send(&layer, "new").await.0), (200, 503));
    hand.advance(Duration::from_secs(5));
    for _ in 0..3 {
        assert_eq!(send(&layer, "good").await, (503, None));
    }
    // Once it is known to be down, nobody waits for it.
    for _ in 0..50 {
        assert_eq!(send(&layer, "good").now_or_never(), Some((503, None)));
    }

    server.restart();
    let name = format!("gw:apikey:{}", sha256(b"good"));
    server.command(&["HSET", &name, "id", "k1", "subject", "u1", "scopes", "read"]);
    let began = Instant::now();
    while send(&layer, "good").await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come back");
        tokio::task::yield_now().await;
    }
}
