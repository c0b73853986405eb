//! The server, seen from raw sockets.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{Read, Seek, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_gateway::RequestContext;
use tower_gateway::body::RequestBodyError;
use tower_gateway::serve::{ServeBody, ServeError, Server, ServerHandle};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

type Answer = Response<BoxBody<Bytes, Infallible>>;

// === The service ===

/// What the tests and the service share.
#[derive(Clone)]
struct App {
    /// `/gated` waits for a permit.
    gate: Arc<Semaphore>,
    seen: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    workers: Arc<Mutex<HashSet<String>>>,
}

impl Default for App {
    fn default() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            seen: Arc::default(),
            dropped: Arc::default(),
            workers: Arc::default(),
        }
    }
}

/// Counts a request that was given up before it was answered.
struct CountIfDropped(Option<Arc<AtomicUsize>>);

impl Drop for CountIfDropped {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl App {
    async fn answer(self, request: Request<ServeBody>) -> Result<Answer, String> {
        let mut unanswered = CountIfDropped(Some(self.dropped.clone()));
        self.seen.fetch_add(1, Ordering::SeqCst);
        let worker = std::thread::current().name().unwrap_or_default().to_owned();
        self.workers.lock().unwrap().insert(worker);
        let answer = match request.uri().path() {
            "/panic" => panic!("as asked"),
            "/panic-in-body" => {
                let body = StreamBody::new(futures_util::stream::poll_fn(|_| -> std::task::Poll<Option<_>> {
                    panic!("as asked");
                    #[expect(unreachable_code)]
                    std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
                }));
                Response::new(BoxBody::new(body))
            }
            "/panic-when-dropped" => {
                struct Panics;
                impl Drop for Panics {
                    fn drop(&mut self) {
                        panic!("as asked");
                    }
                }
                let panics = Panics;
                let pieces = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"all")))]);
                let pieces = futures_util::StreamExt::inspect(pieces, move |_| {
                    let _ = &panics;
                });
                Response::new(BoxBody::new(StreamBody::new(pieces)))
            }
            "/error" => {
                unanswered.0 = None;
                return Err("a secret".into());
            }
            "/204" => Response::builder().status(204).body(BoxBody::new(Empty::new())).unwrap(),
            "/peer" => {
                let context = request.extensions().get::<RequestContext>().unwrap();
                let connection = context.connection().unwrap();
                text(StatusCode::OK, format!("{} {} {}", connection.peer, connection.local, connection.secure))
            }
            "/hint" => {
                let body = request.body();
                let hint = http_body::Body::size_hint(body).exact();
                text(StatusCode::OK, format!("{hint:?} {}", http_body::Body::is_end_stream(body)))
            }
            "/ignore-body" => text(StatusCode::FORBIDDEN, "not read"),
            "/gated" => {
                self.gate.acquire().await.unwrap().forget();
                text(StatusCode::OK, "through the gate")
            }
            "/endless" => {
                let piece = || Ok(Frame::data(Bytes::from_static(&[b'x'; 16384])));
                Response::new(BoxBody::new(StreamBody::new(futures_util::stream::repeat_with(piece))))
            }
            "/cut" => {
                let pieces = [Ok(Frame::data(Bytes::from_static(b"half"))), Err("cut")];
                let body = StreamBody::new(futures_util::stream::iter(pieces)).map_err(|error| panic!("{error}"));
                Response::new(BoxBody::new(body))
            }
            "/spawned-read" => {
                let read = tokio::spawn(request.into_body().collect());
                body_result(read.await.unwrap().map(|body| body.to_bytes()))
            }
            "/gated-reader" => {
                self.gate.acquire().await.unwrap().forget();
                body_result(request.into_body().collect().await.map(|body| body.to_bytes()))
            }
            "/trailers" => {
                let body = request.into_body().collect().await.unwrap();
                let trailers = body.trailers().cloned().unwrap_or_else(HeaderMap::new);
                text(StatusCode::OK, format!("{trailers:?}"))
            }
            "/echo" => body_result(request.into_body().collect().await.map(|body| body.to_bytes())),
            path => text(StatusCode::OK, path.to_owned()),
        };
        unanswered.0 = None;
        Ok(answer)
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(BoxBody::new(Full::new(body.into())));
    *response.status_mut() = status;
    response
}

fn body_result(body: Result<Bytes, impl std::error::Error + 'static>) -> Answer {
    match body {
        Ok(body) => text(StatusCode::OK, body),
        Err(error) => match RequestBodyError::find(&error) {
            Some(ours) => text(ours.status(), ours.to_string()),
            None => text(StatusCode::BAD_REQUEST, error.to_string()),
        },
    }
}

fn server() -> Server {
    Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1)
}

fn start(server: Server, app: &App) -> ServerHandle {
    let app = app.clone();
    server.start(move |_| service(&app)).unwrap()
}

fn service(
    app: &App,
) -> impl tower::Service<
    Request<ServeBody>,
    Response = Answer,
    Error = String,
    Future = BoxFuture<'static, Result<Answer, String>>,
> + Clone
+ Send
+ use<> {
    let app = app.clone();
    tower::service_fn(move |request| Box::pin(app.clone().answer(request)) as BoxFuture<'static, _>)
}

fn serve(server: Server) -> ServerHandle {
    start(server, &App::default())
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits for what another thread is about to do.
#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < LONG, "it never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// === The client ===

struct Client(TcpStream);

struct Reply {
    head: String,
    body: String,
}

impl Client {
    fn connect(handle: &ServerHandle) -> Self {
        Self::to(handle.local_addrs()[0])
    }

    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Sends a byte every so often until it has an answer, whatever becomes of them.
    fn drips(&mut self, text: &str) -> Reply {
        let (mut drops, answered) = (self.0.try_clone().unwrap(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for drop in text.bytes().cycle() {
                    if answered.load(Ordering::Relaxed) || drops.write_all(&[drop]).is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            let reply = self.reply();
            answered.store(true, Ordering::Relaxed);
            reply
        })
    }

    fn get(&mut self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).reply()
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = self.0.read_exact(&mut byte);
            assert!(read.is_ok(), "{read:?} after {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// One answer that has a length, or none.
    #[track_caller]
    fn reply(&mut self) -> Reply {
        let head = self.head();
        let length =
            head.split("content-length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Reply { head, body: String::from_utf8(body).unwrap() }
    }

    /// Everything up to the close, which must be a plain one.
    #[track_caller]
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }

    #[track_caller]
    fn assert_closed(&mut self) {
        assert_eq!(self.rest(), "");
    }
}

impl Reply {
    fn status(&self) -> &str {
        &self.head[9..12]
    }

    fn closes(&self) -> bool {
        self.head.contains("connection: close\r\n")
    }
}

// === Requests ===

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    assert_eq!(client.get("/one").body, "/one");
    assert_eq!(client.get("/two").body, "/two");
    assert_eq!(handle.stats().accepted, 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let app = App::default();
    let handle = start(server(), &app);
    let mut client = Client::connect(&handle);
    client.send(
        "GET /gated HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    app.gate.add_permits(1);
    assert_eq!([(); 3].map(|()| client.reply().body), ["through the gate", "/2", "/3"]);
}

#[test]
fn every_request_knows_its_connection() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    let expected = format!("{} {} false", client.0.local_addr().unwrap(), handle.local_addrs()[0]);
    assert_eq!(client.get("/peer").body, expected);
    assert_eq!(client.get("/peer").body, expected);
}

#[test]
fn head_and_204_have_no_body_and_keep_the_connection() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    let head = client.send("HEAD /five HTTP/1.1\r\nhost: a\r\n\r\n").head();
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    let no_content = client.get("/204");
    assert_eq!((no_content.status(), no_content.body.as_str()), ("204", ""));
    assert!(!no_content.head.contains("content-length"));
    assert_eq!(client.get("/last").body, "/last");
}

#[test]
fn a_service_sees_how_long_a_body_is_and_whether_there_is_one() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    assert_eq!(client.get("/hint").body, "Some(0) true");
    client.send("POST /hint HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(client.reply().body, "Some(3) false");
    client.send("POST /hint HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.reply().body, "None false");
}

#[test]
fn bodies_and_their_trailers_reach_the_service() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(client.reply().body, "hello");
    client.send(
        "POST /spawned-read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(client.reply().body, "abcde");
    client.send(
        "POST /trailers HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    assert_eq!(client.reply().body, r#"{"x-sum": "7"}"#);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_when_the_body_is_read() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    let ask =
        |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.send(&ask("/echo")).head(), "http/1.1 100 continue\r\n\r\n");
    assert_eq!(client.send("hello").reply().body, "hello");
    assert_eq!(client.send(&ask("/ignore-body")).reply().status(), "403");
}

/// Answers with the request's own body.
fn echo() -> ServerHandle {
    let echo = |request: Request<ServeBody>| async { Ok::<_, Infallible>(Response::new(request.into_body())) };
    server().start(move |_| tower::service_fn(echo)).unwrap()
}

#[test]
fn nobody_is_told_to_go_on_once_the_answer_has_begun() {
    let handle = echo();
    let mut client = Client::connect(&handle);
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let head = client.head();
    assert!(head.starts_with("http/1.1 200 ok") && head.contains("connection: close\r\n"), "{head}");
    assert_eq!(client.send("hello").rest(), "hello");

    // Part of a body is there before the answer, and the rest is waited for within it.
    let mut client = Client::connect(&handle);
    let ask = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n5";
    assert!(client.send(ask).head().contains("connection: close\r\n"));
    assert_eq!(client.send("\r\nhello\r\n0\r\n\r\n").rest(), "5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn an_answer_of_stated_length_is_over_with_its_last_byte() {
    let service = |request: Request<ServeBody>| async move {
        let first = futures_util::stream::once(async { Ok::<_, Infallible>(Frame::data(Bytes::from("hello"))) });
        let body = StreamBody::new(first.chain(futures_util::stream::pending()));
        let answer = Response::builder().header("content-length", 5).header("x-path", request.uri().path());
        Ok::<_, Infallible>(answer.body(body).unwrap())
    };
    let handle = server().start(move |_| tower::service_fn(service)).unwrap();
    let mut client = Client::connect(&handle);
    assert_eq!(client.get("/one").body, "hello");
    assert!(client.get("/two").head.contains("x-path: /two"));
}

#[test]
fn a_body_that_was_moved_elsewhere_fails_with_its_connection() {
    let (tell, told) = std::sync::mpsc::channel();
    let (taken, is_taken) = std::sync::mpsc::channel();
    let service = move |request: Request<ServeBody>| {
        let (tell, taken) = (tell.clone(), taken.clone());
        tokio::spawn(async move {
            let mut body = request.into_body();
            let first = body.frame().await.is_some_and(|frame| frame.is_ok());
            taken.send(first).unwrap();
            let rest = body.frame().await.is_some_and(|frame| frame.is_err());
            tell.send(rest).unwrap();
        });
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    };
    let handle = server().start(move |_| tower::service_fn(service.clone())).unwrap();
    let mut client = Client::connect(&handle);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab");
    assert_eq!(is_taken.recv_timeout(LONG), Ok(true));
    drop(client);
    assert_eq!(told.recv_timeout(LONG), Ok(true), "it fails, and whoever waits for it is woken");
}

#[test]
fn a_client_that_closes_its_sending_side_is_still_answered() {
    let app = App::default();
    let handle = start(server(), &app);
    let mut client = Client::connect(&handle);
    client.send("POST /gated HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    client.0.shutdown(Shutdown::Write).unwrap();
    app.gate.add_permits(1);
    assert_eq!(client.reply().body, "through the gate");
    client.assert_closed();
}

#[test]
fn a_client_that_leaves_costs_nothing_more_after_the_grace() {
    let app = App::default();
    let handle = start(server().half_close_grace(SHORT), &app);
    let mut client = Client::connect(&handle);
    client.send("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually(|| app.seen.load(Ordering::SeqCst) == 1);
    drop(client);
    eventually(|| app.dropped.load(Ordering::SeqCst) == 1);
    eventually(|| handle.stats().open == 0);
}

#[test]
fn an_axum_router_is_served_as_it_is() {
    let router = axum::Router::new().route("/echo", axum::routing::post(async |body: String| body));
    let handle = server().start(move |_| router.clone()).unwrap();
    let mut client = Client::connect(&handle);
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(client.reply().body, "hello");
    assert_eq!(client.get("/none").status(), "404");
}

// === Faults of the service ===

#[test]
fn a_panic_costs_one_connection() {
    let handle = serve(server());
    let mut other = Client::connect(&handle);
    other.get("/before");

    let mut client = Client::connect(&handle);
    let reply = client.get("/panic");
    assert_eq!(reply.status(), "500");
    assert!(reply.closes() && reply.body.contains("internal_error") && !reply.body.contains("as asked"));
    client.assert_closed();
    drop(client);

    let mut client = Client::connect(&handle);
    client.send("GET /panic-in-body HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut rest = Vec::new();
    let _ = client.0.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    drop(client);

    assert_eq!(other.get("/after").body, "/after");
    assert_eq!(handle.stats().panics, 2);
    eventually(|| handle.stats().open == 1);
}

#[test]
fn a_body_that_panics_when_it_is_dropped_has_been_given_whole_and_nothing_follows_it() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    client.send("GET /panic-when-dropped HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut all = String::new();
    client.0.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("\r\n3\r\nall\r\n0\r\n\r\n"), "{all}");
    drop(client);
    assert_eq!(handle.stats().panics, 1);
    eventually(|| handle.stats().open == 0);
}

#[test]
fn an_error_of_the_service_is_a_500_that_tells_nothing() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    let reply = client.get("/error");
    assert!(reply.status() == "500" && reply.closes() && !reply.body.contains("secret"));
    client.assert_closed();
    assert_eq!(handle.stats().service_errors, 1);
}

#[test]
fn an_answer_that_ends_with_its_connection_is_reset_when_it_is_cut() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    client.send("GET /cut HTTP/1.0\r\n\r\n");
    let mut rest = Vec::new();
    let error = client.0.read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn readiness_is_honoured_across_connections() {
    let app = App::default();
    let limited = ServiceBuilder::new().concurrency_limit(1).service(service(&app));
    let handle = server().start(move |_| limited.clone()).unwrap();
    let mut clients = [(); 3].map(|()| Client::connect(&handle));
    for client in &mut clients {
        client.send("GET /gated HTTP/1.1\r\nhost: a\r\n\r\nGET /more HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    app.gate.add_permits(3);
    for client in &mut clients {
        assert_eq!([client.reply().body, client.reply().body], ["through the gate", "/more"]);
    }
}

// === Slow clients ===

#[test]
fn a_silent_connection_is_closed_after_the_header_timeout() {
    let handle = serve(server().header_read_timeout(SHORT).keep_alive_timeout(LONG));
    let start = Instant::now();
    Client::connect(&handle).assert_closed();
    assert!(start.elapsed() >= SHORT);
    assert_eq!(handle.stats().timed_out, 1);
}

#[test]
fn a_dripped_head_is_answered_with_408_and_closed() {
    let handle = serve(server().header_read_timeout(SHORT).keep_alive_timeout(LONG));
    let start = Instant::now();
    let mut client = Client::connect(&handle);
    // Each byte comes in time, and the head never.
    let reply = client.send("GET /").drips("a");
    assert!(reply.status() == "408" && reply.closes());
    client.assert_closed();
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn half_a_preface_of_http_2_is_half_a_head() {
    let handle = serve(server().header_read_timeout(SHORT).keep_alive_timeout(LONG));
    let start = Instant::now();
    let mut client = Client::connect(&handle);
    client.send("PRI * HTTP/2.0\r\n");
    assert!(client.reply().closes());
    client.assert_closed();
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn idle_time_is_no_part_of_the_header_timeout() {
    let handle = serve(server().header_read_timeout(SHORT).keep_alive_timeout(LONG));
    let mut client = Client::connect(&handle);
    client.get("/one");
    std::thread::sleep(SHORT * 2);
    assert_eq!(client.get("/two").body, "/two");

    let handle = serve(server().header_read_timeout(SHORT).keep_alive_timeout(SHORT * 3));
    let mut client = Client::connect(&handle);
    let idle = Instant::now();
    client.get("/one");
    client.assert_closed();
    assert!(idle.elapsed() >= SHORT * 3);
    assert_eq!(handle.stats().timed_out, 0, "an idle connection was not too slow");
}

#[test]
fn a_head_that_begins_in_idle_time_gets_the_whole_header_timeout() {
    let handle = serve(server().header_read_timeout(LONG).keep_alive_timeout(SHORT * 4));
    let mut client = Client::connect(&handle);
    client.get("/one");
    client.send("GET /two HTTP/1.1\r\n");
    std::thread::sleep(SHORT * 5);
    let idle = Instant::now();
    assert_eq!(client.send("host: a\r\n\r\n").reply().body, "/two");
    client.assert_closed();
    assert!(idle.elapsed() >= SHORT * 4 && idle.elapsed() < LONG / 2);

    let handle = serve(server().header_read_timeout(SHORT).keep_alive_timeout(LONG));
    let mut client = Client::connect(&handle);
    client.get("/one");
    assert_eq!(client.send("GET ").reply().status(), "408");
}

#[test]
fn idle_time_after_an_upload_is_idle_time() {
    let handle = serve(server().header_read_timeout(SHORT).keep_alive_timeout(LONG));
    let mut client = Client::connect(&handle);
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(client.send("b").reply().body, "ab");
    std::thread::sleep(SHORT * 2);
    assert_eq!(client.get("/still").body, "/still");
}

#[test]
fn a_body_that_stops_is_too_slow() {
    let handle = serve(server().body_read_timeout(SHORT));
    for path in ["/echo", "/spawned-read"] {
        let mut client = Client::connect(&handle);
        let start = Instant::now();
        client.send(&format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe"));
        let reply = client.reply();
        assert_eq!((reply.status(), reply.body.as_str()), ("408", "the request body arrives too slowly"));
        assert!(reply.closes());
        assert!(start.elapsed() >= SHORT);
        client.assert_closed();
    }
    assert_eq!(handle.stats().timed_out, 2);
}

#[test]
fn a_body_that_drips_is_below_the_rate() {
    let handle = serve(server().body_read_timeout(LONG).body_min_rate(1000).body_rate_grace(SHORT));
    let mut client = Client::connect(&handle);
    let start = Instant::now();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n");
    // 100 bytes a second at most, in pieces that no idle timeout minds.
    assert_eq!(client.drips("x").status(), "408");
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn the_time_a_service_takes_before_it_reads_is_not_the_clients() {
    let app = App::default();
    let handle = start(server().body_read_timeout(SHORT).body_rate_grace(SHORT), &app);
    let mut client = Client::connect(&handle);
    client.send("POST /gated-reader HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe");
    std::thread::sleep(SHORT * 2);
    client.send("llo");
    app.gate.add_permits(1);
    assert_eq!(client.reply().body, "hello");
}

#[test]
fn a_client_that_reads_nothing_is_reset() {
    let handle = serve(server().write_timeout(SHORT));
    let mut client = Client::connect(&handle);
    client.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually(|| handle.stats().timed_out == 1);
    eventually(|| handle.stats().open == 0);
    let mut scrap = Vec::new();
    assert_eq!(client.0.read_to_end(&mut scrap).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_reads_on_is_served_on() {
    let handle = serve(server().write_timeout(SHORT * 8));
    let mut client = Client::connect(&handle);
    client.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut piece = vec![0; 1 << 20];
    for _ in 0..10 {
        client.0.read_exact(&mut piece).unwrap();
        std::thread::sleep(SHORT);
    }
    assert_eq!(handle.stats().timed_out, 0);
}

// === Limits ===

#[test]
fn a_length_beyond_the_limit_is_refused_at_once() {
    let handle = serve(server().max_body_bytes(10));
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut client = Client::connect(&handle);
        client.send(&format!("POST /echo HTTP/1.1\r\nhost: a\r\n{expect}content-length: 11\r\n\r\n"));
        let reply = client.reply();
        assert!(reply.status() == "413" && reply.closes(), "{}", reply.head);
        assert!(reply.head.contains("content-type: application/problem+json"));
        assert!(reply.body.contains(r#""error":"body_too_large""#));
        // What the client had on its way does not cost it the answer.
        client.send("hello world");
        client.assert_closed();
    }
}

#[test]
fn a_body_without_a_length_is_cut_at_the_limit() {
    let handle = serve(server().max_body_bytes(10));
    let mut client = Client::connect(&handle);
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n");
    assert_eq!(client.reply().body, "0123456789");
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n");
    let reply = client.reply();
    assert_eq!((reply.status(), reply.body.as_str()), ("413", "the request body is longer than 10 bytes"));
    assert!(reply.closes());
}

#[test]
fn a_body_that_is_not_http_ends_the_connection() {
    let handle = serve(server());
    let mut client = Client::connect(&handle);
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nGET / HTTP/1.1\r\n\r\n");
    let reply = client.reply();
    assert!(reply.status() == "400" && reply.closes(), "{}", reply.head);
    client.assert_closed();
}

#[test]
fn a_head_beyond_the_limit_is_refused_with_431() {
    let handle = serve(server().max_header_bytes(1000));
    let fits = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(900));
    assert_eq!(Client::connect(&handle).send(&fits).reply().status(), "200");
    let whole = fits
        .replace("x: ", "x: more than a hundred bytes on top of that, so that the head passes its limit by a little: ");
    let mut client = Client::connect(&handle);
    assert_eq!(client.send(&whole).reply().status(), "431");
    client.assert_closed();
    let unfinished = &whole[..whole.len() - 2];
    assert_eq!(Client::connect(&handle).send(unfinished).reply().status(), "431");

    let fields = |count: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(Client::connect(&handle).send(&fields(99)).reply().status(), "200");
    assert_eq!(Client::connect(&handle).send(&fields(100)).reply().status(), "431");
    let handle = serve(server().max_headers(150));
    assert_eq!(Client::connect(&handle).send(&fields(149)).reply().status(), "200");
}

#[test]
fn connections_beyond_the_limit_wait_for_a_free_place() {
    let handle = serve(server().workers(2).max_connections(2));
    let mut first = Client::connect(&handle);
    let mut second = Client::connect(&handle);
    first.get("/");
    second.get("/");
    let mut waiting = [(); 4].map(|()| Client::connect(&handle));
    for client in &mut waiting {
        client.send("GET /waited HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        client.0.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(client.0.read(&mut [0]).is_err());
    }
    drop(first);
    for client in &mut waiting {
        client.0.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(client.reply().body, "/waited");
    }
    assert_eq!(second.get("/still").body, "/still");
    assert_eq!(handle.stats().refused, 0);
}

#[test]
fn a_client_with_too_many_connections_is_refused_on_every_worker() {
    let handle = serve(server().workers(2).max_connections_per_ip(2));
    let mut first = Client::connect(&handle);
    let mut second = Client::connect(&handle);
    first.get("/");
    second.get("/");
    for refused in 1..=4 {
        let _ = Client::connect(&handle).0.read(&mut [0]);
        eventually(|| handle.stats().refused == refused);
    }
    drop(first);
    eventually(|| handle.stats().open == 1);
    assert_eq!(Client::connect(&handle).get("/again").body, "/again");
}

#[test]
fn all_workers_serve_the_same_port() {
    let app = App::default();
    let handle = start(server().workers(2), &app);
    eventually(|| {
        Client::connect(&handle).get("/");
        app.workers.lock().unwrap().len() == 2
    });
}

#[test]
fn several_addresses_are_served() {
    let addresses = ["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()];
    let handle = serve(Server::bind(addresses).unwrap().workers(1));
    for address in handle.local_addrs() {
        assert_eq!(Client::to(*address).get("/").body, "/");
    }
}

#[test]
fn a_factory_that_panics_is_an_error_and_leaves_nothing_behind() {
    let server = server().workers(2);
    let address = server.local_addrs()[0];
    let app = App::default();
    let error = server.start(move |worker| if worker == 1 { panic!("no service") } else { service(&app) }).unwrap_err();
    assert!(matches!(error, ServeError::Factory { worker: 1 }));
    eventually(|| TcpStream::connect(address).is_err());
}

/// Runs this test again, in a process of its own that may hold few descriptors.
#[test]
#[cfg(target_os = "linux")]
fn accepting_recovers_when_descriptors_were_exhausted() {
    const NAME: &str = "accepting_recovers_when_descriptors_were_exhausted";
    if std::env::var_os("FEW_DESCRIPTORS").is_none() {
        let test = std::env::current_exe().unwrap();
        let run = format!("ulimit -n 64; exec \"$0\" --exact {NAME}");
        let status = std::process::Command::new("sh").arg("-c").arg(run).arg(test).env("FEW_DESCRIPTORS", "1").status();
        assert!(status.unwrap().success());
        return;
    }
    let handle = serve(server());
    let mut stat = std::fs::File::open("/proc/self/stat").unwrap();
    let mut clients: Vec<Client> = Vec::new();
    // Both ends of each connection are in this process. The last ones find no descriptor on the server's side.
    while let Ok(stream) = TcpStream::connect(handle.local_addrs()[0]) {
        clients.push(Client(stream));
    }
    let idle_cpu = cpu_ticks(&mut stat);
    std::thread::sleep(SHORT);
    assert!(cpu_ticks(&mut stat) - idle_cpu <= 5, "it spins");
    let mut last = clients.pop().unwrap();
    clients.clear();
    last.0.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(last.get("/").body, "/");
}

/// Hundredths of a second of processor time, in user and system mode (proc(5), fields 14 and 15).
#[cfg(target_os = "linux")]
fn cpu_ticks(file: &mut std::fs::File) -> u64 {
    let mut stat = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut stat).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

// === Drain ===

#[test]
fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let app = App::default();
    let handle = start(server().workers(2), &app);
    let mut idle = Client::connect(&handle);
    idle.get("/");
    let mut busy = Client::connect(&handle);
    busy.send("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut dripping = Client::connect(&handle);
    dripping.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na");
    eventually(|| app.seen.load(Ordering::SeqCst) == 3);

    let drained = handle.drain(LONG);
    idle.assert_closed();
    eventually(|| TcpStream::connect(handle.local_addrs()[0]).is_err());
    app.gate.add_permits(1);
    let reply = busy.reply();
    assert!(reply.body == "through the gate" && reply.closes());
    busy.assert_closed();
    assert_eq!(dripping.send("b").reply().body, "ab");

    let drained = block_on(drained);
    assert_eq!((drained.finished, drained.aborted), (2, 0));
    assert_eq!(handle.stats().open, 0);
}

#[test]
fn a_request_that_an_idle_client_was_just_sending_is_answered_and_the_connection_closed() {
    let handle = serve(server());
    let mut clients = [(); 3].map(|()| Client::connect(&handle));
    clients.iter_mut().for_each(|client| assert!(!client.get("/first").closes()));
    let mut idle = Client::connect(&handle);
    idle.get("/");
    let drained = handle.drain(LONG);
    // Nobody is let in any more, so the drain has begun.
    eventually(|| std::net::TcpStream::connect(handle.local_addrs()[0]).is_err());
    for client in &mut clients {
        let reply = client.get("/last");
        assert!(reply.body == "/last" && reply.closes());
    }
    idle.assert_closed();
    block_on(drained);
}

#[test]
fn what_outlasts_the_grace_is_cut() {
    let app = App::default();
    let handle = start(server(), &app);
    let mut busy = Client::connect(&handle);
    busy.send("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually(|| app.seen.load(Ordering::SeqCst) == 1);

    let start = Instant::now();
    let drained = block_on(handle.drain(SHORT));
    assert!(start.elapsed() >= SHORT);
    assert_eq!((drained.finished, drained.aborted), (0, 1));
    assert_eq!(app.dropped.load(Ordering::SeqCst), 1);
    busy.assert_closed();
}

#[test]
fn a_second_drain_shortens_the_first() {
    let app = App::default();
    let handle = start(server(), &app);
    let mut busy = Client::connect(&handle);
    busy.send("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually(|| app.seen.load(Ordering::SeqCst) == 1);
    let first = handle.drain(LONG);
    assert_eq!(block_on(handle.drain(Duration::ZERO)).aborted, 1);
    assert_eq!(block_on(first).aborted, 1);
    block_on(handle.stopped());
}

#[test]
fn a_request_in_the_backlog_is_answered_before_the_listener_closes() {
    let handle = serve(server().max_connections(1));
    let mut first = Client::connect(&handle);
    first.get("/");
    let mut waiting = [(); 5].map(|()| Client::connect(&handle));
    for client in &mut waiting {
        client.send("GET /waited HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let drained = handle.drain(LONG);
    for client in &mut waiting {
        let reply = client.reply();
        assert!(reply.body == "/waited" && reply.closes());
    }
    block_on(drained);
}

#[test]
fn the_server_outlives_its_handles() {
    let handle = serve(server());
    let address = handle.local_addrs()[0];
    drop(handle);
    assert_eq!(Client::to(address).get("/").body, "/");
}

#[test]
#[cfg(unix)]
fn sigterm_asks_for_a_drain() {
    block_on(async {
        // It is listened for before anybody waits.
        let asked = tower_gateway::serve::shutdown_signal().unwrap();
        let kill = std::process::Command::new("kill").arg(std::process::id().to_string()).status();
        assert!(kill.unwrap().success());
        asked.await;
    });
}

// === Upgrades ===

#[test]
fn an_upgraded_connection_has_no_timeouts_and_keeps_its_place() {
    let upgrade = |mut request: Request<ServeBody>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut tunnel = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let (mut reader, mut writer) = tokio::io::split(&mut tunnel);
            tokio::io::copy(&mut reader, &mut writer).await
        });
        let response = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
    };
    let handle = server()
        .header_read_timeout(SHORT * 3)
        .keep_alive_timeout(SHORT * 3)
        .start(move |_| tower::service_fn(upgrade));
    let handle = handle.unwrap();
    let mut client = Client::connect(&handle);
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    assert!(client.head().starts_with("http/1.1 101"));
    std::thread::sleep(SHORT * 4);
    assert_eq!(handle.stats().open, 1);
    client.send("ping");
    let mut pong = [0; 4];
    client.0.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"ping");
    let drained = handle.drain(LONG);
    client.0.shutdown(Shutdown::Write).unwrap();
    client.assert_closed();
    assert_eq!(block_on(drained).finished, 1);
}
