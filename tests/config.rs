//! The configuration of the example gateway, key by key, as its users meet it.

#[path = "../examples/gateway/config/tests/generate.rs"]
mod generate;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use support::gateway::{Gateway, binary, status};
use support::{RawOrigin, field};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway with these keys in `[server]`, an upstream with these, one route for all paths, and what else is given.
fn gateway(origin: &RawOrigin, server: &str, upstream: &str, rest: &str) -> Gateway {
    Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n{server}\n\
         [upstreams.o]\nservers = [\"{}\"]\n{upstream}\n[routes.all]\npath = \"/\"\nupstream = \"o\"\n{rest}\n",
        origin.url()
    ))
}

/// Sends `bytes`, and reads what comes until the gateway closes, or for this long.
fn until_closed(gateway: &Gateway, bytes: &[u8]) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = gateway.connect();
    stream.write_all(bytes).unwrap();
    (read_all(stream), begun.elapsed())
}

fn read_all(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset says as much as an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

// === --check and --schema ===

fn check(config: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).unwrap();
    Command::new(binary()).arg("--config").arg(&file).arg("--check").output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8([output.stderr.as_slice(), &output.stdout].concat()).unwrap()
}

#[test]
fn check_warns_of_what_is_allowed_and_hardly_meant() {
    let output = check(
        "[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n\
         [upstreams.used]\nservers = [\"http://127.0.0.1:1\"]\n[upstreams.idle]\nservers = [\"http://127.0.0.1:1\"]\n\
         [routes.first]\npath = \"/\"\nupstream = \"used\"\n\
         [routes.never]\npath = \"/health\"\nmatch = \"exact\"\nupstream = \"used\"\n",
    );
    let printed = printed(&output);
    assert!(output.status.success(), "{printed}");
    for warning in [
        ":2:20: server.trusted_proxies[0]: every client is believed to be a proxy",
        ":5:1: [upstreams.idle] is used by no route",
        ":7:1: [routes.first] is open to all",
        ":10:1: [routes.never] is open to all",
        ":10:1: [routes.never] can never match",
    ] {
        let is_it = |line: &str| line.starts_with("warning: ") && line.contains(warning);
        assert!(printed.lines().any(is_it), "{warning} is not in\n{printed}");
    }
    assert!(printed.ends_with("gateway.toml: no faults\n"), "{printed}");
}

#[test]
fn check_fails_where_there_is_a_fault_and_says_nothing_of_having_none() {
    for (config, fault) in [
        ("", "no route to serve"),
        ("[server\n", "not TOML"),
        ("[routes.a]\npath = \"/\"\nupstream = \"u\"\n", "no upstream is named \"u\""),
    ] {
        let output = check(config);
        assert_eq!(output.status.code(), Some(1), "{config}");
        assert!(printed(&output).contains(fault) && output.stdout.is_empty(), "{}", printed(&output));
    }
    let absent = Command::new(binary()).args(["--config", "no/such/file.toml", "--check"]).output().unwrap();
    assert_eq!(absent.status.code(), Some(1));
    assert!(
        printed(&absent).starts_with("error: no/such/file.toml: the file cannot be read: "),
        "{}",
        printed(&absent)
    );
}

fn schema() -> serde_json::Value {
    let output = Command::new(binary()).arg("--schema").output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_schema_of_the_file_is_printed_for_editors() {
    let schema = schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let timeout = &schema["properties"]["server"]["properties"]["header_read_timeout"];
    assert_eq!(timeout["default"], "10s");
    assert_eq!(timeout["description"], "from a connection's first byte to the end of a request head");
}

/// How many generated files are served.
const SERVED: usize = 20;

/// That they become stacks is shown for many more beside the code. What they say of addresses is not: others may have them.
#[test]
fn what_check_accepts_starts() {
    let mut runner = TestRunner::default();
    let files = generate::file(&schema(), generate::Numbers::Small);
    let (mut served, mut checked) = (0, 0);
    while served < SERVED {
        let text = files.new_tree(&mut runner).unwrap().current();
        let text = text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("[::1]:8080", "127.0.0.1:0");
        checked += 1;
        assert!(checked < 50 * SERVED, "only {served} of {checked} were accepted");
        if !check(&text).status.success() {
            continue;
        }
        let text = if text.contains("listen =") { text } else { listening(&text) };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), &text).unwrap();
        // What it warns of has been seen above.
        let file = folder.path().join("gateway.toml");
        let gateway = Gateway::start_telling(Command::new(binary()).arg("--config").arg(file));
        // No file can keep it from answering at all: what a head may be long is small at times.
        let (answer, _) = until_closed(&gateway, b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 ") || answer.is_empty(), "{text}\n{answer}");
        served += 1;
    }
}

/// With a port that is free, where the default might not be.
fn listening(text: &str) -> String {
    let listen = "listen = [\"127.0.0.1:0\"]";
    match text.contains("server = { ") {
        true => text.replacen("server = { ", &format!("server = {{ {listen}, "), 1).replace(",  }", " }"),
        false => format!("server = {{ {listen} }}\n{text}"),
    }
}

// === [server] ===

#[tokio::test(flavor = "multi_thread")]
async fn several_addresses_are_listened_on() {
    let origin = RawOrigin::answering(OK).await;
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n[upstreams.o]\nservers = [\"{}\"]\n\
         [routes.all]\npath = \"/\"\nupstream = \"o\"\n",
        origin.url()
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
    let mut gateway = Gateway::start(Command::new(binary()).arg("--config").arg(folder.path().join("gateway.toml")));
    assert!(gateway.address.ip().to_string() == "127.0.0.1");
    assert_eq!(status(&gateway.get("/")), "200");
    // The second one is on another port of its own, which the first line does not tell.
    let second = gateway.next_line();
    gateway.address = second.strip_prefix("listening on http://").unwrap().parse().unwrap();
    assert!(gateway.address.ip().to_string() == "127.0.0.2");
    assert_eq!(status(&gateway.get("/")), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_so_long_for_a_head_and_between_two_requests() {
    let origin = RawOrigin::answering(OK).await;
    let gateway = gateway(&origin, "header_read_timeout = \"300ms\"\nkeep_alive_timeout = \"600ms\"", "", "");
    let (answer, after) = until_closed(&gateway, b"GET / HT");
    assert!(answer.starts_with("HTTP/1.1 408 ") && after >= Duration::from_millis(300), "{answer} {after:?}");
    let (answer, after) = until_closed(&gateway, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&answer), "200");
    assert!((Duration::from_millis(600)..Duration::from_secs(5)).contains(&after), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_may_not_be_idle_end_after_one_request() {
    let origin = RawOrigin::answering(OK).await;
    let gateway = gateway(&origin, "keep_alive_timeout = \"0s\"", "", "");
    let (answer, after) = until_closed(&gateway, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&answer), "200");
    assert!(after < Duration::from_secs(5), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_coming_or_comes_too_slowly_is_given_up() {
    let origin = RawOrigin::answering(OK).await;
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
    let stops = gateway(&origin, "body_read_timeout = \"300ms\"", "", "");
    let (answer, after) = until_closed(&stops, post);
    assert!(matches!(status(&answer), "408" | "400"), "{answer}");
    assert!((Duration::from_millis(300)..Duration::from_secs(8)).contains(&after), "{after:?}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_their_sizes() {
    let origin = RawOrigin::answering(OK).await;
    let gateway = gateway(&origin, "max_header_bytes = \"1KiB\"\nmax_body_bytes = 10", "", "");
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(2000));
    assert_eq!(status(&until_closed(&gateway, long.as_bytes()).0), "431");
    let fits = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789";
    assert_eq!(status(&until_closed(&gateway, fits).0), "200");
    let announced = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a";
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n";
    for too_long in [announced.as_slice(), chunked] {
        let (answer, _) = until_closed(&gateway, too_long);
        assert_eq!(status(&answer), "413", "{answer}");
        assert_eq!(field(&answer, "content-type"), Some("application/problem+json"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited_in_all_and_for_each_client() {
    let origin = RawOrigin::answering(OK).await;
    let per_client = gateway(&origin, "max_connections_per_ip = 1", "", "");
    let first = per_client.connect();
    let mut second = per_client.connect();
    let _ = second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(read_all(second), "", "it is closed at once");
    drop(first);

    let in_all = gateway(&origin, "max_connections = 1", "", "");
    let mut first = in_all.connect();
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut waits = in_all.connect();
    waits.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!((status(&read_all(first)), status(&read_all(waits))), ("200", "200"), "the second waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_gives_requests_the_grace_and_no_more() {
    let mut origin = RawOrigin::scripted(|mut connection| async move {
        connection.request().await;
        connection.closed().await;
    })
    .await;
    let mut gateway = gateway(&origin, "shutdown_grace = \"300ms\"", "", "");
    let mut busy = gateway.connect();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    origin.received().await;
    let begun = Instant::now();
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_address_is_taken_from_the_header_that_is_named() {
    let origin = RawOrigin::answering(OK).await;
    let trusted = "trusted_proxies = [\"127.0.0.0/8\"]\n";
    let asks = "[health]\nallow = [\"192.0.2.7\"]";
    for (from, header, value) in [
        ("x-forwarded-for", "X-Forwarded-For", "6.6.6.6, 192.0.2.7"),
        ("forwarded", "Forwarded", "for=6.6.6.6, for=192.0.2.7"),
        ("CF-Connecting-IP", "cf-connecting-ip", "192.0.2.7"),
    ] {
        let gateway = gateway(&origin, &format!("{trusted}client_ip_from = \"{from}\""), "", asks);
        let ask = |header: &str, value: &str| {
            let head = format!("GET /health HTTP/1.1\r\nHost: a\r\n{header}: {value}\r\nConnection: close\r\n\r\n");
            status(&gateway.exchange(&head)).to_owned()
        };
        assert_eq!(ask(header, value), "200", "{from}");
        assert_eq!(ask("X-Other", "192.0.2.7"), "403", "{from}");
    }
}

// === [health], [request_id], [forwarded], [access_log] ===

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_where_and_to_whom_the_file_says() {
    let mut origin = RawOrigin::answering(OK).await;
    let trusted = "trusted_proxies = [\"127.0.0.0/8\"]";
    let limited = gateway(&origin, trusted, "", "[health]\npath = \"/up\"\nallow = [\"10.0.0.0/8\"]");
    let ask = |from: &str| {
        limited
            .exchange(&format!("GET /up HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {from}\r\nConnection: close\r\n\r\n"))
    };
    let well = ask("10.1.1.1");
    assert!(status(&well) == "200" && well.ends_with("{\"status\":\"ok\"}"), "{well}");
    let refused = ask("192.0.2.1");
    assert!(status(&refused) == "403" && refused.contains("\"error\":\"ip_denied\""), "{refused}");
    assert!(origin.is_untouched(), "no answer of the gateway's own is asked of an origin");

    let off = gateway(&origin, "", "", "[health]\npath = \"none\"");
    assert!(off.get("/health").ends_with("ok"));
    assert!(origin.received().await.starts_with("GET /health "));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_has_the_header_that_is_named_or_none() {
    let mut origin = RawOrigin::answering(OK).await;
    let named = gateway(&origin, "", "", "[request_id]\nheader = \"X-Correlation-Id\"");
    let answer = named.get("/");
    let id = field(&answer, "x-correlation-id").expect("the answer has the id");
    assert_eq!(field(&origin.received().await, "x-correlation-id"), Some(id));
    assert_eq!(field(&answer, "x-request-id"), None);
    let off = gateway(&origin, "", "", "[request_id]\nenabled = false");
    assert_eq!(field(&off.get("/"), "x-request-id"), None);
    assert_eq!(field(&origin.received().await, "x-request-id"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_upstreams_are_told_of_the_way_is_the_files_to_say() {
    let mut origin = RawOrigin::answering(OK).await;
    let told = |received: &str| {
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via"]
            .into_iter()
            .filter(|name| field(received, name).is_some())
            .collect::<Vec<_>>()
    };
    let by_default = gateway(&origin, "", "", "");
    by_default.get("/");
    assert_eq!(told(&origin.received().await), ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via"]);
    let other = gateway(
        &origin,
        "",
        "",
        "[forwarded]\nx_forwarded = false\nforwarded = true\nvia = false\n[access_log]\nformat = \"off\"",
    );
    other.get("/");
    assert_eq!(told(&origin.received().await), ["forwarded"]);
}

// === [upstreams.NAME] ===

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_path_is_put_before_the_requests() {
    let mut origin = RawOrigin::answering(OK).await;
    let gateway = Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstreams.o]\nservers = [\"{}/base/\"]\n\
         [routes.all]\npath = \"/api\"\nstrip_prefix = \"/api\"\nupstream = \"o\"\n",
        origin.url()
    ));
    for (asked, sent) in [("/api/users?q=1", "/base/users?q=1"), ("/api", "/base/"), ("/api/", "/base/")] {
        gateway.get(asked);
        let received = origin.received().await;
        assert!(received.starts_with(&format!("GET {sent} HTTP/1.1\r\n")), "{asked}: {received}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_sent_upstream_is_the_one_that_is_asked_for() {
    let mut origin = RawOrigin::answering(OK).await;
    let server = origin.address.to_string();
    for (host, sent) in
        [("upstream", server.as_str()), ("client", "gw.example"), ("users.internal:81", "users.internal:81")]
    {
        let gateway = gateway(&origin, "", &format!("host = \"{host}\"\nprotocol = \"http1\""), "");
        gateway.get("/");
        assert_eq!(field(&origin.received().await, "host"), Some(sent));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_connection_as_long_as_it_may() {
    let mut origin = RawOrigin::scripted(|mut connection| async move {
        connection.request().await;
        connection.closed().await;
    })
    .await;
    let upstream = "max_connections_per_server = 1\nqueue_timeout = \"200ms\"";
    let gateway = gateway(&origin, "", upstream, "");
    let mut holds = gateway.connect();
    holds.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    origin.received().await;
    let begun = Instant::now();
    let answer = gateway.get("/");
    assert_eq!(status(&answer), "503", "{answer}");
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(field(&answer, "retry-after").is_some(), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_servers_are_kept_as_long_as_they_may_be() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = connections.clone();
    let origin = RawOrigin::scripted(move |mut connection| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            while connection.request().await.is_some() {
                connection.send(OK).await;
            }
        }
    })
    .await;
    for (keep_alive, expected) in [("0s", 3), ("60s", 1), ("none", 1)] {
        connections.store(0, std::sync::atomic::Ordering::Relaxed);
        let gateway = gateway(&origin, "", &format!("keep_alive_timeout = \"{keep_alive}\""), "");
        (0..3).for_each(|_| assert_eq!(status(&gateway.get("/")), "200"));
        assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), expected, "{keep_alive}");
    }
}

// === How values may be written ===

#[tokio::test(flavor = "multi_thread")]
async fn values_come_from_variables_files_and_fallbacks() {
    let mut origin = RawOrigin::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("host"), "from.file\n").unwrap();
    let config = "[server]\nlisten = [\"${LISTEN:-127.0.0.1:0}\"]\nworkers = \"${WORKERS}\"\n\
                  [upstreams.o]\nservers = [\"http://${ORIGIN}\"]\nhost = \"${file:host}\"\n\
                  [routes.all]\npath = \"/a\"\nupstream = \"o\"\n";
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).unwrap();
    let gateway = Gateway::start(
        Command::new(binary()).arg("--config").arg(&file).env("ORIGIN", origin.address.to_string()).env("WORKERS", "1"),
    );
    assert_eq!(status(&gateway.get("/a")), "200");
    assert_eq!(field(&origin.received().await, "host"), Some("from.file"));

    let unset = Command::new(binary()).arg("--config").arg(&file).arg("--check").env_remove("ORIGIN").output().unwrap();
    let printed = printed(&unset);
    assert!(printed.contains("the environment variable \"ORIGIN\" is not set"), "{printed}");
    assert!(printed.contains("the environment variable \"WORKERS\" is not set"), "{printed}");
}
