//! The cache in the example gateway: the binary, a file, sockets.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::gateway::{Gateway, status};
use support::{RawOrigin, field};

/// An origin whose answers are numbered; the fields stand before the length.
async fn numbered(fields: &'static str) -> (RawOrigin, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let origin = RawOrigin::scripted(move |mut connection| {
        let counter = counter.clone();
        async move {
            while connection.request().await.is_some() {
                let body = format!("answer {}", counter.fetch_add(1, Ordering::Relaxed) + 1);
                let length = body.len();
                connection.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{body}")).await;
            }
        }
    })
    .await;
    (origin, count)
}

fn config(origin: &RawOrigin, more: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n[upstreams.o]\nservers = [\"{}\"]\n\
         [routes.api]\npath = \"/api\"\nupstream = \"o\"\n{more}",
        origin.url()
    )
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_a_cache_stores_nothing() {
    let (origin, count) = numbered("Cache-Control: max-age=60\r\n").await;
    let gateway = Gateway::with_config(&config(&origin, ""));
    for _ in 0..2 {
        let answer = gateway.get("/api/a");
        assert_eq!((field(&answer, "x-cache"), field(&answer, "cache-status")), (None, None));
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_answer_is_served_by_every_worker() {
    let (origin, count) = numbered("Cache-Control: max-age=60\r\nX-Own: 1\r\n").await;
    let gateway = Gateway::with_config(&config(&origin, "[routes.api.cache]\n"));
    assert_eq!(field(&gateway.get("/api/a"), "x-cache"), Some("MISS"));
    for _ in 0..8 {
        let answer = gateway.get("/api/a");
        assert_eq!((status(&answer), field(&answer, "x-cache"), content(&answer)), ("200", Some("HIT"), "answer 1"));
        assert_eq!((field(&answer, "x-own"), field(&answer, "age").is_some()), (Some("1"), true));
        assert!(field(&answer, "cache-status").is_some_and(|value| value.contains("; hit")));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ttl_what_states_no_freshness_is_not_stored() {
    let (origin, count) = numbered("").await;
    let gateway = Gateway::with_config(&config(&origin, "[routes.api.cache]\n"));
    for _ in 0..2 {
        assert_eq!(field(&gateway.get("/api/a"), "x-cache"), Some("MISS"));
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);

    let (origin, count) = numbered("").await;
    let gateway = Gateway::with_config(&config(&origin, "[routes.api.cache]\nttl = \"30s\"\n"));
    assert_eq!(content(&gateway.get("/api/a")), "answer 1");
    assert_eq!(content(&gateway.get("/api/a")), "answer 1");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_what_was_last_modified_states_a_freshness() {
    let (origin, count) = numbered("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n").await;
    let gateway = Gateway::with_config(&config(&origin, "[routes.api.cache]\n"));
    assert_eq!(content(&gateway.get("/api/a")), "answer 1");
    assert_eq!(content(&gateway.get("/api/a")), "answer 1");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_body_than_the_routes_is_not_stored() {
    let (origin, count) = numbered("Cache-Control: max-age=60\r\n").await;
    let gateway = Gateway::with_config(&config(&origin, "cache = { max_body = \"4B\" }\n"));
    assert_eq!(content(&gateway.get("/api/a")), "answer 1");
    assert_eq!(content(&gateway.get("/api/a")), "answer 2");
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_origin_is_stood_in_for() {
    let answers = Arc::new(AtomicUsize::new(0));
    let origin = RawOrigin::scripted(move |mut connection| {
        let answers = answers.clone();
        async move {
            // One answer, and then every connection ends without one.
            if connection.request().await.is_some() && answers.fetch_add(1, Ordering::Relaxed) == 0 {
                let fields = "Cache-Control: max-age=0\r\nETag: \"a\"\r\nContent-Length: 3";
                connection.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nold")).await;
                connection.request().await;
            }
        }
    })
    .await;
    let gateway = Gateway::with_config(&config(&origin, "[routes.api.cache]\n"));
    assert_eq!(field(&gateway.get("/api/a"), "x-cache"), Some("MISS"));
    let answer = gateway.get("/api/a");
    assert_eq!(field(&answer, "x-cache"), Some("STALE"), "{answer}");
    assert_eq!((status(&answer), content(&answer)), ("200", "old"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_stored_for_the_gets_that_it_can_answer() {
    let (origin, count) = numbered("Cache-Control: max-age=60\r\nContent-Location: /api/a\r\n").await;
    let gateway = Gateway::with_config(&config(&origin, "[routes.api.cache]\n"));
    let post = "POST /api/a HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    assert_eq!(content(&gateway.exchange(post)), "answer 1");
    assert_eq!(content(&gateway.get("/api/a")), "answer 1");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn x_cache_is_left_out_where_it_is_switched_off() {
    let (origin, _) = numbered("Cache-Control: max-age=60\r\n").await;
    let gateway = Gateway::with_config(&config(&origin, "[routes.api.cache]\n[cache]\nx_cache = false\n"));
    for _ in 0..2 {
        let answer = gateway.get("/api/a");
        assert_eq!(field(&answer, "x-cache"), None);
        assert!(field(&answer, "cache-status").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_compete_by_header_fields_have_responses_of_their_own() {
    let (one, _) = numbered("Cache-Control: max-age=60\r\nX-Route: one\r\n").await;
    let (two, _) = numbered("Cache-Control: max-age=60\r\nX-Route: two\r\n").await;
    let more = format!(
        "cache = {{}}\n[upstreams.two]\nservers = [\"{}\"]\n\
         [routes.beta]\npath = \"/api\"\nupstream = \"two\"\nheaders = {{ x-beta = \"1\" }}\ncache = {{}}\n",
        two.url()
    );
    let gateway = Gateway::with_config(&config(&one, &more));
    for _ in 0..2 {
        assert_eq!(field(&gateway.get("/api/a"), "x-route"), Some("one"));
        let beta = "GET /api/a HTTP/1.1\r\nHost: gw.example\r\nX-Beta: 1\r\nConnection: close\r\n\r\n";
        assert_eq!(field(&gateway.exchange(beta), "x-route"), Some("two"));
    }
}
