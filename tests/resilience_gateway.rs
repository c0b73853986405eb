//! What the example gateway does about failures, from outside: a process, a file, sockets.

mod support;

use std::time::{Duration, Instant};

use support::failing::FailingOrigin as Origin;
use support::gateway::{Gateway, status};
use support::{Nobody, OriginConnection, PATIENCE, RawOrigin, field};

async fn two() -> [Origin; 2] {
    [Origin::start().await, Origin::start().await]
}

fn gateway(origins: &[&Origin], more: &str) -> Gateway {
    let servers: Vec<_> = origins.iter().map(|origin| format!("\"{}\"", origin.origin.url())).collect();
    serving(&servers.join(", "), more)
}

fn serving(servers: &str, more: &str) -> Gateway {
    Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n[upstreams.o]\nservers = [{servers}]\n{more}\n\
         [routes.api]\npath = \"/\"\nupstream = \"o\"\n"
    ))
}

fn request(gateway: &Gateway, method: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    gateway.exchange(&format!(
        "{method} /a HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    ))
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} does not come to be");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_says_so_and_closes() {
    let origin = Origin::start().await;
    let breaker = "circuit_breaker = { failure_rate = 0.5, min_requests = 4, open_for = \"3s\" }";
    let gateway = gateway(&[&origin], breaker);
    assert!(gateway.get("/health").ends_with("{\"status\":\"ok\"}"));
    origin.fail(true);
    for _ in 0..4 {
        assert_eq!(status(&gateway.get("/a")), "503");
    }
    assert_eq!(origin.take_requests(), 4);
    let refused = gateway.get("/a");
    assert_eq!((status(&refused), field(&refused, "retry-after")), ("503", Some("3")));
    assert!(refused.contains("\"error\":\"circuit_open\""));
    assert_eq!(origin.take_requests(), 0, "the origin is left alone");
    let health = gateway.get("/health");
    assert!(status(&health) == "200" && health.ends_with("{\"status\":\"degraded\"}"), "{health}");
    origin.fail(false);
    until("the probe", || status(&gateway.get("/a")) == "200");
    assert_eq!(origin.take_requests(), 1);
    assert!(gateway.get("/health").ends_with("{\"status\":\"ok\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_and_slow_calls_open_a_breaker_as_well() {
    let origin = Origin::start().await;
    origin.fail(true);
    let in_a_row = gateway(&[&origin], "circuit_breaker = { consecutive_failures = 2, open_for = \"1m\" }");
    for _ in 0..3 {
        in_a_row.get("/a");
    }
    assert_eq!(origin.take_requests(), 2);

    let slow = RawOrigin::scripted(|mut connection: OriginConnection| async move {
        while connection.request().await.is_some() {
            tokio::time::sleep(Duration::from_millis(60)).await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let rule = "circuit_breaker = { min_requests = 2, slow_call = { after = \"50ms\", rate = 1.0 } }";
    let gateway = serving(&format!("\"{}\"", slow.url()), rule);
    let answers = [(); 3].map(|()| status(&gateway.get("/a")).to_owned());
    assert_eq!(answers, ["200", "200", "503"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_an_open_breaker() {
    let origin = Origin::start().await;
    origin.fail(true);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let config = |open_for: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[health]\npath = \"/h-{open_for}\"\n[upstreams.o]\nservers = [\"{}\"]\n\
             circuit_breaker = {{ consecutive_failures = 1, open_for = \"{open_for}\" }}\n\
             [routes.api]\npath = \"/\"\nupstream = \"o\"\n",
            origin.origin.url()
        )
    };
    std::fs::write(&file, config("5m")).unwrap();
    let gateway = Gateway::start(std::process::Command::new(support::gateway::binary()).arg("--config").arg(&file));
    gateway.get("/a");
    assert_eq!(origin.take_requests(), 1);
    std::fs::write(&file, config("4m")).unwrap();
    gateway.signal("HUP");
    until("the new configuration", || gateway.get("/h-4m").contains("degraded"));
    assert!(gateway.get("/a").contains("circuit_open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_go_to_the_server_that_answers() {
    let good = Origin::start().await;
    let nobody = Nobody::new();
    let servers = format!("\"{}\", \"{}\"", nobody.url(), good.origin.url());
    let gateway = serving(&servers, "balance = \"round_robin\"\nretry = { budget = { min_per_second = 100 } }");
    for _ in 0..8 {
        assert_eq!(status(&request(&gateway, "GET", "", "")), "200");
        assert_eq!(status(&request(&gateway, "POST", "", "body")), "200", "nothing was sent to the first");
    }
    assert_eq!(good.take_requests(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_seen_is_sent_again_only_if_that_does_no_harm() {
    let [one, two] = two().await;
    one.fail(true);
    let gateway = gateway(&[&one, &two], "balance = \"round_robin\"\nretry = { budget = { min_per_second = 100 } }");
    for method in ["GET", "PUT", "DELETE"] {
        for _ in 0..4 {
            assert_eq!(status(&request(&gateway, method, "", "body")), "200", "{method}");
        }
    }
    let posts = [(); 4].map(|()| status(&request(&gateway, "POST", "", "body")).to_owned());
    assert!(posts.contains(&"503".to_owned()) && posts.contains(&"200".to_owned()), "{posts:?}");
    for _ in 0..4 {
        assert_eq!(status(&request(&gateway, "POST", "Idempotency-Key: 1\r\n", "body")), "200");
    }
    let large = "x".repeat(70 << 10);
    let larges = [(); 4].map(|()| status(&request(&gateway, "PUT", "", &large)).to_owned());
    assert!(larges.contains(&"503".to_owned()), "more than 64 KiB is not sent again: {larges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_retries_stays_within_the_budget() {
    let [one, two] = two().await;
    one.fail(true);
    two.fail(true);
    let gateway = gateway(&[&one, &two], "retry = { budget = { ratio = 0.1, min_per_second = 0 } }");
    for _ in 0..200 {
        assert_eq!(status(&gateway.get("/a")), "503");
    }
    let sent = one.take_requests() + two.take_requests();
    assert!((201..=220).contains(&sent), "{sent} requests for 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_take_a_server_out_and_bring_it_back() {
    let [one, two] = two().await;
    let check = "health_check = { path = \"/healthz\", interval = \"50ms\", unhealthy_after = 2, healthy_after = 1 }";
    let gateway = gateway(&[&one, &two], check);
    one.fail(true);
    until("degraded", || gateway.get("/health").contains("degraded"));
    one.take_requests();
    for _ in 0..10 {
        assert_eq!(status(&gateway.get("/a")), "200");
    }
    assert_eq!(one.take_requests(), 0);
    two.fail(true);
    until("no server", || gateway.get("/a").contains("\"error\":\"upstream_unavailable\""));
    for origin in [&one, &two] {
        origin.fail(false);
    }
    until("ok", || gateway.get("/health").contains("\"ok\""));
    assert_eq!(status(&gateway.get("/a")), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_answers_fail_is_left_out_and_one_is_always_left() {
    let [one, two] = two().await;
    let ejection = "balance = \"round_robin\"\noutlier_ejection = { consecutive_failures = 2, eject_for = \"1m\" }";
    let gateway = gateway(&[&one, &two], ejection);
    one.fail(true);
    for _ in 0..10 {
        gateway.get("/a");
    }
    assert_eq!((one.take_requests(), two.take_requests()), (2, 8));
    two.fail(true);
    for _ in 0..5 {
        assert_eq!(status(&gateway.get("/a")), "503");
    }
    let asked = (one.take_requests(), two.take_requests());
    assert_eq!(asked.0 + asked.1, 5, "half of two is one, so there is one to ask: {asked:?}");
    assert!(asked.0 > 0 && asked.1 > 0, "the one that was out comes back for the other that fails now: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_keeps_a_tenant_at_its_server() {
    let [one, two] = two().await;
    let gateway = gateway(&[&one, &two], "balance = \"hash:header:x-tenant\"");
    let mut homes = [0, 0];
    for tenant in 0..40 {
        for _ in 0..3 {
            assert_eq!(status(&request(&gateway, "GET", &format!("X-Tenant: {tenant}\r\n"), "")), "200");
        }
        match (one.take_requests(), two.take_requests()) {
            (3, 0) => homes[0] += 1,
            (0, 3) => homes[1] += 1,
            counts => panic!("{counts:?}"),
        }
    }
    assert!(homes[0] > 0 && homes[1] > 0, "{homes:?}");
}
