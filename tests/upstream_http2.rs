//! Servers that speak HTTP/2, some of them badly.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_gateway::proxy::ProxyService;
use tower_gateway::serve::Server;
use tower_gateway::upstream::{Client, HealthCheck, OriginBody, Protocol, Upstream, UpstreamBuilder};
use tower_gateway::{UpstreamError, UpstreamErrorKind};

mod support;

use support::frames::{
    DATA, END_HEADERS, END_STREAM, Frame as RawFrame, GOAWAY, HEADERS, PREFACE, RST_STREAM, RawClient, SETTINGS,
};
use support::{Nobody, PATIENCE, RawOrigin};

const SHORT: Duration = Duration::from_millis(500);

// === Origins ===

/// An origin over h2, and how many connections it has had.
#[derive(Clone)]
struct Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// `/gated` waits for a permit.
    gate: Arc<Semaphore>,
    resets: Arc<AtomicUsize>,
}

impl Origin {
    async fn start(max_streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, gate, resets) = (Arc::default(), Arc::new(Semaphore::new(0)), Arc::default());
        let origin = Self { address, connections, gate, resets };
        let own = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own.connections.fetch_add(1, Ordering::SeqCst);
                let own = own.clone();
                tokio::spawn(async move {
                    let handshake = h2::server::Builder::new().max_concurrent_streams(max_streams).handshake(stream);
                    let mut connection = handshake.await.unwrap();
                    while let Some(Ok((request, reply))) = connection.accept().await {
                        if request.uri().path() == "/base/goodbye" {
                            connection.graceful_shutdown();
                        }
                        tokio::spawn(own.clone().answer(request, reply));
                    }
                });
            }
        });
        origin
    }

    async fn answer(self, request: Request<RecvStream>, mut reply: SendResponse<Bytes>) {
        let (parts, mut body) = request.into_parts();
        match parts.uri.path().trim_start_matches("/base") {
            "/gated" => self.gate.acquire().await.unwrap().forget(),
            "/reset" => return reply.send_reset(Reason::CANCEL),
            "/refuse" => return reply.send_reset(Reason::REFUSED_STREAM),
            "/early" => {
                let mut send = reply.send_response(Response::new(()), false).unwrap();
                return send.send_data(Bytes::from_static(b"enough"), true).unwrap();
            }
            "/hints" => {
                let link = HeaderValue::from_static("</a>");
                reply
                    .send_informational(Response::builder().status(103).header("link", link).body(()).unwrap())
                    .unwrap();
            }
            "/large" => {
                let mut send = reply.send_response(Response::new(()), false).unwrap();
                for _ in 0..64 {
                    send.reserve_capacity(64 << 10);
                    let mut left = 64 << 10;
                    while left > 0 {
                        let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else {
                            self.resets.fetch_add(1, Ordering::SeqCst);
                            return;
                        };
                        let piece = room.min(left);
                        left -= piece;
                        send.send_data(vec![b'x'; piece].into(), false).unwrap();
                    }
                }
                return send.send_data(Bytes::new(), true).unwrap();
            }
            _ => {}
        }
        let mut received = Vec::new();
        while let Some(Ok(piece)) = body.data().await {
            body.flow_control().release_capacity(piece.len()).unwrap();
            received.extend_from_slice(&piece);
        }
        let trailers = body.trailers().await.ok().flatten();
        let mut head = format!("{} {}\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            head += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let text = [head.as_bytes(), &received].concat();
        let length = text.len();
        let answer = Response::builder().header("content-length", length).body(()).unwrap();
        let is_head = parts.method == http::Method::HEAD;
        let Ok(mut send) = reply.send_response(answer, is_head) else { return };
        if is_head {
            return;
        }
        let _ = send.send_data(text.into(), trailers.is_none());
        if let Some(trailers) = trailers {
            let _ = send.send_trailers(trailers);
        }
    }

    fn client(&self, change: impl FnOnce(UpstreamBuilder) -> UpstreamBuilder) -> Client {
        client(self.address, change)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn client(address: SocketAddr, change: impl FnOnce(UpstreamBuilder) -> UpstreamBuilder) -> Client {
    let builder = Upstream::builder().server(format!("http://{address}/base"), 1).protocol(Protocol::Http2);
    Client::new(change(builder).build().unwrap())
}

/// An origin that is a script for each connection, frame by frame.
fn scripted(script: impl Fn(usize, &mut RawClient) + Send + Sync + 'static) -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let script = script.clone();
            std::thread::spawn(move || {
                let mut peer = RawClient { stream: stream.unwrap() };
                let mut preface = [0; 24];
                std::io::Read::read_exact(&mut peer.stream, &mut preface).unwrap();
                assert_eq!(preface, PREFACE);
                peer.frame(SETTINGS, 0, 0, b"");
                script(number, &mut peer);
            });
        }
    });
    address
}

/// The next frame of a kind.
fn next(peer: &mut RawClient, kind: u8) -> Option<RawFrame> {
    loop {
        let frame = peer.read()?;
        if frame.kind == kind {
            return Some(frame);
        }
    }
}

const OK: &[u8] = &[0x88];

// === Calls ===

async fn send<B>(client: &Client, request: Request<B>) -> Result<Response<OriginBody>, UpstreamError>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    tokio::time::timeout(PATIENCE, client.clone().oneshot(request)).await.expect("no answer came")
}

async fn get(client: &Client, path: &str) -> Result<String, UpstreamError> {
    let answer = send(client, Request::get(path).body(Empty::new()).unwrap()).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

fn kind<T: std::fmt::Debug>(result: Result<T, UpstreamError>) -> UpstreamErrorKind {
    result.unwrap_err().kind()
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn in_pieces(trailers: Option<HeaderMap>) -> impl Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let frames = [Frame::data(Bytes::from_static(b"one, ")), Frame::data(Bytes::from_static(b"two"))];
    let frames = frames.into_iter().chain(trailers.map(Frame::trailers)).map(Ok);
    StreamBody::new(futures_util::stream::iter(frames))
}

// === What is sent and received ===

#[tokio::test]
async fn requests_at_once_share_one_connection() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let answers = join_all((0..50).map(|_| get(&client, "/a?b"))).await;
    let expected = format!("GET http://{}/base/a?b\n", origin.address);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == expected));
    assert_eq!(origin.connections(), 1);
    assert_eq!(client.upstream().servers()[0].in_flight(), 0);
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways_with_their_length() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let request = Request::put("/a").header("host", "users.internal").body(Full::from("known")).unwrap();
    let answer = send(&client, request).await.unwrap();
    let body = answer.body().size_hint().exact();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "PUT http://users.internal/base/a\ncontent-length: 5\nknown");
    assert_eq!(body, Some(text.len() as u64));

    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
    let request = Request::post("/a").body(in_pieces(Some(trailers))).unwrap();
    let answer = send(&client, request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["x-sum"], "7");
    assert!(answer.to_bytes().ends_with(b"/base/a\none, two"));

    let head = Request::head("/a").body(Empty::new()).unwrap();
    let answer = send(&client, head).await.unwrap();
    assert!(answer.headers()["content-length"] != "0");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "");
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_sent() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let endless = StreamBody::new(futures_util::stream::repeat_with(|| Ok(Frame::data(Bytes::from(vec![0; 1 << 14])))));
    let answer = send(&client, Request::post("/early").body(endless).unwrap()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "enough");
    assert!(get(&client, "/a").await.is_ok());
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_reader_that_is_slow_holds_back_its_own_answer_and_no_other() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let slow = send(&client, Request::get("/large").body(Empty::new()).unwrap()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(get(&client, "/large").await.unwrap().len(), 4 << 20);
    }
    assert_eq!(slow.into_body().collect().await.unwrap().to_bytes().len(), 4 << 20);
    let dropped = send(&client, Request::get("/large").body(Empty::new()).unwrap()).await.unwrap();
    drop(dropped);
    eventually(|| origin.resets.load(Ordering::SeqCst) == 1).await;
    assert_eq!(origin.connections(), 1);
}

// === Which connection ===

#[tokio::test]
async fn as_many_at_once_as_the_server_takes_and_then_another_connection() {
    let origin = Origin::start(2).await;
    let client = origin.client(|builder| builder.max_connections_per_server(3).queue_timeout(SHORT * 4));
    get(&client, "/a").await.unwrap();
    let gated: Vec<_> = (0..6)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { get(&client, "/gated").await })
        })
        .collect();
    eventually(|| origin.connections() == 3).await;
    eventually(|| client.upstream().servers()[0].in_flight() == 6).await;
    assert_eq!(kind(get(&client, "/a").await), UpstreamErrorKind::Overloaded);
    origin.gate.add_permits(6);
    for answer in gated {
        answer.await.unwrap().unwrap();
    }
    get(&client, "/a").await.unwrap();
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn a_request_that_waits_has_the_room_of_the_next_that_ends() {
    let origin = Origin::start(1).await;
    let client = origin.client(|builder| builder.max_connections_per_server(1).queue_timeout(PATIENCE));
    get(&client, "/a").await.unwrap();
    let answers = join_all((0..20).map(|_| get(&client, "/a"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn another_client_gets_the_connection_that_one_does_not_use() {
    let origin = Origin::start(100).await;
    let one = origin.client(|builder| builder.max_connections_per_server(1));
    let two = Client::new(one.upstream().clone());
    for client in [&one, &two, &one, &two] {
        get(client, "/a").await.unwrap();
    }
    assert_eq!(origin.connections(), 4);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder.keep_alive_timeout(SHORT * 4));
    get(&client, "/a").await.unwrap();
    get(&client, "/a").await.unwrap();
    assert_eq!(origin.connections(), 1);
    tokio::time::sleep(SHORT * 5).await;
    get(&client, "/a").await.unwrap();
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_reload_goes_on_over_the_connection_that_is_there() {
    let origin = Origin::start(100).await;
    let old = origin.client(|builder| builder);
    let gated = tokio::spawn({
        let old = old.clone();
        async move { get(&old, "/gated").await }
    });
    eventually(|| origin.connections() == 1).await;
    let upstream = Upstream::builder().server(format!("http://{}/base", origin.address), 1);
    let upstream = upstream.protocol(Protocol::Http2).adopt(old.upstream()).build().unwrap();
    let new = Client::new(upstream).adopt(&old);
    get(&new, "/a").await.unwrap();
    get(&old, "/a").await.unwrap();
    drop(old);
    origin.gate.add_permits(1);
    gated.await.unwrap().unwrap();
    assert_eq!(origin.connections(), 1);
}

// === Faults ===

#[tokio::test]
async fn a_stream_that_is_reset_is_that_requests_error_alone() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let gated = tokio::spawn({
        let client = client.clone();
        async move { get(&client, "/gated").await }
    });
    assert_eq!(kind(get(&client, "/reset").await), UpstreamErrorKind::Reset);
    origin.gate.add_permits(1);
    gated.await.unwrap().unwrap();
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_server_that_goes_away_finishes_what_it_has_and_costs_nobody_anything() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let gated = tokio::spawn({
        let client = client.clone();
        async move { get(&client, "/gated").await }
    });
    eventually(|| origin.connections() == 1).await;
    get(&client, "/goodbye").await.unwrap();
    for _ in 0..20 {
        get(&client, "/a").await.unwrap();
    }
    origin.gate.add_permits(1);
    gated.await.unwrap().unwrap();
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn what_a_server_says_it_has_not_seen_is_sent_again_whatever_it_is() {
    for refuse in [RST_STREAM, GOAWAY] {
        let address = scripted(move |number, peer| {
            while let Some(head) = next(peer, HEADERS) {
                if number == 0 && refuse == GOAWAY {
                    peer.frame(GOAWAY, 0, 0, &[0; 8]);
                } else if number == 0 && head.stream == 1 {
                    peer.frame(RST_STREAM, 0, 1, &7_u32.to_be_bytes());
                } else {
                    peer.frame(HEADERS, END_HEADERS | END_STREAM, head.stream, OK);
                }
            }
        });
        let client = client(address, |builder| builder);
        let post = Request::post("/a").body(Empty::new()).unwrap();
        assert_eq!(send(&client, post).await.unwrap().status(), 200, "after frame {refuse}");
    }
}

#[tokio::test]
async fn a_request_that_is_refused_again_and_again_is_refused() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let error = get(&client, "/refuse").await.unwrap_err();
    assert_eq!((error.kind(), error.kind().status()), (UpstreamErrorKind::Refused, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn what_a_server_may_have_seen_is_not_sent_again() {
    let heads = Arc::new(AtomicUsize::new(0));
    let seen = heads.clone();
    let address = scripted(move |_, peer| {
        while next(peer, HEADERS).is_some() {
            // The connection ends without a word.
            if seen.fetch_add(1, Ordering::SeqCst) == 0 {
                return;
            }
        }
    });
    let client = client(address, |builder| builder);
    assert_eq!(kind(get(&client, "/a").await), UpstreamErrorKind::Reset);
    assert_eq!(heads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_is_gone_without_a_word_is_found_out() {
    let address = scripted(|number, peer| {
        let head = next(peer, HEADERS).unwrap();
        if number > 0 {
            peer.frame(HEADERS, END_HEADERS | END_STREAM, head.stream, OK);
        }
        // Nothing is answered, a PING neither.
        while peer.read().is_some() {}
    });
    let client = client(address, |builder| builder.ping(SHORT, SHORT));
    let start = Instant::now();
    assert_eq!(kind(get(&client, "/a").await), UpstreamErrorKind::Reset);
    assert!(start.elapsed() < PATIENCE / 2);
    get(&client, "/a").await.unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_none_is_told_apart() {
    let truncated = scripted(|_, peer| {
        next(peer, HEADERS).unwrap();
        peer.frame(HEADERS, END_HEADERS, 1, OK);
        peer.frame(DATA, 0, 1, b"half");
    });
    assert_eq!(kind(get(&client(truncated, |builder| builder), "/a").await), UpstreamErrorKind::Truncated);
    let malformed = scripted(|_, peer| {
        next(peer, HEADERS).unwrap();
        peer.frame(HEADERS, END_HEADERS, 1, &[OK, &[0, 1, b'x', 2, b' ', b'y']].concat());
        while peer.read().is_some() {}
    });
    assert_eq!(kind(get(&client(malformed, |builder| builder), "/a").await), UpstreamErrorKind::InvalidResponse);
    let mut old = RawOrigin::scripted(|mut connection| async move {
        connection.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        connection.closed().await;
    })
    .await;
    assert_eq!(kind(get(&client(old.address, |builder| builder), "/a").await), UpstreamErrorKind::Connect);
    assert!(old.is_untouched());
    let nobody = Nobody::new();
    let refused = client(nobody.address, |builder| builder);
    let answers = join_all((0..10).map(|_| get(&refused, "/a"))).await;
    assert!(answers.into_iter().all(|answer| kind(answer) == UpstreamErrorKind::Connect));
}

#[tokio::test]
async fn a_health_check_speaks_it_too() {
    let origin = Origin::start(100).await;
    let client = origin.client(|builder| builder);
    let check = HealthCheck::http("/a".parse().unwrap()).interval(Duration::from_millis(20)).unhealthy_after(1);
    client.upstream().start_health_checks(&check, &tokio::runtime::Handle::current());
    eventually(|| origin.connections() >= 3).await;
    assert!(client.upstream().servers()[0].passes_checks());
}

// === Through a proxy ===

#[tokio::test]
async fn either_protocol_is_proxied_to_either_with_trailers_hints_and_length() {
    let http2 = Origin::start(100).await;
    let mut http1 = RawOrigin::answering(concat!(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"
    ))
    .await;
    let (to_http2, to_http1) = (format!("http://{}", http2.address), http1.url());
    let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1);
    let server = server
        .start(move |_| {
            let new = Upstream::builder().server(to_http2.clone(), 1).protocol(Protocol::Http2).build().unwrap();
            let old = Upstream::new([to_http1.clone()]).unwrap();
            let (new, old) = (ProxyService::new(Client::new(new)), ProxyService::new(Client::new(old)));
            tower::service_fn(move |request: Request<_>| {
                let target = if request.uri().path().starts_with("/new") { new.clone() } else { old.clone() };
                target.oneshot(request)
            })
        })
        .unwrap();
    let address = server.local_addrs()[0];
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);

    let request = Request::post(format!("http://{address}/old"));
    let request = request.header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
    let (mut answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"abc"), false).unwrap();
    body.send_trailers(HeaderMap::from_iter([("x-mine".parse().unwrap(), HeaderValue::from_static("1"))])).unwrap();
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!((interim.status().as_u16(), &interim.headers()["link"]), (103, &HeaderValue::from_static("</a>")));
    let mut answer = answer.await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), "hello");
    assert_eq!(answer.trailers().await.unwrap().unwrap()["x-sum"], "7");
    let received = http1.received().await;
    assert!(received.starts_with("POST /old HTTP/1.1\r\n"), "{received}");
    assert_eq!(support::field(&received, "cookie"), Some("a=1; b=2"));
    assert_eq!(support::field(&received, "x-forwarded-host"), Some(address.to_string().as_str()));
    assert!(received.ends_with("\r\n3\r\nabc\r\n0\r\nx-mine: 1\r\n\r\n"), "{received}");

    let request = Request::put(format!("http://{address}/new")).header("content-length", 3).body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"abc"), true).unwrap();
    let answer = answer.await.unwrap();
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = answer.into_body();
    let text = body.data().await.unwrap().unwrap();
    assert_eq!(text.len(), length);
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.contains("\ncontent-length: 3\n") && text.ends_with("\nabc"), "{text}");

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /new/hints HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: close, te\r\n\r\n";
    stream.write_all(format!("{head}3\r\nabc\r\n0\r\nx-mine: 1\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\nte: trailers\n") && answer.contains("abc"), "{answer}");
    server.drain(SHORT).await;
}
