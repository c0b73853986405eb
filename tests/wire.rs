//! What reaches an origin, byte for byte, of what a client may put on the wire, and what the client is told: the server,
//! the strict layer and the proxy together, between raw sockets.

mod support;

use std::time::Duration;

use support::{OriginConnection, PATIENCE, RawOrigin, field};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::ServiceBuilder;
use tower_gateway::proxy::{HostPolicy, ProxyService};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::serve::{Server, ServerHandle};
use tower_gateway::strict::{EncodedSlashes, StrictLayer};
use tower_gateway::upstream::{Client, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a client would like to be a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

struct Gateway {
    server: ServerHandle,
    origin: RawOrigin,
}

impl Gateway {
    async fn new() -> Self {
        Self::over(RawOrigin::answering(OK).await, |server| server, StrictLayer::new())
    }

    async fn with(settings: impl FnOnce(Server) -> Server) -> Self {
        Self::over(RawOrigin::answering(OK).await, settings, StrictLayer::new())
    }

    fn over(origin: RawOrigin, settings: impl FnOnce(Server) -> Server, strict: StrictLayer) -> Self {
        let upstream = Upstream::new([origin.url()]).unwrap();
        let server = settings(Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1));
        let server = server.start(move |_| {
            let proxy = ProxyService::new(Client::new(upstream.clone()));
            let proxy = proxy.host(HostPolicy::Client).via(false).x_forwarded(false);
            let id = RequestIdLayer::new().trace_context(false);
            ServiceBuilder::new().layer(id).layer(strict.clone()).service(proxy)
        });
        Self { server: server.unwrap(), origin }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addrs()[0]).await.unwrap()
    }

    /// All that comes back for `wire`, until the gateway closes.
    async fn until_closed(&self, wire: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // The gateway may close before it has read everything.
        let _ = stream.write_all(wire.as_ref()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is not closed");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// `wire` is answered with `status`, the connection closed, the request behind it not executed, and the origin left
    /// alone.
    async fn closes(&mut self, wire: impl AsRef<[u8]>, status: u16) {
        let shown = String::from_utf8_lossy(wire.as_ref()).chars().take(120).collect::<String>();
        let answer = self.until_closed([wire.as_ref(), SMUGGLED.as_bytes()].concat()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {answer}");
        assert_eq!(field(&answer, "connection"), Some("close"), "{shown:?}: {answer}");
        assert_problem(&answer);
        assert!(self.origin.is_untouched(), "{shown:?}");
    }

    /// `wire` is answered with `status` and a problem document, and the connection goes on with the next request.
    async fn refuses_and_keeps(&mut self, wire: &str, status: u16) {
        let answer = self.until_closed([wire, &get("/next", "Connection: close\r\n")].concat()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{wire:?}: {answer}");
        assert_problem(&answer);
        assert!(answer.contains("HTTP/1.1 200 OK"), "{wire:?}: {answer}");
        assert!(self.origin.received().await.starts_with("GET /next HTTP/1.1\r\n"));
    }

    /// The origin receives exactly `lines`, besides the id.
    async fn forwards(&mut self, wire: &str, expected: &str) {
        let mut stream = self.connect().await;
        stream.write_all(wire.as_bytes()).await.unwrap();
        let received = self.origin.received().await;
        let received: Vec<_> =
            received.split_inclusive("\r\n").filter(|line| !line.starts_with("x-request-id")).collect();
        assert_eq!(received.concat(), expected, "{wire:?}");
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK", "{wire:?}");
    }
}

/// A refusal says why, whoever it is by.
fn assert_problem(answer: &str) {
    assert_eq!(field(answer, "content-type"), Some("application/problem+json"), "{answer}");
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

// === Framing ===

#[tokio::test]
async fn a_length_beside_a_transfer_coding_is_refused() {
    let mut gateway = Gateway::new().await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "content-length:0\r\nX: y\r\nTRANSFER-ENCODING:  chunked \r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n",
    ] {
        gateway.closes(post(fields, "0\r\n\r\n"), 400).await;
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_is_refused_on_a_connection_in_use() {
    let mut gateway = Gateway::new().await;
    let before = [
        get("/one", ""),
        post("Content-Length: 5\r\n", "12345"),
        post("Transfer-Encoding: chunked\r\n", "5;x\r\n12345\r\n0\r\nX: y\r\n\r\n"),
    ]
    .concat();
    let bad = post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let answer = gateway.until_closed([before, bad, SMUGGLED.to_owned()].concat()).await;
    let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "200", "400"]);
    for _ in 0..3 {
        gateway.origin.received().await;
    }
    assert!(gateway.origin.is_untouched());
}

#[tokio::test]
async fn more_than_one_length_is_refused() {
    let mut gateway = Gateway::new().await;
    gateway.closes(post("Content-Length: 5\r\nContent-Length: 5\r\n", "12345"), 400).await;
    gateway.closes(post("Content-Length: 0\r\nContent-Length: 0\r\n", ""), 400).await;
    gateway.closes(post("Content-Length: 5\r\nContent-Length: 6\r\n", "12345"), 400).await;
}

#[tokio::test]
async fn a_length_that_is_not_one_number_is_refused() {
    let mut gateway = Gateway::new().await;
    for length in ["", "+5", "-5", "5 5", "5, 5", "5,6", "0x5", "5.0", "five", "18446744073709551616"] {
        gateway.closes(post(&format!("Content-Length: {length}\r\n"), "12345"), 400).await;
    }
}

#[tokio::test]
async fn a_length_with_white_space_around_it_is_forwarded_without() {
    let mut gateway = Gateway::new().await;
    let wire = post("Content-Length: \t 005 \t\r\n", "12345");
    gateway.forwards(&wire, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n12345").await;
}

#[tokio::test]
async fn any_transfer_coding_but_one_plain_chunked_is_refused() {
    let mut gateway = Gateway::new().await;
    for (coding, status) in [
        // Nobody knows where these messages end.
        ("gzip", 400),
        ("identity", 400),
        ("xchunked", 400),
        ("chunked;q=1", 400),
        ("chunked, gzip", 400),
        ("chunked,", 400),
        ("\"chunked\"", 400),
        ("", 400),
        // These end where they say, and are in a coding that nobody undoes.
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("chunked, chunked", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
        (", chunked", 400),
    ] {
        gateway.closes(post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"), status).await;
    }
}

#[tokio::test]
async fn chunked_in_http_1_0_is_refused() {
    let mut gateway = Gateway::new().await;
    let wire = "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    gateway.closes(wire, 400).await;
}

#[tokio::test]
async fn what_is_forwarded_is_framed_anew() {
    let mut gateway = Gateway::new().await;
    let wire = post("transfer-encoding: Chunked\r\n", "0005;a=\"b\"\r\n12345\r\n00\r\n\r\n");
    gateway
        .forwards(&wire, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n")
        .await;
}

#[tokio::test]
async fn trailers_carry_no_framing_routing_or_identity() {
    let mut gateway = Gateway::new().await;
    let trailers = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nAuthorization: Basic eA==\r\n\
                    X-Forwarded-For: 6.6.6.6\r\nCookie: a=b\r\nX-Sum: 7\r\n";
    let wire = post("Transfer-Encoding: chunked\r\n", &format!("1\r\nx\r\n0\r\n{trailers}\r\n"));
    gateway
        .forwards(
            &wire,
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await;
}

/// An origin that answers nothing, and tells all it received once the connection is at its end.
async fn listening_origin() -> (RawOrigin, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let origin = RawOrigin::scripted(move |mut connection: OriginConnection| {
        let tell = tell.clone();
        async move {
            let mut all = Vec::new();
            let _ = connection.stream.read_to_end(&mut all).await;
            let _ = tell.send(String::from_utf8_lossy(&all).into_owned());
        }
    })
    .await;
    (origin, told)
}

#[tokio::test]
async fn a_bad_chunk_aborts_the_upstream_request_and_is_never_taken_for_its_end() {
    let (origin, mut told) = listening_origin().await;
    let gateway = Gateway::over(origin, |server| server, StrictLayer::new());
    for bad in [
        "-1\r\nx\r\n",
        "+1\r\nx\r\n",
        "0x1\r\nx\r\n",
        " 1\r\nx\r\n",
        "\r\nx\r\n",
        "g\r\nx\r\n",
        "1 1\r\nx\r\n",
        "1\nx\r\n",
        "1\r\nxy\r\n",
        "1\r\nx\n",
        "1\r\nx0\r\n\r\n",
        "fffffffffffffffff\r\nx\r\n",
        "10000000000000001\r\nx\r\n",
        "-0\r\n\r\n",
        "1;a\nb\r\nx\r\n",
        &format!("1;{}\r\nx\r\n", "a".repeat(60)).repeat(1000),
    ] {
        let mut client = gateway.connect().await;
        client.write_all(post("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n").as_bytes()).await.unwrap();
        // So that the head is on its way before the chunk that is bad.
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.write_all([bad, "0\r\n\r\n", SMUGGLED].concat().as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = tokio::time::timeout(PATIENCE, client.read_to_string(&mut answer)).await.expect("it is closed");
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.matches("HTTP/1.1").count() == 1, "{bad:?}: {answer}");
        let received = tokio::time::timeout(PATIENCE, told.recv()).await.expect("it is aborted").unwrap();
        assert!(received.starts_with("POST / ") && !received.contains("smuggled"), "{bad:?}: {received}");
        assert!(!received.contains("\r\n0\r\n"), "{bad:?}: {received}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_never_taken_for_a_whole_one() {
    let (origin, mut told) = listening_origin().await;
    let gateway = Gateway::over(origin, |server| server, StrictLayer::new());
    for wire in [post("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n"), post("Content-Length: 10\r\n", "12345")] {
        let mut client = gateway.connect().await;
        client.write_all(wire.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(client);
        let received = tokio::time::timeout(PATIENCE, told.recv()).await.expect("it is aborted").unwrap();
        assert!(received.contains("12345") && !received.contains("\r\n0\r\n"), "{received}");
    }
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_goes_on_sending() {
    let gateway = Gateway::new().await;
    let fields = "Content-Length: 1000000\r\nHost: b\r\n";
    let answer = gateway.until_closed(post(fields, &"x".repeat(1_000_000))).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

// === Host ===

#[tokio::test]
async fn a_host_that_is_not_one_host_is_refused() {
    let mut gateway = Gateway::new().await;
    for host in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: user@a\r\n",
        "Host: user:pw@a\r\n",
        "Host: a:x\r\n",
        "Host: a:65536\r\n",
        "Host: a:-1\r\n",
        "Host: a:+80\r\n",
        "Host: a/b\r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host: a\\b\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: [::1\r\n",
        "Host: http://a\r\n",
        "Host: a%2eb\r\n",
        "Host: :80\r\n",
    ] {
        gateway.closes(format!("GET / HTTP/1.1\r\n{host}\r\n"), 400).await;
    }
    gateway.closes(b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n", 400).await;
}

#[tokio::test]
async fn a_plain_host_is_forwarded_as_it_is() {
    let mut gateway = Gateway::new().await;
    for host in ["api.example.com", "A.example:8080", "[2001:db8::1]:443", "127.0.0.1"] {
        let wire = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        gateway.forwards(&wire, &format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn the_authority_of_an_absolute_target_wins_over_host() {
    let mut gateway = Gateway::new().await;
    for target in ["http://real:8080/a?b", "HTTP://real:8080/x/../a?b", "https://real:8080/%61?b"] {
        gateway.forwards(&get(target, ""), "GET /a?b HTTP/1.1\r\nhost: real:8080\r\n\r\n").await;
    }
    gateway.forwards(&get("http://real", ""), "GET / HTTP/1.1\r\nhost: real\r\n\r\n").await;
    gateway.forwards(&get("http://real?b", ""), "GET /?b HTTP/1.1\r\nhost: real\r\n\r\n").await;
}

#[tokio::test]
async fn an_absolute_target_with_user_info_or_another_scheme_is_refused() {
    let mut gateway = Gateway::new().await;
    for target in ["http://user@real/", "http://user:pw@real/", "http://real:99999/", "ftp://real/", "file://real/etc"]
    {
        gateway.closes(get(target, ""), 400).await;
    }
    for target in ["http:///", "http://", "https:/real/"] {
        gateway.closes(get(target, ""), 400).await;
    }
}

#[tokio::test]
async fn http_1_0_may_go_without_a_host() {
    let gateway = Gateway::new().await;
    let answer = gateway.until_closed("GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK") || answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

// === The request line and fields ===

#[tokio::test]
async fn a_malformed_request_line_is_refused() {
    let mut gateway = Gateway::new().await;
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/1.10",
        "GET / HTTP/11",
        "GET / HTTX/1.1",
        "/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET / HTTP/1.1\r",
    ] {
        gateway.closes(format!("{line}\r\nHost: a\r\n\r\n"), 400).await;
    }
    gateway.closes(get("example", ""), 400).await;
    for fragment in ["/a#b", "/a?b#c", "/#", "http://a/#b", "http://a#b", "#b"] {
        gateway.closes(get(fragment, ""), 400).await;
    }
}

#[tokio::test]
async fn malformed_fields_are_refused() {
    let mut gateway = Gateway::new().await;
    for fields in [
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\x01b\r\n",
        "X: a\r\n folded\r\n",
        "X: a\r\n\tfolded\r\n",
        "X : a\r\n",
        "X\t: a\r\n",
        ": a\r\n",
        "X\r\n",
        " X: a\r\n",
        "X@: a\r\n",
        "X: a\r\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding\x0b: chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
    ] {
        gateway.closes(get("/", fields), 400).await;
    }
    // A folded first line.
    gateway.closes("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400).await;
}

#[tokio::test]
async fn blank_lines_before_a_request_are_passed_over() {
    let mut gateway = Gateway::new().await;
    gateway.forwards(&["\r\n\r\n", &get("/", "")].concat(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
}

#[tokio::test]
async fn lines_that_end_in_a_bare_line_feed_are_refused() {
    let mut gateway = Gateway::new().await;
    for head in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        gateway.closes(head, 400).await;
    }
}

// === Methods and targets ===

#[tokio::test]
async fn connect_and_trace_are_not_implemented() {
    let mut gateway = Gateway::new().await;
    gateway.closes("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501).await;
    gateway.refuses_and_keeps("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501).await;
}

#[tokio::test]
async fn other_methods_pass_known_or_not() {
    let mut gateway = Gateway::new().await;
    for method in ["PATCH", "PURGE", "get", "M-SEARCH"] {
        let wire = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        gateway.forwards(&wire, &wire.replace("Host", "host").replace("Content-Length", "content-length")).await;
    }
}

#[tokio::test]
async fn each_form_of_target_is_for_its_method() {
    let mut gateway = Gateway::new().await;
    gateway.refuses_and_keeps(&get("*", ""), 400).await;
    gateway.closes(get("a:443", ""), 400).await;
    gateway.forwards("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").await;
}

// === The path ===

#[tokio::test]
async fn the_normal_form_of_a_path_is_what_the_origin_receives() {
    let mut gateway = Gateway::new().await;
    for (target, sent) in [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e", "/"),
        ("//a///b//", "/a/b/"),
        ("/%61dmin", "/admin"),
        ("/a%3a", "/a%3A"),
        ("/%252e%252e/%252f", "/%252e%252e/%252f"),
        ("/a?x=/../%2e%2F//\\&%zz", "/a?x=/../%2e%2F//\\&%zz"),
    ] {
        gateway.forwards(&get(target, ""), &format!("GET {sent} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn an_ambiguous_path_is_refused_and_the_connection_kept() {
    let mut gateway = Gateway::new().await;
    for target in [
        "/..",
        "/../etc/passwd",
        "/a/../../b",
        "/%2e%2e/a",
        "/a/..;/b",
        "/a/.;x/b",
        "/a/%2e%2e;/b",
        "/;/a",
        "/a\\b",
        "/a%5Cb",
        "/a%00",
        "/a%0d%0aX:y",
        "/%",
        "/%2",
        "/%zz",
        "/%c0%ae%c0%ae/",
        "/a%2Fb",
        "/a%2fb",
        "/..%2Fa",
        "/caf\u{e9}",
    ] {
        gateway.refuses_and_keeps(&get(target, ""), 400).await;
    }
}

#[tokio::test]
async fn an_encoded_slash_that_is_kept_is_forwarded_as_it_is() {
    let keep = StrictLayer::new().encoded_slashes(EncodedSlashes::Keep);
    let mut gateway = Gateway::over(RawOrigin::answering(OK).await, |server| server, keep);
    gateway.forwards(&get("/a%2fb/%2F", ""), "GET /a%2Fb/%2F HTTP/1.1\r\nhost: a\r\n\r\n").await;
    gateway.refuses_and_keeps(&get("/a/..%2Fb", ""), 400).await;
}

#[tokio::test]
async fn a_refusal_names_the_request() {
    let gateway = Gateway::new().await;
    let answer = gateway.until_closed("GET / HTTP/1.1\r\n\r\n").await;
    let id = field(&answer, "x-request-id").unwrap();
    assert!(answer.ends_with(&format!("\"error\":\"bad_request\",\"request_id\":\"{id}\"}}")), "{answer}");
}

#[tokio::test]
async fn a_refusal_of_a_head_has_no_content_whatever_was_wrong_with_it() {
    let gateway = Gateway::with(|server| {
        server.max_header_bytes(4096).header_read_timeout(Duration::from_millis(200)).max_body_bytes(10)
    })
    .await;
    for (wire, status) in [
        ("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx".to_owned(), 400),
        ("\r\nHEAD / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), 400),
        ("HEAD / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n".to_owned(), 413),
        (format!("HEAD / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(4096)), 431),
        ("HEAD / HT".to_owned(), 408),
    ] {
        let answer = gateway.until_closed(wire.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{wire:?}: {answer}");
        assert_problem(&answer);
        assert!(answer.ends_with("\r\n\r\n") && answer.matches("\r\n\r\n").count() == 1, "{wire:?}: {answer}");
    }
}

#[tokio::test]
async fn a_refusal_that_no_layer_sees_has_an_id_too() {
    let ids = RequestIdLayer::new().header("x-id".parse().unwrap());
    let gateway = Gateway::with(|server| {
        server.refusal_ids(&ids).max_header_bytes(4096).header_read_timeout(Duration::from_millis(200))
    })
    .await;
    let mut seen = Vec::new();
    for (wire, status) in [
        (post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", ""), 400),
        ("GET /\r\n\r\n".to_owned(), 400),
        (get(&"/a".repeat(3000), ""), 414),
        (get("/", &format!("X: {}\r\n", "a".repeat(4096))), 431),
        ("GET / HT".to_owned(), 408),
    ] {
        let answer = gateway.until_closed(&wire).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let id = field(&answer, "x-id").unwrap_or_else(|| panic!("{answer}")).to_owned();
        assert!(answer.ends_with(&format!("\"request_id\":\"{id}\"}}")), "{answer}");
        assert!(field(&answer, "date").is_some(), "{answer}");
        assert!(!seen.contains(&id), "{id}");
        seen.push(id);
    }
    let off = Gateway::with(|server| server.refusal_ids(&ids.enabled(false))).await;
    let answer = off.until_closed("GET /\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("id"), "{answer}");
}

// === What is too long, or too slow ===

#[tokio::test]
async fn a_target_that_is_too_long_is_a_414() {
    let mut gateway = Gateway::with(|server| server.max_header_bytes(1 << 20)).await;
    gateway.closes(get(&format!("/{}", "a".repeat(65_534)), ""), 414).await;
    let mut gateway = Gateway::with(|server| server.max_header_bytes(4096)).await;
    for beyond in [0, 10_000, 100_000] {
        gateway.closes(get(&format!("/{}", "a".repeat(4096 + beyond)), ""), 414).await;
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_a_431() {
    let mut gateway = Gateway::with(|server| server.max_header_bytes(4096)).await;
    gateway.closes(get("/", &format!("X: {}\r\n", "a".repeat(4096))), 431).await;
    gateway.closes(get("/", &"X: y\r\n".repeat(101)), 431).await;
}

#[tokio::test]
async fn a_head_that_stops_is_a_408() {
    let gateway = Gateway::with(|server| server.header_read_timeout(Duration::from_millis(200))).await;
    let answer = gateway.until_closed("GET / HTTP/1.1\r\nHost").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_problem(&answer);
}

#[tokio::test]
async fn a_body_that_stops_is_a_408_and_never_taken_for_a_whole_one() {
    let (origin, mut told) = listening_origin().await;
    let impatient = |server: Server| server.body_read_timeout(Duration::from_millis(200));
    let gateway = Gateway::over(origin, impatient, StrictLayer::new());
    let answer = gateway.until_closed(post("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_problem(&answer);
    assert!(!told.recv().await.unwrap().contains("\r\n0\r\n"));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_a_413() {
    let mut gateway = Gateway::with(|server| server.max_body_bytes(4)).await;
    gateway.closes(post("Content-Length: 5\r\n", "12345"), 413).await;
    // Its head may be on its way by the time that it proves to be too long.
    let wire = post("Transfer-Encoding: chunked\r\n", "3\r\n123\r\n2\r\n45\r\n0\r\n\r\n");
    let answer = gateway.until_closed([wire.as_str(), SMUGGLED].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    assert!(gateway.origin.is_untouched(), "no whole request came");
}
