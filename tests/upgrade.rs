//! WebSocket through a gateway: a real client, a real server, and raw sockets where these are too polite.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use support::{PATIENCE, RawOrigin, field};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async_with_config};
use tower_gateway::proxy::{ProxyService, Timeouts};
use tower_gateway::serve::{Server, ServerHandle};
use tower_gateway::upstream::{Client, Upstream};

const SHORT: Duration = Duration::from_millis(300);
const LARGE: usize = 10 << 20;

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

// === Both gateways: one in this process, one as a process of its own ===

struct InProcess {
    handle: ServerHandle,
    upstream: Upstream,
}

impl InProcess {
    fn new(origin: SocketAddr, timeouts: Timeouts) -> Self {
        let upstream = Upstream::new([format!("http://{origin}")]).unwrap();
        let shared = upstream.clone();
        let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1);
        let server = server.header_read_timeout(SHORT * 2).keep_alive_timeout(SHORT * 2).write_timeout(SHORT * 2);
        let proxy = move |_| ProxyService::new(Client::new(shared.clone())).timeouts(timeouts);
        Self { handle: server.start(proxy).unwrap(), upstream }
    }

    fn address(&self) -> SocketAddr {
        self.handle.local_addrs()[0]
    }

    fn connect(&self) -> TcpStream {
        connect(self.address())
    }

    /// Waits until nothing is held any more: neither a connection nor a place at the origin.
    async fn emptied(&self) {
        let started = Instant::now();
        while self.handle.stats().open > 0 || self.upstream.servers()[0].in_flight() > 0 {
            assert!(started.elapsed() < PATIENCE, "something is held");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        drop(self.handle.drain(Duration::ZERO));
    }
}

/// The example gateway, stopped when it is dropped.
struct Example {
    process: Child,
    address: SocketAddr,
}

impl Example {
    fn new(origin: SocketAddr, more: &str) -> Self {
        Self::with_grace(origin, "300ms", more)
    }

    fn with_grace(origin: SocketAddr, grace: &str, more: &str) -> Self {
        let test = std::env::current_exe().unwrap();
        let binary = test.parent().and_then(Path::parent).unwrap().join("examples/gateway");
        assert!(binary.exists(), "no gateway to test: cargo build --example gateway");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        let config = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nwrite_timeout = \"300ms\"\nshutdown_grace = \"{grace}\"\n\
             [upstreams.o]\nservers = [\"http://{origin}\"]\n[routes.all]\npath = \"/\"\nupstream = \"o\"\n{more}"
        );
        std::fs::write(&file, config).unwrap();
        let mut process = Command::new(binary).arg("--config").arg(&file).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the gateway stopped before it listened").unwrap();
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse().unwrap();
            }
        };
        Self { process, address }
    }

    /// The most memory the process has had so far, in KiB.
    #[cfg(target_os = "linux")]
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// === A real client and a real server ===

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

fn large_messages() -> WebSocketConfig {
    WebSocketConfig::default().max_frame_size(None).max_message_size(None)
}

/// Echoes text and binary; `close` makes it close, `reset` makes it vanish.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = accept_async_with_config(stream, Some(large_messages())).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    let text = message.to_text().unwrap_or_default();
                    if text == "close" {
                        let frame = CloseFrame { code: CloseCode::Away, reason: "as asked".into() };
                        let _ = socket.close(Some(frame)).await;
                    } else if text == "reset" {
                        let _ = socket.get_ref().set_zero_linger();
                        return;
                    } else if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

async fn open(gateway: SocketAddr) -> Socket {
    let url = format!("ws://{gateway}/chat?room=7");
    let connecting = tokio_tungstenite::connect_async_with_config(url, Some(large_messages()), false);
    tokio::time::timeout(PATIENCE, connecting).await.expect("no handshake").unwrap().0
}

async fn next(socket: &mut Socket) -> Option<Result<Message, Error>> {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("nothing came")
}

async fn echoes(socket: &mut Socket, message: Message) {
    socket.send(message.clone()).await.unwrap();
    assert!(next(socket).await.unwrap().unwrap() == message);
}

async fn speaks_websocket(gateway: SocketAddr) {
    let mut socket = open(gateway).await;
    echoes(&mut socket, Message::text("Grüße")).await;
    echoes(&mut socket, Message::binary(vec![0, 255, 7])).await;
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::Pong("are you there".into()));

    // Longer than the timeouts of the server that received the handshake.
    tokio::time::sleep(SHORT * 3).await;
    echoes(&mut socket, Message::text("still there")).await;

    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    socket.close(Some(frame.clone())).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::Close(Some(frame)));
    assert!(next(&mut socket).await.is_none());

    let mut socket = open(gateway).await;
    socket.send(Message::text("close")).await.unwrap();
    let frame = CloseFrame { code: CloseCode::Away, reason: "as asked".into() };
    assert_eq!(next(&mut socket).await.unwrap().unwrap(), Message::Close(Some(frame)));
    assert!(next(&mut socket).await.is_none());

    let mut socket = open(gateway).await;
    socket.send(Message::text("reset")).await.unwrap();
    assert!(matches!(next(&mut socket).await, None | Some(Err(_))), "the origin is gone, and nobody says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_and_a_server_talk_through_the_layers() {
    let gateway = InProcess::new(echo_server().await, Timeouts::default().response_head(SHORT * 2).total(SHORT * 2));
    speaks_websocket(gateway.address()).await;
    gateway.emptied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_and_a_server_talk_through_the_example() {
    let example = Example::new(echo_server().await, "timeouts = { total = \"600ms\", upgrade_idle = \"1m\" }\n");
    speaks_websocket(example.address).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn large_messages_pass_a_slow_reader_in_bounded_memory() {
    let example = Example::new(echo_server().await, "");
    let mut socket = open(example.address).await;
    echoes(&mut socket, Message::text("warm")).await;
    let before = example.peak_memory();
    let (mut sender, mut receiver) = socket.split();
    let message = Message::binary((0..LARGE).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let sent = message.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..3 {
            sender.send(sent.clone()).await.unwrap();
        }
        sender
    });
    // Nobody reads, for longer than the timeout on writes of the server that received the handshake.
    tokio::time::sleep(SHORT * 3).await;
    for _ in 0..3 {
        let echoed = tokio::time::timeout(PATIENCE, receiver.next()).await.expect("nothing came");
        assert!(echoed.unwrap().unwrap() == message);
    }
    drop(sending.await.unwrap());
    let after = example.peak_memory();
    assert!(after < before + 2048, "{before} KiB, then {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_is_told_to_the_origin() {
    let gateway = InProcess::new(echo_server().await, Timeouts::default());
    let mut socket = open(gateway.address()).await;
    echoes(&mut socket, Message::text("here")).await;
    assert_eq!((gateway.handle.stats().open, gateway.upstream.servers()[0].in_flight()), (1, 1));
    let MaybeTlsStream::Plain(stream) = socket.get_ref() else { panic!("no TLS was asked for") };
    stream.set_zero_linger().unwrap();
    drop(socket);
    gateway.emptied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_tunnel_on_both_sides() {
    let gateway = InProcess::new(echo_server().await, Timeouts::default().upgrade_idle(SHORT * 5));
    let mut socket = open(gateway.address()).await;
    let mut silent_since = Instant::now();
    for _ in 0..7 {
        tokio::time::sleep(SHORT).await;
        silent_since = Instant::now();
        echoes(&mut socket, Message::text("not yet")).await;
    }
    assert!(matches!(next(&mut socket).await, None | Some(Err(_))));
    assert!(silent_since.elapsed() >= SHORT * 5);
    gateway.emptied().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_clients_that_the_server_goes_away_and_waits_no_longer_than_its_grace() {
    let gateway = InProcess::new(echo_server().await, Timeouts::default());
    let mut answers = open(gateway.address()).await;
    // One that reads nothing, and so does not answer.
    let mut silent = gateway.connect();
    silent.write_all(HANDSHAKE.as_bytes()).unwrap();
    head(&mut silent);
    let drained = tokio::spawn(gateway.handle.drain(SHORT * 8));
    is_told(&mut answers).await;
    drop(answers);
    let drained = drained.await.unwrap();
    assert_eq!((drained.finished, drained.aborted), (1, 1));
    let mut told = Vec::new();
    let _ = silent.read_to_end(&mut told);
    assert_eq!(told, [0x88, 2, 3, 0xe9]);
}

/// The client is told that the server goes away, and sees the end once it has answered.
async fn is_told(socket: &mut Socket) {
    match next(socket).await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("{other:?}"),
    }
    assert!(next(socket).await.is_none());
}

/// Tells of every Close frame that came to it, and what came before.
async fn telling_server() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut socket = accept_async_with_config(stream, None).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    let _ = tell.send(message);
                }
            });
        }
    });
    (address, told)
}

async fn terminate(example: &mut Example) {
    let kill = Command::new("kill").arg(example.process.id().to_string()).status();
    assert!(kill.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_tells_both_sides_when_it_stops_and_then_needs_no_grace() {
    let (origin, mut told) = telling_server().await;
    let mut example = Example::with_grace(origin, "30s", "");
    let mut sockets = [open(example.address).await, open(example.address).await];
    for socket in &mut sockets {
        socket.send(Message::text("before")).await.unwrap();
        assert_eq!(told.recv().await, Some(Message::text("before")));
    }
    let asked = Instant::now();
    terminate(&mut example).await;
    for socket in &mut sockets {
        // What is said before the client has read that it is the end arrives.
        socket.send(Message::text("last")).await.unwrap();
        is_told(socket).await;
    }
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap());
    }
    let away = |message: &&Message| matches!(message, Message::Close(Some(frame)) if frame.code == CloseCode::Away);
    assert_eq!((heard.iter().filter(|message| message.is_text()).count(), heard.iter().filter(away).count()), (2, 2));
    assert!(example.process.wait().unwrap().success());
    assert!(asked.elapsed() < PATIENCE, "it waited for its grace");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_stops_within_its_grace_though_a_client_does_not_answer() {
    let (origin, mut told) = telling_server().await;
    let mut example = Example::with_grace(origin, "600ms", "");
    let mut silent = connect(example.address);
    silent.write_all(HANDSHAKE.as_bytes()).unwrap();
    head(&mut silent);
    let asked = Instant::now();
    terminate(&mut example).await;
    // The origin is told for it.
    let close = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    assert!(matches!(close, Message::Close(Some(frame)) if frame.code == CloseCode::Away));
    assert!(asked.elapsed() >= SHORT, "the client was given no time");
    example.process.wait().unwrap();
    assert!(asked.elapsed() >= SHORT * 2, "cut before its grace");
    assert!(asked.elapsed() < PATIENCE);
    let mut bytes = Vec::new();
    let _ = silent.read_to_end(&mut bytes);
    assert_eq!(bytes, [0x88, 2, 3, 0xe9]);
}

// === Raw sockets ===

fn connect(gateway: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The head of an answer, in the case it came in.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the head breaks off");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// Sends `request` to a gateway whose origin answers all with `answer`. The head that the origin received, and all that
/// the client was sent.
async fn exchange(request: String, answer: &'static str) -> (String, String) {
    let mut origin = RawOrigin::scripted(move |mut connection| async move {
        connection.request().await;
        connection.send(answer).await;
        connection.closed().await;
    })
    .await;
    let gateway = InProcess::new(origin.address, Timeouts::default());
    let answered = tokio::task::spawn_blocking({
        let mut client = gateway.connect();
        move || {
            client.write_all(request.as_bytes()).unwrap();
            let head = head(&mut client);
            client.shutdown(Shutdown::Write).unwrap();
            head + &rest(&mut client)
        }
    });
    let received = origin.received().await;
    let answered = answered.await.unwrap();
    gateway.emptied().await;
    (received, answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_keeps_its_fields_and_gets_a_connection_of_our_own() {
    let (received, answered) = exchange(HANDSHAKE.replace("\r\n\r\n", "\r\nTE: trailers\r\n\r\n"), SWITCHED).await;
    assert!(received.starts_with("GET /chat HTTP/1.1\r\n"));
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ] {
        assert_eq!(field(&received, name), Some(value), "{name}");
    }
    assert_eq!(received.matches("onnection:").count(), 1, "{received}");
    assert_eq!((field(&received, "te"), field(&received, "content-length")), (None, None));
    assert_eq!(status(&answered), "101");
    assert_eq!(field(&answered, "connection"), Some("upgrade"));
    assert_eq!(field(&answered, "upgrade"), Some("websocket"));
    assert_eq!(field(&answered, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(field(&answered, "content-length"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_early_are_not_lost_either_way() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        connection.request().await;
        tokio::time::sleep(SHORT / 2).await;
        connection.send(format!("{SWITCHED}from the origin")).await;
        let mut early = [0; 15];
        connection.read_exact(&mut early).await;
        connection.send(early).await;
    })
    .await;
    let gateway = InProcess::new(origin.address, Timeouts::default());
    let mut client = gateway.connect();
    client.write_all(format!("{HANDSHAKE}from the ").as_bytes()).unwrap();
    tokio::time::sleep(SHORT / 4).await;
    client.write_all(b"client").unwrap();
    assert_eq!(status(&head(&mut client)), "101");
    assert_eq!(read(&mut client, 15), "from the origin");
    assert_eq!(read(&mut client, 15), "from the client");
    assert_eq!(rest(&mut client), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_handshake_is_an_answer_like_any_other() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        while let Some(request) = connection.request().await {
            let status = if request.contains("upgrade") { "403 Forbidden" } else { "200 OK" };
            connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno")).await;
        }
    })
    .await;
    let gateway = InProcess::new(origin.address, Timeouts::default());
    let mut client = gateway.connect();
    for (request, expected) in [(HANDSHAKE, "403"), ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200"), (HANDSHAKE, "403")] {
        client.write_all(request.as_bytes()).unwrap();
        assert_eq!(status(&head(&mut client)), expected);
        assert_eq!(read(&mut client, 2), "no");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_protocol_is_asked_for() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let request = |line: &str, fields: &str| format!("{line}\r\nHost: a\r\n{fields}\r\n\r\n");
    for request in [
        request("GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ"),
        request("GET / HTTP/1.1", "Upgrade: websocket"),
        request("GET / HTTP/1.1", "Connection: upgrade"),
        request("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket, h2c"),
        request("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c"),
        request("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket"),
        request(
            "GET / HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        request("GET / HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket"),
        request("POST / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket"),
        request("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2") + "ok",
    ] {
        let (received, answered) = exchange(request.clone(), OK).await;
        for name in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(field(&received, name), None, "{request}");
        }
        assert!(status(&answered) == "200" && answered.ends_with("ok"), "{answered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_101_that_was_not_asked_for_is_a_502() {
    const NO_CONNECTION: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    const OTHER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    const OLD: &str = "HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    for (request, answer) in
        [(get, SWITCHED), (get, OTHER), (h2c, OTHER), (HANDSHAKE, OTHER), (HANDSHAKE, NO_CONNECTION), (HANDSHAKE, OLD)]
    {
        let (_, answered) = exchange(request.to_owned(), answer).await;
        assert_eq!(status(&answered), "502", "{request}{answer}");
        assert!(answered.contains("\"error\":\"upstream_invalid_response\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_101_that_does_not_answer_the_key_is_a_502() {
    const NONE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    const OTHER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n\r\n";
    const TWO: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for answer in [NONE, OTHER, TWO] {
        let (_, answered) = exchange(HANDSHAKE.to_owned(), answer).await;
        assert_eq!(status(&answered), "502", "{answer}");
        assert!(answered.contains("\"error\":\"upstream_invalid_response\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_has_ended_may_still_be_answered() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        connection.request().await;
        connection.send(SWITCHED).await;
        connection.closed().await;
        connection.send("last words").await;
    })
    .await;
    let gateway = InProcess::new(origin.address, Timeouts::default());
    let mut client = gateway.connect();
    client.write_all(HANDSHAKE.as_bytes()).unwrap();
    head(&mut client);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), "last words");
    gateway.emptied().await;
}
