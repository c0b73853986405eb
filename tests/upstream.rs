//! Connections to origins: kept, counted, bounded, given up.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use support::{Nobody, OriginConnection, PATIENCE, RawOrigin, field, turns};
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_gateway::proxy::ProxyService;
use tower_gateway::upstream::{Balance, Client, OriginBody, Upstream, UpstreamBuilder};
use tower_gateway::{BoxError, UpstreamError, UpstreamErrorKind};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(target: &str) -> Request<Empty<Bytes>> {
    Request::get(target).body(Empty::new()).unwrap()
}

async fn send(client: &Client, request: Request<Empty<Bytes>>) -> Result<Response<OriginBody>, UpstreamError> {
    tokio::time::timeout(PATIENCE, client.clone().oneshot(request)).await.expect("no answer came")
}

async fn answered(client: &Client) -> String {
    let response = send(client, get("/")).await.unwrap();
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// An origin that counts its connections, and answers each request with their number.
async fn counting(close_after: usize) -> (RawOrigin, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let origin = RawOrigin::scripted(move |mut connection: OriginConnection| {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            for _ in 0..close_after {
                if connection.request().await.is_none() {
                    return;
                }
                connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")).await;
            }
        }
    })
    .await;
    (origin, connections)
}

fn builder(origin: &RawOrigin) -> UpstreamBuilder {
    Upstream::builder().server(origin.url(), 1)
}

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let (origin, _) = counting(usize::MAX).await;
    let client = Client::new(builder(&origin).build().unwrap());
    for _ in 0..5 {
        assert_eq!(answered(&client).await, "1");
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_when_none_is_to_be() {
    let (origin, _) = counting(usize::MAX).await;
    let client = Client::new(builder(&origin).keep_alive_timeout(Duration::ZERO).build().unwrap());
    for expected in ["1", "2"] {
        assert_eq!(answered(&client).await, expected);
    }
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_while_idle_is_replaced() {
    let (origin, _) = counting(1).await;
    let client = Client::new(builder(&origin).build().unwrap());
    for expected in ["1", "2", "3"] {
        assert_eq!(answered(&client).await, expected);
        // The end of the connection reaches the client's task.
        turns().await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_costs_its_connection() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        while connection.request().await.is_some() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
            connection.send("x".repeat(1000)).await;
        }
    })
    .await;
    let upstream = builder(&origin).max_connections_per_server(1).build().unwrap();
    let client = Client::new(upstream.clone());
    for _ in 0..3 {
        let response = send(&client, get("/")).await.unwrap();
        assert_eq!(upstream.servers()[0].in_flight(), 1);
        drop(response);
        assert_eq!(upstream.servers()[0].in_flight(), 0);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let (closed, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let origin = RawOrigin::scripted(move |mut connection| {
        let closed = closed.clone();
        async move {
            connection.request().await;
            connection.send(OK).await;
            connection.closed().await;
            closed.send(()).unwrap();
        }
    })
    .await;
    let client = Client::new(builder(&origin).keep_alive_timeout(Duration::from_millis(50)).build().unwrap());
    assert_eq!(answered(&client).await, "ok");
    tokio::time::timeout(PATIENCE, seen.recv()).await.expect("the idle connection stays open").unwrap();
}

/// An origin whose answers wait for leave.
async fn held() -> (RawOrigin, Arc<Notify>) {
    let leave = Arc::new(Notify::new());
    let hold = leave.clone();
    let origin = RawOrigin::scripted(move |mut connection| {
        let hold = hold.clone();
        async move {
            while connection.request().await.is_some() {
                hold.notified().await;
                connection.send(OK).await;
            }
        }
    })
    .await;
    (origin, leave)
}

#[tokio::test]
async fn requests_beyond_the_limit_wait_and_then_fail() {
    let (mut origin, leave) = held().await;
    let limited = builder(&origin).max_connections_per_server(1);
    let client = Client::new(limited.queue_timeout(Duration::from_millis(100)).build().unwrap());
    let first = tokio::spawn(client.clone().oneshot(get("/first")));
    origin.received().await;

    let refused = send(&client, get("/second")).await.unwrap_err();
    assert_eq!(refused.kind(), UpstreamErrorKind::Overloaded);
    assert_eq!(refused.kind().status(), StatusCode::SERVICE_UNAVAILABLE);

    let third = tokio::spawn(client.oneshot(get("/third")));
    leave.notify_one();
    let body = first.await.unwrap().unwrap().into_body();
    drop(body.collect().await);
    // The connection came back, and the one that waited has it.
    assert!(origin.received().await.starts_with("GET /third "));
    leave.notify_one();
    assert_eq!(third.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_connection_idle_in_one_client_makes_room_for_another() {
    let (origin, connections) = counting(usize::MAX).await;
    let upstream = builder(&origin).max_connections_per_server(1).build().unwrap();
    let (one, other) = (Client::new(upstream.clone()), Client::new(upstream));
    assert_eq!(answered(&one).await, "1");
    assert_eq!(answered(&other).await, "2");
    assert_eq!(answered(&one).await, "3");
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connect_that_takes_too_long_is_given_up() {
    // A listener whose backlog is full answers no further connection.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        fill.push(stream);
        assert!(fill.len() < 64, "the backlog does not fill");
    }
    let upstream =
        Upstream::builder().server(format!("http://{address}"), 1).connect_timeout(Duration::from_millis(50));
    let error = send(&Client::new(upstream.build().unwrap()), get("/")).await.unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::ConnectTimeout);
}

#[tokio::test]
async fn servers_take_turns_and_have_bases_of_their_own() {
    let (mut one, mut two) = (RawOrigin::answering(OK).await, RawOrigin::answering(OK).await);
    let upstream = Upstream::builder()
        .server(one.url(), 1)
        .server(format!("{}/base/", two.url()), 1)
        .balance(Balance::RoundRobin)
        .build()
        .unwrap();
    let client = Client::new(upstream);
    for _ in 0..2 {
        send(&client, get("/a?b")).await.unwrap();
        send(&client, get("/a?b")).await.unwrap();
    }
    for _ in 0..2 {
        let head = one.received().await;
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"));
        assert_eq!(field(&head, "host"), Some(one.address.to_string().as_str()));
        assert!(two.received().await.starts_with("GET /base/a?b HTTP/1.1\r\n"));
    }
}

#[tokio::test]
async fn least_requests_avoids_the_server_that_hangs() {
    let (mut slow, leave) = held().await;
    let (fast, _) = counting(usize::MAX).await;
    let client = Client::new(Upstream::new([slow.url(), fast.url()]).unwrap());
    // As soon as one request hangs at the slow server, every other goes to the one that answers.
    let mut hung = Vec::new();
    while hung.is_empty() {
        let mut call = tokio::spawn(client.clone().oneshot(get("/")));
        tokio::select! {
            answer = &mut call => drop(answer.unwrap().unwrap().into_body().collect().await),
            _ = slow.received() => hung.push(call),
        }
    }
    for _ in 0..20 {
        assert_eq!(answered(&client).await, "1");
    }
    leave.notify_one();
}

#[tokio::test]
async fn the_proxy_takes_hyper_utils_client() {
    let mut origin = RawOrigin::answering(OK).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let proxy = ProxyService::new(client).to(&format!("{}/base", origin.url()).parse().unwrap()).unwrap();
    let response = proxy.clone().oneshot(Request::post("/a?b").body(Full::<Bytes>::from("hi")).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    let request = origin.received().await;
    assert!(request.starts_with("POST /base/a?b HTTP/1.1\r\n") && request.ends_with("hi"));

    drop(origin);
    let nobody = Nobody::new();
    let proxy = proxy.to(&nobody.url().parse().unwrap()).unwrap();
    let refused = proxy.oneshot(Request::get("/").body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn the_proxy_takes_reqwests_client() {
    let mut origin = RawOrigin::answering(OK).await;
    let reqwest = reqwest::Client::new();
    let client = tower::service_fn(move |request: Request<_>| {
        let reqwest = reqwest.clone();
        async move {
            let request = request.map(|body| reqwest::Body::wrap(BodyExt::map_err(body, BoxError::from)));
            let response = reqwest.execute(request.try_into()?).await?;
            Ok::<_, reqwest::Error>(Response::<reqwest::Body>::from(response))
        }
    });
    let proxy = ProxyService::new(client).to(&origin.url().parse().unwrap()).unwrap();
    let response = proxy.oneshot(Request::post("/a?b").body(Full::<Bytes>::from("hi")).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert!(origin.received().await.starts_with("POST /a?b HTTP/1.1\r\n"));
}
