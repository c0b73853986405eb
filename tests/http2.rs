//! HTTP/2 on the server's listeners, as an honest client sees it, and as one that is slow.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_gateway::RequestContext;
use tower_gateway::body::RequestBodyError;
use tower_gateway::serve::{ServeBody, Server, ServerHandle};

mod support;

use support::PATIENCE;
use support::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, End, GOAWAY, HEADERS, PING, PREFACE, REFUSED_STREAM,
    RawClient, SETTINGS, frame, get, post, section,
};

const SHORT: Duration = Duration::from_millis(500);

type Answer = Response<BoxBody<Bytes, Infallible>>;

// === The service ===

#[derive(Clone)]
struct App {
    /// `/gated` waits for a permit.
    gate: Arc<Semaphore>,
    seen: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct CountIfDropped(Option<Arc<AtomicUsize>>);

impl Drop for CountIfDropped {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).boxed())
}

impl App {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), seen: Arc::default(), dropped: Arc::default() }
    }

    async fn answer(self, request: Request<ServeBody>) -> Result<Answer, String> {
        let mut unanswered = CountIfDropped(Some(self.dropped.clone()));
        self.seen.fetch_add(1, Ordering::SeqCst);
        let answer = match request.uri().path() {
            "/panic" => panic!("as asked"),
            "/error" => {
                unanswered.0 = None;
                return Err("a secret".into());
            }
            "/gated" => {
                self.gate.acquire().await.unwrap().forget();
                text("through the gate\n")
            }
            "/hints" => {
                let context = request.extensions().get::<RequestContext>().unwrap();
                let link = HeaderMap::from_iter([(http::header::LINK, "</a>; rel=preload".parse().unwrap())]);
                assert!(context.interim_sink().unwrap().send(StatusCode::EARLY_HINTS, &link));
                text("with hints\n")
            }
            "/large" => text(vec![b'x'; 4 << 20]),
            "/empty" => Response::new(Empty::new().boxed()),
            "/seen" => {
                let mut seen = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
                for (name, value) in request.headers() {
                    seen += &format!("{name}: {}\n", value.to_str().unwrap());
                }
                text(seen)
            }
            "/early" => text("not interested\n"),
            _ => match request.into_body().collect().await {
                Ok(collected) => {
                    let trailers = collected.trailers().cloned();
                    let frames = [Some(Frame::data(collected.to_bytes())), trailers.map(Frame::trailers)];
                    let frames = frames.into_iter().flatten().map(Ok);
                    Response::new(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames))))
                }
                Err(error) => {
                    let mut source: Option<&dyn std::error::Error> = Some(&error);
                    let mut reason = None;
                    while let Some(error) = source {
                        reason = reason.or(error.downcast_ref::<RequestBodyError>().map(|error| error.reason()));
                        source = error.source();
                    }
                    let mut answer = text("failed\n");
                    *answer.status_mut() = reason.map_or(StatusCode::IM_A_TEAPOT, |reason| reason.status());
                    answer
                }
            },
        };
        unanswered.0 = None;
        Ok(answer)
    }
}

fn start(change: impl FnOnce(Server) -> Server) -> (ServerHandle, App) {
    let app = App::new();
    let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1);
    let service = app.clone();
    let handle = change(server)
        .start(move |_| {
            let service = service.clone();
            tower::service_fn(move |request| service.clone().answer(request))
        })
        .unwrap();
    (handle, app)
}

fn address(server: &ServerHandle) -> SocketAddr {
    server.local_addrs()[0]
}

// === The client ===

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn ask(client: &mut SendRequest<Bytes>, request: Request<()>) -> (Response<()>, String) {
    let (answer, _) = client.clone().ready().await.unwrap().send_request(request, true).unwrap();
    read(answer.await.unwrap()).await
}

async fn read(answer: Response<h2::RecvStream>) -> (Response<()>, String) {
    let (parts, mut body) = answer.into_parts();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    (Response::from_parts(parts, ()), String::from_utf8(text).unwrap())
}

fn to(address: SocketAddr, path: &str) -> Request<()> {
    Request::get(format!("http://{address}{path}")).body(()).unwrap()
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// === What is served ===

#[tokio::test]
async fn requests_of_one_connection_are_answered_as_they_are_ready() {
    let (server, app) = start(|server| server);
    let mut client = connect(address(&server)).await;
    let (gated, _) = client.send_request(to(address(&server), "/gated"), true).unwrap();
    let (answer, body) = ask(&mut client, to(address(&server), "/seen")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(body.lines().next().unwrap(), format!("GET http://{}/seen HTTP/2.0", address(&server)));
    assert!(answer.headers().contains_key("date"));
    app.gate.add_permits(1);
    assert_eq!(read(gated.await.unwrap()).await.1, "through the gate\n");
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways_with_their_length() {
    let (server, _app) = start(|server| server);
    let mut client = connect(address(&server)).await;
    let request = Request::post(format!("http://{}/echo", address(&server))).body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"one, "), false).unwrap();
    body.send_data(Bytes::from_static(b"two"), false).unwrap();
    body.send_trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])).unwrap();
    let mut answer = answer.await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), "one, two");
    assert!(answer.data().await.is_none());
    assert_eq!(answer.trailers().await.unwrap().unwrap()["x-sum"], "7");

    let (answer, body) = ask(&mut client, to(address(&server), "/large")).await;
    assert_eq!(answer.headers()["content-length"], (4 << 20).to_string());
    assert_eq!(body.len(), 4 << 20);
    let head = Request::head(format!("http://{}/large", address(&server))).body(()).unwrap();
    let (answer, body) = ask(&mut client, head).await;
    assert_eq!((answer.status().as_u16(), body.as_str()), (200, ""));
}

#[tokio::test]
async fn one_port_speaks_both_and_the_preface_may_come_byte_by_byte() {
    let (server, _app) = start(|server| server);
    let mut stream = TcpStream::connect(address(&server)).await.unwrap();
    for byte in b"PRI" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It was no preface after all.
    stream.write_all(b"CE /seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("PRICE /seen HTTP/1.1\n"), "{answer}");

    let (first, rest) = PREFACE.split_at(20);
    let mut stream = TcpStream::connect(address(&server)).await.unwrap();
    for byte in first {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &section(&get("/seen")));
    stream.write_all(&[rest, &frame(SETTINGS, 0, 0, b""), &request].concat()).await.unwrap();
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(header[3], SETTINGS);
}

#[tokio::test]
async fn interim_answers_come_before_the_answer() {
    let (server, _app) = start(|server| server);
    let mut client = connect(address(&server)).await;
    let (mut answer, _) = client.send_request(to(address(&server), "/hints"), true).unwrap();
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!((interim.status().as_u16(), &interim.headers()["link"]), (103, &"</a>; rel=preload".parse().unwrap()));
    assert_eq!(read(answer.await.unwrap()).await.1, "with hints\n");
}

#[tokio::test]
async fn a_client_that_waits_for_it_is_told_to_go_on_when_its_body_is_wanted() {
    let (server, _app) = start(|server| server);
    let mut client = connect(address(&server)).await;
    let request = |path| {
        let request = Request::post(format!("http://{}{path}", address(&server)));
        request.header("expect", "100-continue").body(()).unwrap()
    };
    let (mut answer, mut body) = client.send_request(request("/echo"), false).unwrap();
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    body.send_data(Bytes::from_static(b"here"), true).unwrap();
    assert_eq!(read(answer.await.unwrap()).await.1, "here");

    let mut client = client.ready().await.unwrap();
    let (mut answer, _body) = client.send_request(request("/early"), false).unwrap();
    assert!(std::future::poll_fn(|cx| answer.poll_informational(cx)).await.is_none(), "its body is not wanted");
    assert_eq!(read(answer.await.unwrap()).await.1, "not interested\n");
}

#[tokio::test]
async fn a_panic_and_an_error_are_answered_and_cost_no_other_request() {
    let (server, app) = start(|server| server);
    let mut client = connect(address(&server)).await;
    let (gated, _) = client.send_request(to(address(&server), "/gated"), true).unwrap();
    for path in ["/panic", "/error"] {
        let (answer, body) = ask(&mut client, to(address(&server), path)).await;
        assert_eq!(answer.status(), 500);
        assert!(body.contains("internal_error") && !body.contains("secret"), "{body}");
    }
    app.gate.add_permits(1);
    assert_eq!(gated.await.unwrap().status(), 200);
    assert_eq!((server.stats().panics, server.stats().service_errors), (1, 1));
}

#[tokio::test]
async fn a_request_that_its_client_gives_up_is_dropped_and_the_connection_goes_on() {
    let (server, app) = start(|server| server);
    let mut client = connect(address(&server)).await;
    let (gated, _) = client.send_request(to(address(&server), "/gated"), true).unwrap();
    let seen = app.seen.clone();
    eventually(|| seen.load(Ordering::SeqCst) == 1).await;
    drop(gated);
    eventually(|| app.dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(ask(&mut client, to(address(&server), "/empty")).await.0.status(), 200);
}

// === Limits ===

#[tokio::test]
async fn more_requests_at_once_than_may_be_are_refused_so_that_they_can_be_repeated() {
    let (server, _app) = start(|server| server.http2_max_streams(2));
    let mut client = RawClient::connect(address(&server));
    for stream in [1, 3, 5] {
        client.request(stream, &get("/gated"));
    }
    assert_eq!(client.outcome(5), End::Reset(REFUSED_STREAM));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_a_431_and_one_far_beyond_ends_the_connection() {
    let (server, _app) = start(|server| server.max_header_bytes(8 << 10));
    let mut client = connect(address(&server)).await;
    let with = |bytes: usize| {
        let request = Request::get(format!("http://{}/seen", address(&server)));
        request.header("x-long", "x".repeat(bytes)).body(()).unwrap()
    };
    assert_eq!(ask(&mut client, with(7 << 10)).await.0.status(), 200);
    assert_eq!(ask(&mut client, with(9 << 10)).await.0.status(), 431);
    assert_eq!(ask(&mut client, with(1)).await.0.status(), 200);

    let mut client = RawClient::connect(address(&server));
    let long = vec![b'x'; 40 << 10];
    let fields = [get("/seen"), vec![("x-long", &long[..])]].concat();
    let section = section(&fields);
    let (first, rest) = section.split_at(16 << 10);
    client.frame(HEADERS, END_STREAM, 1, first);
    let (second, third) = rest.split_at(16 << 10);
    client.frame(9, 0, 1, second);
    client.frame(9, END_HEADERS, 1, third);
    assert!(matches!(client.outcome(1), End::GoAway(_)));
}

#[tokio::test]
async fn a_refusal_that_no_layer_sees_has_an_id() {
    let ids = tower_gateway::request_id::RequestIdLayer::new();
    let (server, _app) = start(|server| server.refusal_ids(&ids).max_headers(10));
    let mut client = connect(address(&server)).await;
    let request = Request::get(format!("http://{}/seen", address(&server)));
    let request = (0..11).fold(request, |request, number| request.header(format!("x-{number}"), "y"));
    let (answer, problem) = ask(&mut client, request.body(()).unwrap()).await;
    assert_eq!(answer.status(), 431);
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert!(problem.ends_with(&format!("\"request_id\":\"{id}\"}}")), "{problem}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_a_413_announced_or_not() {
    let (server, app) = start(|server| server.max_body_bytes(1000));
    let mut client = connect(address(&server)).await;
    let post = |length: Option<usize>| {
        let request = Request::builder().method(Method::POST).uri(format!("http://{}/echo", address(&server)));
        let request = length.into_iter().fold(request, |request, length| request.header("content-length", length));
        request.body(()).unwrap()
    };
    let (answer, _body) = client.send_request(post(Some(1001)), false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 413);
    assert_eq!(app.seen.load(Ordering::SeqCst), 0, "the service is not asked");

    let mut client = client.ready().await.unwrap();
    let (answer, mut body) = client.send_request(post(None), false).unwrap();
    body.send_data(vec![b'x'; 1001].into(), false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 413);
    assert_eq!(ask(&mut client, to(address(&server), "/empty")).await.0.status(), 200);
}

// === Time ===

#[tokio::test]
async fn half_a_preface_does_not_wait_for_ever() {
    let (server, _app) = start(|server| server.header_read_timeout(SHORT));
    for part in [&PREFACE[..1], &PREFACE[..23], PREFACE, &[PREFACE, &[0; 5]].concat()] {
        let mut client = RawClient::silent(address(&server));
        client.send(part);
        let start = Instant::now();
        client.closed();
        assert!(start.elapsed() < PATIENCE / 2, "after {} bytes", part.len());
    }
    assert_eq!(server.stats().timed_out, 4);
}

#[tokio::test]
async fn settings_are_no_request_and_a_head_must_come_to_its_end() {
    let (server, _app) = start(|server| server.header_read_timeout(SHORT));
    let mut client = RawClient::connect(address(&server));
    assert_eq!(client.closed(), Some(0), "a client that asks for nothing is told, and closed");

    let mut client = RawClient::connect(address(&server));
    client.request(1, &get("/empty"));
    assert_eq!(client.outcome(1), End::Answer(200));
    client.frame(HEADERS, END_STREAM, 3, &section(&get("/empty")));
    assert_eq!(client.closed(), Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn an_idle_connection_is_told_and_closed() {
    let (server, _app) = start(|server| server.keep_alive_timeout(SHORT));
    let mut client = RawClient::connect(address(&server));
    let start = Instant::now();
    client.request(1, &get("/empty"));
    assert_eq!(client.outcome(1), End::Answer(200));
    while let Some(frame) = client.read() {
        if frame.kind == PING && frame.flags == 0 {
            client.frame(PING, 1, 0, &frame.payload);
        }
        if frame.kind == GOAWAY && frame.payload[..4] == [0, 0, 0, 1] {
            break;
        }
    }
    assert!(start.elapsed() >= SHORT && start.elapsed() < PATIENCE / 2);
    drop(client);
    eventually(|| server.stats().open == 0).await;
}

#[tokio::test]
async fn a_body_that_stops_fails_and_the_connection_goes_on() {
    let (server, _app) = start(|server| server.body_read_timeout(SHORT));
    let mut client = connect(address(&server)).await;
    let request = Request::post(format!("http://{}/echo", address(&server))).body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"and then"), false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 408);
    assert_eq!(ask(&mut client, to(address(&server), "/empty")).await.0.status(), 200);
}

#[tokio::test]
async fn a_body_that_drips_fails() {
    let (server, _app) = start(|server| server.body_min_rate(1000).body_rate_grace(SHORT));
    let mut client = connect(address(&server)).await;
    let request = Request::post(format!("http://{}/echo", address(&server))).body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    let dripping = tokio::spawn(async move {
        while body.send_data(Bytes::from_static(b"x"), false).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(answer.await.unwrap().status(), 408);
    dripping.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_its_client_gives_no_room_for_is_reset_and_others_go_on() {
    let (server, _app) = start(|server| server.write_timeout(SHORT));
    let mut client = RawClient::connect(address(&server));
    client.request(1, &get("/large"));
    assert_eq!(client.outcome(1), End::Answer(200));
    // It reads the socket and never widens the stream's window.
    assert_eq!(client.outcome(1), End::Reset(CANCEL));
    client.request(3, &get("/empty"));
    assert_eq!(client.outcome(3), End::Answer(200));
}

#[tokio::test]
async fn a_client_that_reads_nothing_at_all_is_reset() {
    let (server, _app) = start(|server| server.write_timeout(SHORT));
    let mut client = RawClient::connect(address(&server));
    client.frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    client.frame(SETTINGS, 0, 0, &[&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat());
    for stream in (1..20).step_by(2) {
        client.request(stream, &get("/large"));
    }
    eventually(|| server.stats().timed_out > 0 && server.stats().open == 0).await;
}

#[tokio::test]
async fn a_client_that_is_gone_without_a_word_is_found_out() {
    let (server, app) = start(|server| server.http2_ping_interval(SHORT));
    let mut client = RawClient::connect(address(&server));
    client.request(1, &get("/gated"));
    let asked = loop {
        let frame = client.read().unwrap();
        if frame.kind == PING && frame.flags == 0 {
            break frame;
        }
    };
    // Whoever answers is there.
    client.frame(PING, 1, 0, &asked.payload);
    app.gate.add_permits(1);
    assert_eq!(client.outcome(1), End::Answer(200));
}

// === The end ===

#[tokio::test]
async fn a_drain_finishes_what_has_begun_and_tells_the_client() {
    let (server, app) = start(|server| server);
    let address = address(&server);
    let mut client = connect(address).await;
    let (gated, _) = client.send_request(to(address, "/gated"), true).unwrap();
    let _idle = connect(address).await;
    let (seen, gate) = (app.seen.clone(), app.gate.clone());
    eventually(|| seen.load(Ordering::SeqCst) == 1).await;
    let draining = tokio::spawn(server.drain(PATIENCE));
    let refused = async {
        while client.clone().ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("no GOAWAY came");
    gate.add_permits(1);
    assert_eq!(read(gated.await.unwrap()).await.1, "through the gate\n");
    let drained = draining.await.unwrap();
    assert_eq!((drained.finished, drained.aborted), (1, 0));
}

#[tokio::test]
async fn a_drain_waits_no_longer_than_its_grace() {
    let (server, app) = start(|server| server);
    let mut client = RawClient::connect(address(&server));
    client.request(1, &get("/gated"));
    client.frame(HEADERS, END_HEADERS, 3, &section(&post("/echo")));
    client.frame(DATA, 0, 3, b"and then");
    let seen = app.seen.clone();
    eventually(|| seen.load(Ordering::SeqCst) == 2).await;
    let drained = server.drain(SHORT).await;
    assert_eq!((drained.finished, drained.aborted), (0, 1));
}
