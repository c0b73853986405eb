//! What an origin receives and what a client gets back, on raw sockets behind `ProxyService` and `Client`.

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use support::{Nobody, PATIENCE, RawOrigin, field};
use tokio::sync::mpsc;
use tower::{Service, ServiceExt};
use tower_gateway::proxy::{HostPolicy, ProxyService, Timeouts};
use tower_gateway::upstream::{Client, Upstream};
use tower_gateway::{ClientIp, Connection, Reason, RequestContext, UpstreamErrorKind};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn proxy(origin: &RawOrigin) -> ProxyService<Client> {
    ProxyService::new(Client::new(Upstream::new([origin.url()]).unwrap()))
}

fn get(target: &str) -> Request<Empty<Bytes>> {
    Request::get(target).header("host", "api.example").body(Empty::new()).unwrap()
}

/// A request over a connection from `peer`, whose address was resolved.
fn from_peer<B>(mut request: Request<B>, peer: &str, client: Option<&str>) -> (Request<B>, RequestContext) {
    let peer: SocketAddr = peer.parse().unwrap();
    let context = RequestContext::of(request.extensions_mut());
    context.set_connection(Connection::plain(peer, "127.0.0.1:8080".parse().unwrap()));
    context.set_client_ip(match client {
        None => ClientIp::from_peer(peer, 64),
        Some(client) => ClientIp::behind_trusted(peer, client.parse().unwrap(), 64),
    });
    (request, context)
}

async fn send<S, B, R>(service: S, request: Request<B>) -> Response<Pin<Box<R>>>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    match tokio::time::timeout(PATIENCE, service.oneshot(request)).await {
        Ok(Ok(response)) => response.map(Box::pin),
        Ok(Err(never)) => match never {},
        Err(_) => panic!("no answer came"),
    }
}

async fn text<B: Body<Error: std::fmt::Debug>>(response: Response<B>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn the_path_loses_its_prefix_and_the_query_stays_as_it_was() {
    let mut origin = RawOrigin::answering(OK).await;
    let proxy = proxy(&origin).strip_prefix("/api").unwrap();
    let response = send(proxy, get("/api/users/7?a=%2F&&b=c+d?e")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("date"), "a recipient with a clock adds the missing Date");
    assert_eq!(text(response).await, "ok");
    assert!(origin.received().await.starts_with("GET /users/7?a=%2F&&b=c+d?e HTTP/1.1\r\n"));
}

#[tokio::test]
async fn host_is_the_origins_the_clients_or_a_fixed_one() {
    let mut origin = RawOrigin::answering(OK).await;
    let own = origin.address.to_string();
    for (policy, expected) in [
        (HostPolicy::Upstream, own.as_str()),
        (HostPolicy::Client, "api.example"),
        (HostPolicy::Fixed("fixed.example".parse().unwrap()), "fixed.example"),
    ] {
        send(proxy(&origin).host(policy), get("/")).await;
        let head = origin.received().await;
        assert_eq!(field(&head, "host"), Some(expected));
        assert_eq!(head.to_lowercase().matches("\r\nhost:").count(), 1);
    }
}

#[tokio::test]
async fn an_absolute_targets_authority_goes_before_host() {
    let mut origin = RawOrigin::answering(OK).await;
    send(proxy(&origin).host(HostPolicy::Client), get("http://user:pw@real.example/x")).await;
    let head = origin.received().await;
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"));
    assert_eq!(field(&head, "host"), Some("real.example"));
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind_and_cannot_take_ours_along() {
    let mut origin = RawOrigin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\nok",
    )
    .await;
    let mut request = get("/");
    for (name, value) in [
        ("connection", "close, x-forwarded-for, x-hop, via, x-user"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("proxy-authorization", "Basic x"),
        ("upgrade", "h2c"),
        ("te", "gzip, trailers"),
        ("x-kept", "1"),
        ("expect", "100-continue"),
    ] {
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let (request, _) = from_peer(request, "192.0.2.1:1", None);
    let response = send(proxy(&origin), request).await;
    for gone in ["connection", "x-secret", "keep-alive", "proxy-authenticate"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    assert_eq!(response.headers()["x-kept"], "1");

    let head = origin.received().await;
    for gone in ["x-hop", "keep-alive", "proxy-authorization", "upgrade", "expect"] {
        assert_eq!(field(&head, gone), None, "{gone}");
    }
    // Of TE the origin is told anew, and that it is for this hop alone (RFC 9110 section 10.1.4).
    assert_eq!((field(&head, "te"), field(&head, "connection")), (Some("trailers"), Some("te")));
    assert_eq!(field(&head, "x-kept"), Some("1"));
    assert_eq!(field(&head, "x-forwarded-for"), Some("192.0.2.1"));
    assert!(field(&head, "via").unwrap().starts_with("1.1 tower-gateway-"));
}

#[tokio::test]
async fn the_way_of_a_request_is_told_and_nothing_the_client_says_of_it() {
    let mut origin = RawOrigin::answering(OK).await;
    let mut request = get("/");
    request.headers_mut().insert("x-forwarded-for", "6.6.6.6".parse().unwrap());
    request.headers_mut().insert("x-forwarded-proto", "https".parse().unwrap());
    request.headers_mut().insert("forwarded", "for=6.6.6.6".parse().unwrap());
    // No layer resolved the client here: what it says is not believed.
    let context = RequestContext::of(request.extensions_mut());
    context.set_connection(Connection::plain("192.0.2.1:1".parse().unwrap(), "127.0.0.1:1".parse().unwrap()));
    send(proxy(&origin).forwarded(true), request).await;
    let head = origin.received().await;
    assert_eq!(field(&head, "x-forwarded-for"), Some("192.0.2.1"));
    assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(&head, "x-forwarded-host"), Some("api.example"));
    assert_eq!(field(&head, "forwarded"), Some("for=192.0.2.1;host=\"api.example\";proto=http"));
}

#[tokio::test]
async fn a_trusted_proxys_chain_is_continued() {
    let mut origin = RawOrigin::answering(OK).await;
    let mut request = get("/");
    request.headers_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
    let (request, _) = from_peer(request, "10.0.0.1:1", Some("203.0.113.9"));
    send(proxy(&origin), request).await;
    assert_eq!(field(&origin.received().await, "x-forwarded-for"), Some("203.0.113.9, 10.0.0.1"));
}

#[tokio::test]
async fn a_request_that_comes_by_again_is_a_loop() {
    let mut origin = RawOrigin::answering(OK).await;
    let proxy = proxy(&origin).via_name("edge-1").unwrap();
    let mut request = get("/");
    request.headers_mut().insert("via", "1.1 other, 1.1 edge-1".parse().unwrap());
    let (request, context) = from_peer(request, "192.0.2.1:1", None);
    let response = send(proxy, request).await;
    assert_eq!(response.status(), StatusCode::LOOP_DETECTED);
    assert_eq!(context.rejection().unwrap().reason(), Reason::LoopDetected);
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn an_options_goes_no_further_than_it_may() {
    let mut origin = RawOrigin::answering(OK).await;
    let options = |hops: &str| Request::options("/").header("max-forwards", hops).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(send(proxy(&origin), options("0")).await.status(), StatusCode::OK);
    assert!(origin.is_untouched());
    send(proxy(&origin), options("5")).await;
    assert_eq!(field(&origin.received().await, "max-forwards"), Some("4"));
}

#[tokio::test]
async fn an_expectation_that_nobody_meets_is_a_417() {
    let mut origin = RawOrigin::answering(OK).await;
    for expected in [&["200-maybe"][..], &["100-continue", "200-maybe"], &["100-continue, 200-maybe"], &[""]] {
        let request = expected.iter().fold(Request::post("/"), |request, line| request.header("expect", *line));
        let request = request.body(Full::<Bytes>::from("hi")).unwrap();
        assert_eq!(send(proxy(&origin), request).await.status(), StatusCode::EXPECTATION_FAILED, "{expected:?}");
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn a_body_is_framed_by_what_it_is_and_not_by_its_method() {
    let mut origin = RawOrigin::answering(OK).await;
    let frames = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"abc")))]);
    send(proxy(&origin), Request::get("/").body(StreamBody::new(frames)).unwrap()).await;
    assert!(origin.received().await.ends_with("3\r\nabc\r\n0\r\n\r\n"));
    send(proxy(&origin), Request::post("/").body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(field(&origin.received().await, "content-length"), Some("0"));
}

#[tokio::test]
async fn an_upload_that_the_origin_does_not_read_gives_its_connection_back() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        let head = connection.head().await.unwrap_or_default();
        if head.starts_with("GET") {
            connection.send(OK).await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let upstream = Upstream::builder().server(origin.url(), 1).max_connections_per_server(1).build().unwrap();
    let timeouts = Timeouts::none().response_head(Duration::from_millis(200));
    let proxy = ProxyService::new(Client::new(upstream)).timeouts(timeouts);
    let upload = Request::post("/").body(Full::<Bytes>::from(vec![b'x'; 50 << 20])).unwrap();
    assert_eq!(send(proxy.clone(), upload).await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(send(proxy, get("/")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn connect_and_trace_reach_no_origin() {
    let mut origin = RawOrigin::answering(OK).await;
    for (method, target) in [(Method::TRACE, "/"), (Method::CONNECT, "example.com:443")] {
        let request = Request::builder().method(method).uri(target).body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(send(proxy(&origin), request).await.status(), StatusCode::NOT_IMPLEMENTED);
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn identity_headers_of_a_client_are_removed_in_any_spelling() {
    let mut origin = RawOrigin::answering(OK).await;
    let proxy = proxy(&origin).remove_request_headers([HeaderName::from_static("x-user-id")]);
    let mut request = get("/");
    for name in ["X-User-Id", "x_user_id", "X-USER_ID"] {
        request.headers_mut().append(name.parse::<HeaderName>().unwrap(), "admin".parse().unwrap());
    }
    send(proxy, request).await;
    assert!(!origin.received().await.contains("admin"));
}

#[tokio::test]
async fn bodies_are_framed_anew_with_or_without_a_length() {
    let mut origin = RawOrigin::answering(OK).await;
    let proxy = proxy(&origin);
    let known = Request::post("/").header("content-length", "999").body(Full::<Bytes>::from("hello")).unwrap();
    send(proxy.clone(), known).await;
    let request = origin.received().await;
    assert_eq!(field(&request, "content-length"), Some("5"));
    assert!(request.ends_with("\r\n\r\nhello"));

    let frames = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello")))]);
    send(proxy.clone(), Request::post("/").body(StreamBody::new(frames)).unwrap()).await;
    let request = origin.received().await;
    assert_eq!(field(&request, "transfer-encoding"), Some("chunked"));
    assert!(request.ends_with("5\r\nhello\r\n0\r\n\r\n"));

    send(proxy, get("/")).await;
    let request = origin.received().await;
    assert_eq!((field(&request, "transfer-encoding"), field(&request, "content-length")), (None, None));
}

#[tokio::test]
async fn trailers_pass_both_ways_but_for_those_that_smuggle() {
    let mut origin = RawOrigin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\
         Content-Length: 9\r\nSet-Cookie: a=b\r\n\r\n",
    )
    .await;
    let mut trailers = HeaderMap::new();
    for (name, value) in [("x-check", "1"), ("host", "evil"), ("x_user", "admin"), ("content-length", "1")] {
        trailers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let frames =
        stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a"))), Ok(Frame::trailers(trailers))]);
    let request = Request::post("/")
        .header("te", "trailers")
        .header("trailer", "x-check, host, x_user, content-length")
        .body(StreamBody::new(frames))
        .unwrap();
    let proxy = proxy(&origin).remove_request_headers([HeaderName::from_static("x-user")]);
    let response = send(proxy, request).await;
    let collected = response.into_body().collect().await.unwrap();
    let back = collected.trailers().unwrap();
    assert_eq!((back.len(), &back["x-sum"]), (1, &"7".parse().unwrap()));
    let request = origin.received().await.to_lowercase();
    assert!(request.ends_with("1\r\na\r\n0\r\nx-check: 1\r\n\r\n"), "{request}");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_meaning() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        while let Some(request) = connection.request().await {
            let answer = match request.split(' ').nth(1).unwrap() {
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nETag: \"x\"\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 304 Not Modified\r\nContent-Length: 1024\r\nETag: \"x\"\r\n\r\n",
            };
            connection.send(answer).await;
        }
    })
    .await;
    let proxy = proxy(&origin);
    let head = send(proxy.clone(), Request::head("/head").body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!((head.status(), &head.headers()["content-length"]), (StatusCode::OK, &"1024".parse().unwrap()));
    assert!(head.body().is_end_stream());
    let empty = send(proxy.clone(), get("/204")).await;
    assert_eq!(empty.status(), StatusCode::NO_CONTENT);
    assert!(!empty.headers().contains_key("content-length"));
    let same = send(proxy, get("/304")).await;
    assert_eq!((same.status(), &same.headers()["etag"]), (StatusCode::NOT_MODIFIED, &"\"x\"".parse().unwrap()));
    assert_eq!(text(same).await, "");
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let (next, events) = mpsc::unbounded_channel::<&str>();
    let events = std::sync::Arc::new(tokio::sync::Mutex::new(events));
    let origin = RawOrigin::scripted(move |mut connection| {
        let events = events.clone();
        async move {
            connection.request().await;
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            while let Some(event) = events.lock().await.recv().await {
                connection.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await;
    let response = send(proxy(&origin), get("/events")).await;
    let mut frames = response.into_body().into_data_stream();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        next.send(event).unwrap();
        let frame = tokio::time::timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame, event);
    }
    drop(next);
    assert!(frames.next().await.is_none());
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_exchange() {
    let (gone, mut left) = mpsc::unbounded_channel();
    let origin = RawOrigin::scripted(move |mut connection| {
        let gone = gone.clone();
        async move {
            let head = connection.request().await.unwrap();
            if head.starts_with("GET /body") {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").await;
            }
            connection.closed().await;
            gone.send(()).unwrap();
        }
    })
    .await;
    // Before the head: the future is dropped.
    let client = proxy(&origin);
    let call = tokio::spawn(client.clone().oneshot(get("/head")));
    tokio::time::timeout(Duration::from_millis(50), left.recv()).await.unwrap_err();
    call.abort();
    tokio::time::timeout(PATIENCE, left.recv()).await.expect("the origin still waits");
    // Within the body: the body is dropped.
    let mut response = send(client, get("/body")).await;
    assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "part");
    drop(response);
    tokio::time::timeout(PATIENCE, left.recv()).await.expect("the origin still sends");
}

/// The status and the recorded kind of what comes of one request to an origin with this script.
async fn failure(answer: &'static str, reset: bool) -> (StatusCode, Option<UpstreamErrorKind>) {
    let origin = RawOrigin::scripted(move |mut connection| async move {
        connection.request().await;
        connection.send(answer).await;
        if reset {
            connection.reset();
        }
    })
    .await;
    let (request, context) = from_peer(get("/"), "192.0.2.1:1", None);
    let response = send(proxy(&origin), request).await;
    let status = response.status();
    let body = response.into_body().collect().await;
    if let Ok(body) = body
        && status.is_server_error()
    {
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        assert!(
            !body.contains("127.0.0.1")
                && !body.contains("hyper")
                && !body.contains(&origin.address.port().to_string())
        );
        assert!(body.contains("\"error\":\"upstream_"), "{body}");
    }
    (status, context.upstream_error().map(|error| error.kind()))
}

#[tokio::test]
async fn what_an_origin_breaks_is_a_502_with_its_kind_in_the_context() {
    const BAD: StatusCode = StatusCode::BAD_GATEWAY;
    assert_eq!(failure("", false).await, (BAD, Some(UpstreamErrorKind::Reset)));
    assert_eq!(failure("", true).await, (BAD, Some(UpstreamErrorKind::Reset)));
    assert_eq!(failure("SSH-2.0-OpenSSH\r\n\r\n", false).await, (BAD, Some(UpstreamErrorKind::InvalidResponse)));
    assert_eq!(failure("HTTP/1.1 200 OK\r\nContent-Le", false).await, (BAD, Some(UpstreamErrorKind::Reset)));
    for odd in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 999 Hm\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    ] {
        assert_eq!(failure(odd, false).await, (BAD, Some(UpstreamErrorKind::InvalidResponse)), "{odd}");
    }
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(failure(switched, false).await, (BAD, Some(UpstreamErrorKind::InvalidResponse)));
}

#[tokio::test]
async fn an_answer_cut_short_fails_its_body_and_is_never_taken_for_whole() {
    let truncated = failure("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", false).await;
    assert_eq!(truncated, (StatusCode::OK, Some(UpstreamErrorKind::Truncated)));
    let unchunked = failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false).await;
    assert_eq!(unchunked.1, Some(UpstreamErrorKind::Truncated));
}

#[tokio::test]
async fn nobody_at_the_address_is_a_502_and_a_name_that_is_none_too() {
    let closed = Nobody::new();
    for (url, kind) in
        [(closed.url(), UpstreamErrorKind::Connect), ("http://no-such-host.invalid".to_owned(), UpstreamErrorKind::Dns)]
    {
        let upstream = Upstream::builder().server(&url, 1).connect_timeout(Duration::from_secs(5)).build().unwrap();
        let (request, context) = from_peer(get("/"), "192.0.2.1:1", None);
        let response = send(ProxyService::new(Client::new(upstream)), request).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{url}");
        assert_eq!(context.upstream_error().unwrap().kind(), kind);
        assert_eq!(
            (context.tries(), context.upstream_server().unwrap().to_string()),
            (1, url["http://".len()..].to_owned())
        );
    }
}

#[tokio::test]
async fn a_slow_origin_is_a_504_and_a_slow_upload_is_not() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        while let Some(request) = connection.request().await {
            if request.starts_with("POST") {
                connection.send(OK).await;
            }
        }
    })
    .await;
    let timeouts = Timeouts::default().response_head(Duration::from_millis(500));
    let proxy = proxy(&origin).timeouts(timeouts);
    let (request, context) = from_peer(get("/"), "192.0.2.1:1", None);
    assert_eq!(send(proxy.clone(), request).await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(context.upstream_error().unwrap().kind(), UpstreamErrorKind::ResponseTimeout);

    let proxy = proxy.timeouts(timeouts.response_head(Duration::from_secs(1)));
    // The upload takes longer than the deadline, which starts at its end.
    let (piece, pieces) = mpsc::unbounded_channel::<Frame<Bytes>>();
    let body = StreamBody::new(stream::unfold(pieces, |mut pieces| async {
        pieces.recv().await.map(|piece| (Ok::<_, Infallible>(piece), pieces))
    }));
    let upload = tokio::spawn(send(proxy, Request::post("/").body(body).unwrap()));
    let mut ticks = tokio::time::interval(Duration::from_millis(300));
    for _ in 0..6 {
        ticks.tick().await;
        piece.send(Frame::data(Bytes::from_static(b"piece"))).unwrap();
    }
    drop(piece);
    assert_eq!(upload.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_answer_that_pauses_or_lasts_too_long_is_cut() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
        for _ in 0..5 {
            connection.send("drip").await;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        connection.closed().await;
    })
    .await;
    let kind_after = async |timeouts: Timeouts| {
        let (request, context) = from_peer(get("/"), "192.0.2.1:1", None);
        let response = send(proxy(&origin).timeouts(timeouts), request).await;
        let collected = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("never cut");
        assert!(collected.is_err());
        context.upstream_error().unwrap().kind()
    };
    let idle = Timeouts::none().body_idle(Duration::from_millis(250));
    assert_eq!(kind_after(idle).await, UpstreamErrorKind::BodyTimeout);
    let total = Timeouts::none().body_idle(PATIENCE).total(Duration::from_secs(1));
    assert_eq!(kind_after(total).await, UpstreamErrorKind::TotalTimeout);

    // A body that always has more is bounded all the same.
    let endless = tower::service_fn(async |_: Request<_>| {
        let frames = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"more"))));
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
    });
    let proxy = ProxyService::new(endless).timeouts(Timeouts::none().total(Duration::from_millis(50)));
    let mut body = send(proxy, get("/")).await.into_body().into_data_stream();
    let end = tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = body.next().await {} });
    end.await.expect("never cut");
}

#[tokio::test]
async fn a_stream_outlasts_the_total_unless_it_is_said_to_end_them() {
    let collected = async |kind: &'static str, timeouts: Timeouts| {
        let origin = RawOrigin::scripted(move |mut connection| async move {
            connection.request().await;
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 16\r\n\r\n")).await;
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                connection.send("data").await;
            }
        })
        .await;
        let response = send(proxy(&origin).timeouts(timeouts), get("/")).await;
        let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("an end");
        body.is_ok_and(|body| body.to_bytes().len() == 16)
    };
    let total = Timeouts::none().total(Duration::from_secs(1));
    assert!(collected("text/event-stream", total).await);
    assert!(collected("multipart/x-mixed-replace; boundary=frame", total).await);
    assert!(collected("application/grpc-web+proto", total).await);
    assert!(!collected("application/x-ndjson", total).await);
    assert!(!collected("text/plain", total).await);
    assert!(!collected("text/event-stream", total.total_ends_streams(true)).await);
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_the_clients_fault_and_never_whole() {
    let (whole, mut seen) = mpsc::unbounded_channel();
    let origin = RawOrigin::scripted(move |mut connection| {
        let whole = whole.clone();
        async move { whole.send(connection.request().await.is_some()).unwrap() }
    })
    .await;
    let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"half"))), Err(std::io::Error::other("gone"))]);
    let response = send(proxy(&origin), Request::post("/").body(StreamBody::new(frames)).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!seen.recv().await.unwrap(), "the origin took half a body for a whole one");
}

#[tokio::test]
async fn a_hook_may_word_the_failure() {
    let closed = Nobody::new();
    let proxy =
        ProxyService::new(Client::new(Upstream::new([closed.url()]).unwrap())).on_reject(|head, rejection, answer| {
            assert_eq!((head.method(), rejection.reason()), (&Method::GET, Reason::UpstreamConnect));
            *answer.body_mut() = Bytes::from_static(b"<h1>back soon</h1>");
        });
    assert_eq!(text(send(proxy, get("/")).await).await, "<h1>back soon</h1>");
}
