//! What gateways share of their stored responses: binaries over one real redis-server.

#[path = "support/redis.rs"]
mod redis;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::RedisServer;
use support::gateway::{Gateway, status};
use support::{OriginConnection, PATIENCE, RawOrigin, field};

/// An origin whose answers are numbered and fresh for a minute. `before` is done before each.
async fn numbered(before: impl Fn() + Clone + Send + Sync + 'static) -> (RawOrigin, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let origin = RawOrigin::scripted(move |mut connection: OriginConnection| {
        let (counter, before) = (counter.clone(), before.clone());
        async move {
            while connection.request().await.is_some() {
                before();
                let body = format!("answer {}", counter.fetch_add(1, Ordering::Relaxed) + 1);
                let head = format!("Cache-Control: max-age=60\r\nContent-Length: {}", body.len());
                connection.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")).await;
            }
        }
    })
    .await;
    (origin, count)
}

/// Waits for the server as long as it takes.
const PATIENT: &str = "timeout = \"20s\"";

fn gateway(origin: &RawOrigin, server: &RedisServer, more: &str) -> Gateway {
    Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n[redis]\nurl = \"{}\"\n{more}\n\
         [upstreams.o]\nservers = [\"{}\"]\n[routes.api]\npath = \"/api\"\nupstream = \"o\"\n[routes.api.cache]\n",
        server.url(),
        origin.url()
    ))
}

/// What the cache did, and the content.
fn get(gateway: &Gateway, path: &str) -> (String, String) {
    let answer = gateway.get(path);
    assert_eq!(status(&answer), "200", "{answer}");
    let content = answer.split_once("\r\n\r\n").map_or("", |(_, content)| content);
    (field(&answer, "x-cache").unwrap().to_owned(), content.to_owned())
}

fn did(outcome: &str, content: &str) -> (String, String) {
    (outcome.to_owned(), content.to_owned())
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_shared(server: &RedisServer, path: &str) -> bool {
    server.command(&["EXISTS", &format!("gw:cache:http://gw.example{path}")]).contains('1')
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_hits_what_the_first_has_stored() {
    let server = RedisServer::start();
    let (origin, count) = numbered(|| ()).await;
    let (one, two) = (gateway(&origin, &server, PATIENT), gateway(&origin, &server, PATIENT));
    assert_eq!(get(&one, "/api/a"), did("MISS", "answer 1"));
    until("the write", || is_shared(&server, "/api/a"));
    for _ in 0..4 {
        assert_eq!(get(&two, "/api/a"), did("HIT", "answer 1"));
        assert_eq!(get(&one, "/api/a"), did("HIT", "answer 1"));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    // The second has it in its memory since its first hit.
    assert_eq!(server.calls("get"), 2, "one miss, and one hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_is_not_said_to_share_stays_in_memory() {
    let server = RedisServer::start();
    let (origin, _) = numbered(|| ()).await;
    let more = "timeout = \"20s\"\nshare = [\"rate_limits\"]";
    let (one, two) = (gateway(&origin, &server, more), gateway(&origin, &server, more));
    assert_eq!(get(&one, "/api/a"), did("MISS", "answer 1"));
    assert_eq!(get(&one, "/api/a"), did("HIT", "answer 1"));
    assert_eq!(get(&two, "/api/a"), did("MISS", "answer 2"));
    assert!(!is_shared(&server, "/api/a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_goes_on_when_redis_is_killed_and_is_shared_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let (origin, count) = numbered(|| ()).await;
    // Refused it is at once, and tried again after its deadline.
    let hasty = "timeout = \"1s\"";
    let (one, two) = (gateway(&origin, &server, hasty), gateway(&origin, &server, hasty));
    assert_eq!(get(&one, "/api/a"), did("MISS", "answer 1"));
    until("the write", || is_shared(&server, "/api/a"));
    server.kill();
    assert_eq!(get(&one, "/api/a"), did("HIT", "answer 1"));
    // What is new is fetched and remembered, and nothing fails.
    for number in 2..22 {
        let path = format!("/api/new/{number}");
        assert_eq!(get(&one, &path), did("MISS", &format!("answer {number}")));
        assert_eq!(get(&one, &path), did("HIT", &format!("answer {number}")));
    }
    server.restart();
    let stored = AtomicUsize::new(0);
    until("a write", || {
        let path = format!("/api/back/{}", stored.fetch_add(1, Ordering::Relaxed));
        get(&one, &path);
        std::thread::sleep(Duration::from_millis(20));
        is_shared(&server, &path)
    });
    let asked = count.load(Ordering::Relaxed);
    let last = stored.load(Ordering::Relaxed) - 1;
    until("a read", || get(&two, &format!("/api/back/{last}")).0 == "HIT");
    assert!(count.load(Ordering::Relaxed) <= asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_does_not_delay_the_answer_that_is_written_to_it() {
    let server = Arc::new(RedisServer::start());
    // Once the request is at the origin nothing is asked of Redis any more, and the answer is to be written there.
    let paused = server.clone();
    let (origin, _) = numbered(move || paused.pause()).await;
    let gateway = gateway(&origin, &server, "timeout = \"1h\"");
    // Until all of them are answered it stands still.
    assert_eq!(get(&gateway, "/api/a"), did("MISS", "answer 1"));
    for _ in 0..4 {
        assert_eq!(get(&gateway, "/api/a"), did("HIT", "answer 1"));
    }
    server.resume();
    until("the write", || is_shared(&server, "/api/a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_costs_a_miss_its_deadline_and_no_more() {
    let server = RedisServer::start();
    let (origin, _) = numbered(|| ()).await;
    let gateway = gateway(&origin, &server, "timeout = \"500ms\"");
    assert_eq!(get(&gateway, "/api/a"), did("MISS", "answer 1"));
    server.pause();
    let start = Instant::now();
    for number in 2..62 {
        assert_eq!(get(&gateway, &format!("/api/{number}")), did("MISS", &format!("answer {number}")));
    }
    // Three of them wait for it; then it is taken as down. Sixty would take half a minute.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    server.resume();
}
