//! Limits in the example gateway: the binary, a file, sockets, and one Redis for two of them.
#![cfg(unix)]

#[path = "support/redis.rs"]
mod server;
mod support;

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use server::RedisServer;
use support::gateway::{Gateway, binary, status};
use support::{PATIENCE, RawOrigin, field};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn origin() -> RawOrigin {
    RawOrigin::answering(OK).await
}

/// Two routes, /a and /b, with these keys; clients are known by what they say of themselves.
fn config(origin: &RawOrigin, limits: &str, route: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [upstreams.o]\nservers = [\"{}\"]\n[defaults]\nupstream = \"o\"\n{route}\n\
         [routes.a]\npath = \"/a\"\n[routes.b]\npath = \"/b\"\n{limits}\n",
        origin.url()
    )
}

fn get(gateway: &Gateway, path: &str, client: &str, more: &str) -> String {
    gateway.exchange(&format!(
        "GET {path} HTTP/1.1\r\nHost: gw.example\r\nX-Forwarded-For: {client}\r\n{more}Connection: close\r\n\r\n"
    ))
}

fn flood(gateway: &Gateway, path: &str, client: &str, more: &str) -> usize {
    let admitted = (0..200).take_while(|_| status(&get(gateway, path, client, more)) == "200").count();
    assert!(admitted < 200, "nothing is refused");
    admitted
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_name_a_limit_share_its_counters_and_anonymous_callers_count_by_address() {
    let origin = origin().await;
    let limits = "[rate_limits.per_user]\nlimit = 4\nwindow = \"1h\"\n";
    let gateway = Gateway::with_config(&config(&origin, limits, "rate_limit = [\"per_user\"]"));
    let first = get(&gateway, "/a", "203.0.113.1", "");
    assert_eq!(field(&first, "ratelimit-policy"), Some(r#""per_user";q=4;w=3600"#));
    assert_eq!(field(&first, "ratelimit"), Some(r#""per_user";r=3;t=900"#));
    assert_eq!((field(&first, "x-ratelimit-limit"), field(&first, "x-ratelimit-remaining")), (Some("4"), Some("3")));
    assert!(field(&first, "x-ratelimit-reset").unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(status(&get(&gateway, "/b", "203.0.113.1", "")), "200");
    assert_eq!(flood(&gateway, "/a", "203.0.113.1", ""), 2);
    let refused = get(&gateway, "/b", "203.0.113.1", "");
    assert_eq!((status(&refused), field(&refused, "content-type")), ("429", Some("application/problem+json")));
    let wait: u64 = field(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    assert!(refused.contains(r#""error":"rate_limit_exceeded""#) && refused.contains("per_user"), "{refused}");
    assert_eq!(flood(&gateway, "/a", "203.0.113.2", ""), 4, "somebody else");
    assert_eq!(flood(&gateway, "/a", "2001:db8::1", ""), 4);
    assert_eq!(flood(&gateway, "/a", "2001:db8::2", ""), 0, "of the same network");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_limits_admit_together_or_charge_nothing() {
    let origin = origin().await;
    let limits = "[rate_limits.each]\nlimit = 2\nwindow = \"1h\"\nkey = [\"client_ip\", \"route\"]\nstage = \"before_auth\"\n\
                  [rate_limits.tenant]\nlimit = 3\nwindow = \"1h\"\nkey = \"header:x-tenant\"\nalgorithm = \"sliding_window\"\nstage = \"before_auth\"\n";
    let gateway = Gateway::with_config(&config(&origin, limits, "rate_limit = [\"each\", \"tenant\"]"));
    let tenant = "X-Tenant: acme\r\n";
    assert_eq!(flood(&gateway, "/a", "203.0.113.1", tenant), 2);
    for _ in 0..10 {
        assert_eq!(status(&get(&gateway, "/a", "203.0.113.1", tenant)), "429");
    }
    assert_eq!(flood(&gateway, "/b", "203.0.113.1", tenant), 1, "the tenant has used two");
    assert_eq!(flood(&gateway, "/b", "203.0.113.1", "X-Tenant: other\r\n"), 1, "and this route one");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_told_as_asked_for_and_a_dry_run_refuses_nobody() {
    let origin = origin().await;
    let silent = "[rate_limits.l]\nlimit = 1\nwindow = \"1h\"\nheaders = []\n";
    let gateway = Gateway::with_config(&config(&origin, silent, "rate_limit = [\"l\"]"));
    assert_eq!(field(&get(&gateway, "/a", "203.0.113.1", ""), "ratelimit"), None);
    assert_eq!(status(&get(&gateway, "/a", "203.0.113.1", "")), "429");
    let legacy = "[rate_limits.l]\nlimit = 1\nwindow = \"1h\"\nheaders = [\"legacy\"]\nalgorithm = \"fixed_window\"\n";
    let gateway = Gateway::with_config(&config(&origin, legacy, "rate_limit = [\"l\"]"));
    let answer = get(&gateway, "/a", "203.0.113.1", "");
    assert_eq!((field(&answer, "ratelimit"), field(&answer, "x-ratelimit-remaining")), (None, Some("0")));
    let trial = "[rate_limits.l]\nlimit = 1\nwindow = \"1h\"\ndry_run = true\n";
    let gateway = Gateway::with_config(&config(&origin, trial, "rate_limit = [\"l\"]"));
    for _ in 0..5 {
        assert_eq!(status(&get(&gateway, "/a", "203.0.113.1", "")), "200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgets_no_count() {
    let origin = origin().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let limits =
        |limit: u32| format!("[rate_limits.l]\nlimit = {limit}\nwindow = \"1h\"\nalgorithm = \"fixed_window\"\n");
    let write = |limit: u32, more: &str| {
        std::fs::write(&file, config(&origin, &limits(limit), &format!("rate_limit = [\"l\"]\n{more}"))).unwrap();
    };
    write(3, "");
    let gateway = Gateway::start(Command::new(binary()).arg("--config").arg(&file));
    assert_eq!(flood(&gateway, "/a", "203.0.113.1", ""), 3);
    write(5, "");
    gateway.signal("HUP");
    let end = Instant::now() + PATIENCE;
    while field(&get(&gateway, "/b", "203.0.113.9", ""), "x-ratelimit-limit") != Some("5") {
        assert!(Instant::now() < end, "it is not reloaded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(flood(&gateway, "/a", "203.0.113.1", ""), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_on_one_redis_share_a_limit() {
    let (origin, redis) = (origin().await, RedisServer::start());
    let limits = format!(
        "[rate_limits.l]\nlimit = 10\nwindow = \"1h\"\n[redis]\nurl = \"{}\"\ntimeout = \"20s\"\nkey_prefix = \"test:\"\n",
        redis.url()
    );
    let config = config(&origin, &limits, "rate_limit = [\"l\"]");
    let (one, two) = (Gateway::with_config(&config), Gateway::with_config(&config));
    for _ in 0..3 {
        assert_eq!(status(&get(&one, "/a", "203.0.113.1", "")), "200");
        assert_eq!(status(&get(&two, "/b", "203.0.113.1", "")), "200");
    }
    assert_eq!(flood(&one, "/b", "203.0.113.1", ""), 4);
    assert_eq!(status(&get(&two, "/a", "203.0.113.1", "")), "429");
    assert!(redis.command(&["RANDOMKEY"]).starts_with("test:rl:{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_down_the_configured_policy_holds_and_nobody_waits() {
    for (policy, while_down) in [("local", "200"), ("open", "200"), ("closed", "503")] {
        let (origin, mut redis) = (origin().await, RedisServer::start());
        let limits = format!(
            "[rate_limits.l]\nlimit = 3\nwindow = \"1h\"\non_store_error = \"{policy}\"\n[redis]\nurl = \"{}\"\ntimeout = \"2s\"\n",
            redis.url()
        );
        let gateway = Gateway::with_config(&config(&origin, &limits, "rate_limit = [\"l\"]"));
        assert_eq!(flood(&gateway, "/a", "203.0.113.1", ""), 3);
        redis.kill();
        // Another caller, as the first is known to be out of quota.
        let answers: Vec<_> = (0..20)
            .map(|_| {
                let sent = Instant::now();
                let answer = get(&gateway, "/a", "203.0.113.2", "");
                (status(&answer).to_owned(), sent.elapsed())
            })
            .collect();
        assert_eq!(answers[0].0, while_down, "{policy}");
        let passed = answers.iter().filter(|(status, _)| status == "200").count();
        assert_eq!(
            passed,
            match policy {
                "local" => 3,
                "open" => 20,
                _ => 0,
            },
            "{policy}"
        );
        // Refused it is at once.
        assert!(answers.iter().all(|(_, took)| *took < Duration::from_secs(2)), "{policy} {answers:?}");
        redis.restart();
        let end = Instant::now() + PATIENCE;
        while status(&get(&gateway, "/a", "203.0.113.3", "")) != "200" || redis.command(&["DBSIZE"]) == ":0" {
            assert!(Instant::now() < end, "{policy}: it does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_than_may_be_in_flight_is_a_503() {
    let (finish, may_finish) = tokio::sync::watch::channel(false);
    let mut origin = RawOrigin::scripted(move |mut connection| {
        let mut may_finish = may_finish.clone();
        async move {
            while connection.request().await.is_some() {
                may_finish.wait_for(|may| *may).await.unwrap();
                connection.send(OK).await;
            }
        }
    })
    .await;
    let gateway = Gateway::with_config(&config(&origin, "", "concurrency = { max = 2 }"));
    let mut in_flight = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect();
        client.write_all(b"GET /a HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n").unwrap();
        origin.received().await;
        in_flight.push(client);
    }
    for _ in 0..2 {
        let refused = get(&gateway, "/a", "203.0.113.1", "");
        assert_eq!((status(&refused), field(&refused, "retry-after")), ("503", Some("1")));
    }
    finish.send_replace(true);
    for mut client in in_flight {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), "200");
    }
    assert_eq!(status(&get(&gateway, "/a", "203.0.113.1", "")), "200");
}
