//! The example gateway, as its users meet it: the binary, a file, sockets.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use support::gateway::{Gateway, binary, status};
use support::{Nobody, RawOrigin, field};

fn config(origin: &RawOrigin, more: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n{more}\n\
         [upstreams.o]\nservers = [\"{}\"]\n[routes.api]\npath = \"/api\"\nupstream = \"o\"\nstrip_prefix = \"/api\"\n",
        origin.url()
    )
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn the_demo_prints_commands_that_work_as_printed() {
    let gateway = Gateway::start(Command::new(binary()).env("LISTEN", "127.0.0.1:0"));
    let commands: Vec<&str> = gateway.printed.lines().map(str::trim).filter(|line| line.contains("curl ")).collect();
    let outputs: Vec<String> = commands
        .iter()
        .map(|command| {
            let output = Command::new("sh").arg("-c").arg(command).output().unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    let shows = |command: &str, text: &str| {
        let at = commands.iter().position(|own| own.contains(command)).unwrap_or_else(|| panic!("no {command}"));
        assert!(outputs[at].contains(text), "{}\n{}", commands[at], outputs[at]);
    };
    shows("/health", "{\"status\":\"ok\"}");
    shows("/users/42", "200 OK");
    shows("/users/42", "x-request-id: ");
    shows("-s http", "x-forwarded-for: 127.0.0.1");
    shows("-s http", "GET /echo\n");
    shows("6.6.6.6", "x-forwarded-for: 127.0.0.1");
    shows("/count", "100000 bytes");
    shows("/slow", "504 Gateway Timeout");
    shows("/report", "x-cache: MISS");
    shows("/report", "x-cache: HIT");
    shows("DELETE", "405 Method Not Allowed");
    shows("DELETE", "allow: GET, HEAD");
    shows("%2e%2e%2f", "400 Bad Request");
    shows("/api/admin", "403 Forbidden");
    shows("/down", "502 Bad Gateway");
    shows("/down", "\"error\":\"upstream_connect_failed\"");
    shows("/nowhere", "\"error\":\"route_not_found\"");
    shows("/api/me", "401 Unauthorized");
    shows("-i -H 'Authorization: Bearer", "403 Forbidden");
    shows("X-User-Id: admin", "x-user-id: alice");
    let answered = |command: &str| {
        let at = commands.iter().position(|own| own.contains(command)).unwrap_or_else(|| panic!("no {command}"));
        outputs[at].lines().map(|line| line.split(' ').nth(1).unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(answered("/retried/sometimes"), ["200"; 3]);
    assert_eq!(answered("/guarded/fail"), ["500", "500", "500", "503"]);
    assert_eq!(outputs.last().map(String::as_str), Some("{\"status\":\"degraded\"}"));
    shows("/limited", "429 Too Many Requests");
    shows("/limited", "retry-after: ");
    shows("/limited", "ratelimit: \"few\";r=2;t=10");
    assert_eq!(commands.len(), 19, "a command that is not looked at here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_served_as_it_says() {
    let mut origin = RawOrigin::answering(OK).await;
    let gateway = Gateway::with_config(&config(&origin, ""));
    let answer = gateway.get("/api/users?x=1");
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with("\r\n\r\nok"));
    let id = field(&answer, "x-request-id").unwrap().to_owned();
    let head = origin.received().await;
    assert!(head.starts_with("GET /users?x=1 HTTP/1.1\r\n"));
    assert_eq!(field(&head, "x-request-id"), Some(id.as_str()));
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(&head, "x-forwarded-host"), Some("gw.example"));
    assert!(field(&head, "via").is_some() && field(&head, "traceparent").is_some());

    let missing = gateway.get("/apis");
    assert_eq!(status(&missing), "404");
    assert_eq!(field(&missing, "content-type"), Some("application/problem+json"));
    let id = field(&missing, "x-request-id").unwrap();
    assert!(missing.ends_with(&format!("\"error\":\"route_not_found\",\"request_id\":\"{id}\"}}")), "{missing}");
    assert!(gateway.get("/health").ends_with("{\"status\":\"ok\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_name_away_what_the_gateway_tells_the_origin() {
    let mut origin = RawOrigin::answering(OK).await;
    let gateway = Gateway::with_config(&config(&origin, ""));
    let named = "close, x-request-id, traceparent, X-Forwarded-For, x-forwarded-proto, via, host";
    let answer = gateway.exchange(&format!("GET /api/ HTTP/1.1\r\nHost: a\r\nConnection: {named}\r\n\r\n"));
    assert_eq!(status(&answer), "200");
    let head = origin.received().await;
    for name in ["x-request-id", "traceparent", "x-forwarded-for", "x-forwarded-proto", "via", "host"] {
        assert!(field(&head, name).is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_off() {
    let mut origin = RawOrigin::answering(OK).await;
    let off = "[health]\npath = \"none\"\n[request_id]\nenabled = false\n[forwarded]\nx_forwarded = false\nvia = false";
    let gateway = Gateway::with_config(&config(&origin, off));
    let answer = gateway.get("/api/");
    assert_eq!((status(&answer), field(&answer, "x-request-id")), ("200", None));
    let head = origin.received().await;
    for name in ["x-request-id", "traceparent", "x-forwarded-for", "x-forwarded-proto", "via", "forwarded"] {
        assert_eq!(field(&head, name), None, "{name}");
    }
    assert_eq!(status(&gateway.get("/health")), "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_addresses_are_believed_from_trusted_peers_alone() {
    let mut origin = RawOrigin::answering(OK).await;
    let request = "GET /api/ HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nX-Forwarded-For: 203.0.113.9\r\n\
                   Connection: close\r\n\r\n";
    let stranger = Gateway::with_config(&config(&origin, ""));
    assert_ne!(field(&stranger.exchange(request), "x-request-id"), Some("mine"));
    assert_eq!(field(&origin.received().await, "x-forwarded-for"), Some("127.0.0.1"));

    let trusted = Gateway::with_config(&config(&origin, "trusted_proxies = [\"127.0.0.0/8\"]"));
    assert_eq!(field(&trusted.exchange(request), "x-request-id"), Some("mine"));
    assert_eq!(field(&origin.received().await, "x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_path_wins_and_an_exact_one_before_a_prefix() {
    let origin = RawOrigin::answering(OK).await;
    let exact = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nexact").await;
    let longer = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nlonger").await;
    let gateway = Gateway::with_config(&config(
        &origin,
        &format!(
            "[upstreams.exact]\nservers = [\"{}\"]\n[upstreams.longer]\nservers = [\"{}\"]\n\
             [routes.exact]\npath = \"/api/users\"\nmatch = \"exact\"\nupstream = \"exact\"\n\
             [routes.longer]\npath = \"/api/users\"\nupstream = \"longer\"",
            exact.url(),
            longer.url()
        ),
    ));
    assert!(gateway.get("/api/users").ends_with("exact"));
    assert!(gateway.get("/api/users/7").ends_with("longer"));
    assert!(gateway.get("/api/users2").ends_with("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_that_is_matched_is_the_path_that_is_sent() {
    let mut origin = RawOrigin::answering(OK).await;
    let admin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nadmin").await;
    let gateway = Gateway::with_config(&config(
        &origin,
        &format!(
            "[upstreams.admin]\nservers = [\"{}\"]\n[routes.admin]\npath = \"/api/admin\"\nupstream = \"admin\"",
            admin.url()
        ),
    ));
    for path in ["/api/x/../admin", "/api//admin", "/api/%61dmin", "/api/%2e/admin", "//api/x/%2e%2E/admin/"] {
        assert!(gateway.get(path).ends_with("admin"), "{path}");
    }
    for path in ["/api/..;/admin", "/api/x%5c..%5cadmin", "/api/../../admin", "/api/admin%00", "/api/x%2Fy"] {
        let answer = gateway.get(path);
        assert_eq!(
            (status(&answer), field(&answer, "content-type")),
            ("400", Some("application/problem+json")),
            "{path}"
        );
        assert!(answer.contains(&format!("\"request_id\":\"{}\"", field(&answer, "x-request-id").unwrap())));
    }
    assert!(origin.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_slashes_are_each_routes_to_decide() {
    let mut origin = RawOrigin::answering(OK).await;
    let more = format!(
        "[upstreams.keep]\nservers = [\"{}\"]\n\
         [routes.keep]\npath = \"/keep\"\nupstream = \"keep\"\nencoded_slashes = \"keep\"",
        origin.url()
    );
    let gateway = Gateway::with_config(&config(&origin, &more));
    assert_eq!(status(&gateway.get("/api/a%2Fb")), "400");
    assert_eq!(status(&gateway.get("/keep/a%2fb")), "200");
    assert!(origin.received().await.starts_with("GET /keep/a%2Fb HTTP/1.1\r\n"));
    // It separates no segments.
    assert_eq!(status(&gateway.get("/keep%2Fa")), "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_share_the_requests() {
    let one = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none").await;
    let two = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo").await;
    let gateway = Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[upstreams.o]\nbalance = \"round_robin\"\n\
         servers = [\"{}\", {{ url = \"{}\", weight = 2 }}]\n[routes.all]\npath = \"/\"\nupstream = \"o\"\n",
        one.url(),
        two.url()
    ));
    let twos = (0..30).filter(|_| gateway.get("/").ends_with("two")).count();
    assert_eq!(twos, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_origin_is_a_504_and_a_dead_one_a_502() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        connection.request().await;
        connection.closed().await;
    })
    .await;
    let dead = Nobody::new();
    let gateway = Gateway::with_config(&config(
        &origin,
        &format!(
            "[defaults]\ntimeouts = {{ response_head = \"200ms\" }}\n\
             [upstreams.dead]\nservers = [\"{}\"]\n[routes.dead]\npath = \"/dead\"\nupstream = \"dead\"",
            dead.url()
        ),
    ));
    let slow = gateway.get("/api/");
    assert_eq!(status(&slow), "504");
    assert!(slow.contains("\"error\":\"upstream_timeout\""));
    let dead = gateway.get("/dead");
    assert_eq!(status(&dead), "502");
    assert!(dead.contains("\"error\":\"upstream_connect_failed\"") && !dead.contains("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_finish_and_takes_no_more() {
    let (finish, may_finish) = tokio::sync::watch::channel(false);
    let mut origin = RawOrigin::scripted(move |mut connection| {
        let mut may_finish = may_finish.clone();
        async move {
            connection.request().await;
            may_finish.wait_for(|may| *may).await.unwrap();
            connection.send(OK).await;
        }
    })
    .await;
    let mut gateway = Gateway::with_config(&config(&origin, ""));
    let mut busy = gateway.connect();
    busy.write_all(b"GET /api/ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    origin.received().await;
    gateway.signal("TERM");
    gateway.stops_listening();
    finish.send_replace(true);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with("ok"));
    let stopped = Instant::now();
    assert!(gateway.process.wait().unwrap().success());
    assert!(stopped.elapsed() < support::PATIENCE, "it waits for its grace");
}

/// An origin that reads uploads and answers their length, and sends as many bytes as the path says.
fn bulk_origin() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            let received = std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
            let size: u64 = head.split(['/', ' ']).find_map(|word| word.parse().ok()).unwrap_or(0);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nX-Received: {received}\r\n\r\n");
            let _ = std::io::copy(&mut std::io::repeat(b'x').take(size), &mut stream);
        }
    });
    address
}

/// What a body of any size may add to the memory of the process, in KiB.
#[cfg(target_os = "linux")]
const BUFFERS: u64 = 8 << 10;

#[test]
#[cfg(target_os = "linux")]
fn a_gibibyte_passes_either_way_in_flat_memory() {
    const GIB: u64 = 1 << 30;
    let gateway = Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nmax_body_bytes = \"none\"\n\
         [upstreams.o]\nservers = [\"http://{}\"]\n[routes.all]\npath = \"/\"\nupstream = \"o\"\n",
        bulk_origin()
    ));
    assert_eq!(status(&gateway.get("/1")), "200");
    let before = gateway.peak_memory();

    let mut upload = gateway.connect();
    write!(upload, "PUT /0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {GIB}\r\n\r\n").unwrap();
    std::io::copy(&mut std::io::repeat(b'x').take(GIB), &mut upload).unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    assert_eq!(field(&answer, "x-received"), Some(GIB.to_string().as_str()));
    let uploaded = gateway.peak_memory();

    let mut download = gateway.connect();
    write!(download, "GET /{GIB} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let received = std::io::copy(&mut download, &mut std::io::sink()).unwrap();
    assert!((GIB..GIB + 1024).contains(&received), "{received} bytes");
    let downloaded = gateway.peak_memory();
    println!("peak memory in KiB: {before} before, {uploaded} after the upload, {downloaded} after the download");
    assert!(downloaded < before + BUFFERS, "{before} KiB, then {uploaded}, then {downloaded}");
}

/// One end of a connection has neither closed nor reset it, as the kernel has it (proc(5), `/proc/net/tcp`).
#[cfg(target_os = "linux")]
fn is_connected(own: SocketAddr, peer: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let end = |end: SocketAddr| match end {
        SocketAddr::V4(end) => format!("{:08X}:{:04X}", u32::from_ne_bytes(end.ip().octets()), end.port()),
        SocketAddr::V6(_) => unreachable!("these tests connect by IPv4"),
    };
    let expected = [end(own), end(peer), ESTABLISHED.to_owned()];
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    connections.lines().any(|line| line.split_whitespace().skip(1).take(3).eq(&expected))
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_client_that_reads_nothing_holds_bounded_memory() {
    let gateway = Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nwrite_timeout = \"1s\"\n\
         [upstreams.o]\nservers = [\"http://{}\"]\n[routes.all]\npath = \"/\"\nupstream = \"o\"\n",
        bulk_origin()
    ));
    let before = gateway.peak_memory();
    let mut stuck = gateway.connect();
    write!(stuck, "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", 1 << 30).unwrap();
    // The gateway gives the client up; what was on its way can still be read, and is far from whole.
    let mut begins = [0];
    stuck.read_exact(&mut begins).unwrap();
    let end = Instant::now() + support::PATIENCE;
    while is_connected(gateway.address, stuck.local_addr().unwrap()) {
        assert!(Instant::now() < end, "it goes on waiting");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut all = Vec::new();
    let _ = stuck.read_to_end(&mut all);
    assert!(all.len() < 64 << 20, "{} bytes", all.len());
    assert!(gateway.peak_memory() < before + BUFFERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_takes_its_upstream_request_along() {
    let (left, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let mut origin = RawOrigin::scripted(move |mut connection| {
        let left = left.clone();
        async move {
            connection.request().await;
            connection.closed().await;
            left.send(()).unwrap();
        }
    })
    .await;
    let gateway = Gateway::with_config(&config(&origin, ""));
    let mut client = gateway.connect();
    client.write_all(b"GET /api/ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    origin.received().await;
    drop(client);
    tokio::time::timeout(support::PATIENCE, seen.recv()).await.expect("the origin still works for nobody");
}

fn check(config: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(binary()).arg("--config").arg(&file).arg("--check").output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn check_prints_every_fault_with_its_line() {
    let (fine, printed) = check(
        "[server]\nlisen = [\"127.0.0.1:0\"]\nkeep_alive_timeout = \"75\"\n\
         [routes.a]\npath = \"a\"\nupstream = \"nobody\"\n[routes.a.auth]\naccept = [\"cookie\"]\n",
    );
    assert!(!fine);
    for fault in [
        ":2:1: unknown key \"lisen\" in [server]; did you mean \"listen\"?",
        ":3:22: ",
        ":5:8: ",
        ":6:12: ",
        ":8:11: routes.a.auth.accept[0]: \"cookie\" is not",
    ] {
        assert!(printed.contains(fault), "{fault} is not in\n{printed}");
    }
}

#[test]
fn check_serves_nothing_and_finds_no_fault_in_the_demos_file() {
    let demo = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway/gateway.toml")).unwrap();
    let (fine, printed) = check(
        &demo
            .replace("${DEMO_UPSTREAM}", "127.0.0.1:3001")
            .replace("DEMO_SECRET", "X:-0123456789abcdef0123456789abcdef"),
    );
    assert!(fine, "{printed}");
    assert!(printed.contains("no faults"));
}
