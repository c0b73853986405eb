//! What lasts over HTTP/2: WebSocket (RFC 8441) and server-sent events, through the proxy to origins of HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::Layer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::serve::{Server, ServerHandle};
use tower_gateway::strict::StrictLayer;
use tower_gateway::upstream::{Client, Upstream};

mod support;

use support::{PATIENCE, RawOrigin, field};

const SHORT: Duration = Duration::from_millis(500);

/// Strict, and a proxy behind it.
fn proxy(to: String) -> ServerHandle {
    let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1).write_timeout(SHORT);
    server
        .start(move |_| {
            let client = Client::new(Upstream::new([to.clone()]).unwrap());
            StrictLayer::new().layer(ProxyService::new(client))
        })
        .unwrap()
}

/// A WebSocket server that says again what it is told.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_close() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

async fn connect(server: &ServerHandle) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// Asks for a tunnel, once the server has said that it has them.
async fn open(client: &mut SendRequest<Bytes>, protocol: &'static str) -> (Response<RecvStream>, SendStream<Bytes>) {
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let request = Request::builder().method(Method::CONNECT).uri("http://gw.example/chat?room=1");
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
    let request = request.extension(Protocol::from_static(protocol)).body(()).unwrap();
    let (answer, send) = client.send_request(request, false).unwrap();
    (tokio::time::timeout(PATIENCE, answer).await.expect("no answer came").unwrap(), send)
}

async fn piece(body: &mut RecvStream) -> Bytes {
    let piece = tokio::time::timeout(PATIENCE, body.data()).await.expect("nothing came").unwrap().unwrap();
    body.flow_control().release_capacity(piece.len()).unwrap();
    piece
}

/// No more comes, but for the empty frame that says so.
async fn ends_now(body: &mut RecvStream) {
    while let Some(piece) = tokio::time::timeout(PATIENCE, body.data()).await.expect("it goes on") {
        assert_eq!(piece.unwrap(), "");
    }
}

/// A text message, with a mask of nothing.
fn text(text: &str) -> Bytes {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat().into()
}

#[tokio::test]
async fn websocket_passes_to_an_origin_of_http_1_1() {
    let server = proxy(format!("http://{}", echo().await));
    let mut client = connect(&server).await;
    let (answer, mut send) = open(&mut client, "websocket").await;
    assert_eq!(answer.status(), 200);
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let mut body = answer.into_body();
    for word in ["hello", "again"] {
        send.send_data(text(word), false).unwrap();
        assert_eq!(piece(&mut body).await, [&[0x81, 5], word.as_bytes()].concat());
    }
    // The connection carries other requests meanwhile.
    let (_other, _) = client.send_request(Request::get("http://gw.example/").body(()).unwrap(), true).unwrap();
    send.send_data(text("still"), false).unwrap();
    assert_eq!(piece(&mut body).await, [&[0x81, 5], &b"still"[..]].concat());
}

#[tokio::test]
async fn the_origin_is_asked_as_by_any_other_client_and_may_refuse() {
    let mut origin = RawOrigin::answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nno\r\n").await;
    let server = proxy(origin.url());
    let mut client = connect(&server).await;
    let (answer, _send) = open(&mut client, "websocket").await;
    assert_eq!(answer.status(), 403);
    assert_eq!(piece(&mut answer.into_body()).await, "no\r\n");
    let received = origin.received().await;
    assert!(received.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{received}");
    assert_eq!(field(&received, "upgrade"), Some("websocket"));
    assert_eq!(field(&received, "connection"), Some("upgrade"));
    assert_eq!(field(&received, "sec-websocket-protocol"), Some("chat"));
    assert_eq!(field(&received, "sec-websocket-key").map(str::len), Some(24));
    assert_eq!(field(&received, "x-forwarded-host"), Some("gw.example"));
}

#[tokio::test]
async fn no_other_tunnel_is_opened() {
    let mut origin = RawOrigin::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let server = proxy(origin.url());
    let mut client = connect(&server).await;
    for protocol in ["connect-udp", "websocket2", ""] {
        assert_eq!(open(&mut client, protocol).await.0.status(), 501, "{protocol:?}");
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn a_tunnel_ends_when_either_side_leaves_and_at_the_latest_with_the_servers_grace() {
    let mut ends = RawOrigin::scripted(|mut connection| async move {
        let request = connection.head().await.unwrap();
        let accept = derive_accept_key(field(&request, "sec-websocket-key").unwrap().as_bytes());
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
        connection.send(format!("{head}sec-websocket-accept: {accept}\r\n\r\nbye")).await;
    })
    .await;
    let server = proxy(ends.url());
    let mut client = connect(&server).await;
    let (answer, mut send) = open(&mut client, "websocket").await;
    let mut body = answer.into_body();
    assert_eq!(piece(&mut body).await, "bye");
    ends_now(&mut body).await;
    send.send_data(Bytes::new(), true).unwrap();
    ends.received().await;

    let server = proxy(format!("http://{}", echo().await));
    let mut client = connect(&server).await;
    let (answer, _send) = open(&mut client, "websocket").await;
    assert_eq!(answer.status(), 200);
    let drained = server.drain(SHORT).await;
    assert_eq!((drained.finished, drained.aborted), (0, 1));
}

#[tokio::test]
async fn a_drain_tells_a_client_that_the_server_goes_away_and_its_answer_ends_the_tunnel() {
    let server = proxy(format!("http://{}", echo().await));
    let mut client = connect(&server).await;
    let (answer, mut send) = open(&mut client, "websocket").await;
    let mut body = answer.into_body();
    send.send_data(text("hello"), false).unwrap();
    assert_eq!(piece(&mut body).await, [&[0x81, 5], &b"hello"[..]].concat());
    let drained = tokio::spawn(server.drain(PATIENCE * 2));
    assert_eq!(piece(&mut body).await, [0x88, 2, 3, 0xe9][..]);
    send.send_data(vec![0x88, 0x82, 0, 0, 0, 0, 3, 0xe9].into(), false).unwrap();
    ends_now(&mut body).await;
    send.send_data(Bytes::new(), true).unwrap();
    let drained = tokio::time::timeout(PATIENCE, drained).await.expect("it waits for its grace").unwrap();
    assert_eq!((drained.finished, drained.aborted), (1, 0));
}

#[tokio::test]
async fn each_event_is_there_before_the_next_is_sent_by_either_protocol() {
    let next = Arc::new(Semaphore::new(0));
    let gate = next.clone();
    let origin = RawOrigin::scripted(move |mut connection| {
        let gate = gate.clone();
        async move {
            connection.head().await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            connection.send(head).await;
            for number in 0..5 {
                connection.send(format!("9\r\ndata: {number}\n\n\r\n")).await;
                gate.acquire().await.unwrap().forget();
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await;
    let server = proxy(origin.url());
    let mut client = connect(&server).await;
    let (answer, _) = client.send_request(Request::get("http://gw.example/events").body(()).unwrap(), true).unwrap();
    let mut events = answer.await.unwrap().into_body();
    for number in 0..5 {
        assert_eq!(piece(&mut events).await, format!("data: {number}\n\n"));
        // Longer than a client may leave an answer unread: there is nothing to read.
        tokio::time::sleep(SHORT / 2).await;
        next.add_permits(1);
    }
    ends_now(&mut events).await;

    let mut stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut received = String::new();
    for number in 0..5 {
        while !received.contains(&format!("data: {number}\n\n")) {
            let mut bytes = [0; 1024];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("an event is held back");
            received.push_str(std::str::from_utf8(&bytes[..read.unwrap()]).unwrap());
        }
        assert!(!received.contains(&format!("data: {}", number + 1)));
        next.add_permits(1);
    }
}
