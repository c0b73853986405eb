//! Servers that come and go while requests are sent, and clients that come back to theirs by a cookie.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use support::{Nobody, OriginConnection, PATIENCE, RawOrigin, turns};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_gateway::UpstreamErrorKind;
use tower_gateway::upstream::{Balance, Client, HealthCheck, ServerChange, StickyCookie, Upstream};

/// An origin that answers with its name.
async fn named(name: &'static str) -> RawOrigin {
    RawOrigin::scripted(move |mut connection: OriginConnection| async move {
        while connection.request().await.is_some() {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await;
        }
    })
    .await
}

async fn ask(client: &Client, cookie: Option<&str>) -> Result<(String, HeaderMap), UpstreamErrorKind> {
    let mut request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie.parse().unwrap());
    }
    let answer = tokio::time::timeout(PATIENCE, client.clone().oneshot(request)).await.expect("an answer");
    let (parts, body) = answer.map_err(|error| error.kind())?.into_parts();
    let content = body.collect().await.map_err(|error| error.kind())?.to_bytes();
    Ok((String::from_utf8(content.into()).unwrap(), parts.headers))
}

/// Who answers a few requests.
async fn who(client: &Client) -> HashSet<String> {
    let mut names = HashSet::new();
    for _ in 0..40 {
        names.insert(ask(client, None).await.unwrap().0);
    }
    names
}

fn are(names: &[&str]) -> HashSet<String> {
    names.iter().map(ToString::to_string).collect()
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to be so");
}

#[tokio::test]
async fn servers_come_and_go_while_requests_are_sent() {
    let (one, two) = (named("one").await, named("two").await);
    let balances = [Balance::LeastRequests, Balance::RoundRobin, Balance::PeakEwma];
    for balance in balances {
        let upstream = Upstream::builder().server(one.url(), 1).balance(balance).build().unwrap();
        let client = Client::new(upstream.clone());
        assert_eq!(who(&client).await, are(&["one"]));
        upstream.set_server(&two.url(), 1).unwrap();
        assert!(who(&client).await.contains("two"));
        assert!(upstream.remove_server(&one.url()).unwrap());
        assert_eq!(who(&client).await, are(&["two"]));
        assert!(!upstream.remove_server(&one.url()).unwrap(), "it is gone already");
        assert!(upstream.remove_server(&two.url()).unwrap());
        assert_eq!(ask(&client, None).await.unwrap_err(), UpstreamErrorKind::NoServer);
        upstream.set_server(&one.url(), 1).unwrap();
        assert_eq!(who(&client).await, are(&["one"]));
    }
}

#[tokio::test]
async fn a_request_in_flight_at_a_server_that_is_removed_finishes() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, waits) = (asked.clone(), go.clone());
    let closed = Arc::new(AtomicBool::new(false));
    let is_closed = closed.clone();
    let slow = RawOrigin::scripted(move |mut connection: OriginConnection| {
        let (told, waits, is_closed) = (told.clone(), waits.clone(), is_closed.clone());
        async move {
            while connection.request().await.is_some() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
                told.notify_one();
                waits.notified().await;
                connection.send("half").await;
            }
            is_closed.store(true, Ordering::SeqCst);
        }
    })
    .await;
    let other = named("other").await;
    let upstream = Upstream::new([slow.url()]).unwrap();
    let client = Client::new(upstream.clone());
    let in_flight = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, None).await }
    });
    asked.notified().await;
    let server = upstream.servers()[0].clone();
    upstream.set_server(&other.url(), 1).unwrap();
    upstream.remove_server(&slow.url()).unwrap();
    assert_eq!(who(&client).await, are(&["other"]));
    assert_eq!(server.in_flight(), 1);
    go.notify_one();
    assert_eq!(in_flight.await.unwrap().unwrap().0, "halfhalf");
    assert_eq!(server.in_flight(), 0);
    // Nobody will need its connection again.
    until(|| closed.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn idle_connections_to_a_server_that_is_removed_are_closed() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let origin = RawOrigin::scripted(move |mut connection: OriginConnection| {
        let count = count.clone();
        async move {
            while connection.request().await.is_some() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
            }
            let _ = connection.stream.read(&mut [0]).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let upstream = Upstream::new([origin.url()]).unwrap();
    let (one, two) = (Client::new(upstream.clone()), Client::new(upstream.clone()));
    for client in [&one, &two] {
        ask(client, None).await.unwrap();
    }
    upstream.remove_server(&origin.url()).unwrap();
    until(|| ended.load(Ordering::SeqCst) == 2).await;
    // The same address again is another server, in the same place.
    upstream.set_server(&origin.url(), 1).unwrap();
    assert_eq!(ask(&one, None).await.unwrap().0, "x");
}

#[tokio::test]
async fn another_weight_keeps_what_is_known_of_a_server() {
    let (one, two) = (named("one").await, named("two").await);
    let upstream =
        Upstream::builder().server(one.url(), 1).server(two.url(), 1).balance(Balance::RoundRobin).build().unwrap();
    let before = upstream.servers();
    upstream.set_server(&one.url(), 3).unwrap();
    assert!(Arc::ptr_eq(&before[0], &upstream.servers()[0]));
    let client = Client::new(upstream.clone());
    let mut ones = 0;
    for _ in 0..40 {
        ones += usize::from(ask(&client, None).await.unwrap().0 == "one");
    }
    assert_eq!((ones, upstream.servers()[0].weight()), (30, 3));
    assert!(upstream.set_server(&one.url(), 0).is_err());
    assert!(upstream.set_server("one", 1).is_err());
}

#[tokio::test]
async fn what_is_discovered_is_followed_until_the_upstream_is_gone() {
    let (one, two) = (named("one").await, named("two").await);
    let upstream = Upstream::builder().may_be_empty(true).build().unwrap();
    let client = Client::new(upstream.clone());
    assert_eq!(ask(&client, None).await.unwrap_err(), UpstreamErrorKind::NoServer);
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let changes = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    upstream.follow(changes, &Handle::current());
    sender.send(ServerChange::set(&one.url(), 1).unwrap()).unwrap();
    sender.send(ServerChange::set(&two.url(), 1).unwrap()).unwrap();
    until(|| upstream.servers().len() == 2).await;
    assert_eq!(who(&client).await, are(&["one", "two"]));
    sender.send(ServerChange::remove(&one.url()).unwrap()).unwrap();
    until(|| upstream.servers().len() == 1).await;
    assert_eq!(who(&client).await, are(&["two"]));
    drop((client, upstream));
    until(|| sender.send(ServerChange::remove(&two.url()).unwrap()).is_err()).await;
}

#[tokio::test]
async fn a_server_that_comes_later_is_asked_whether_it_is_well() {
    let well = named("well").await;
    let upstream = Upstream::new([well.url()]).unwrap();
    let check = HealthCheck::tcp().interval(Duration::from_millis(10)).unhealthy_after(1);
    upstream.start_health_checks(&check, &Handle::current());
    let nobody = Nobody::new();
    upstream.set_server(&nobody.url(), 1).unwrap();
    until(|| !upstream.servers()[1].passes_checks()).await;
    assert_eq!(who(&Client::new(upstream)).await, are(&["well"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_while_servers_change_under_load() {
    let origins = [named("a").await, named("b").await, named("c").await];
    let upstream = Upstream::new([origins[0].url()]).unwrap();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop, answered) = (Client::new(upstream.clone()), stop.clone(), answered.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    ask(&client, None).await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in (0..).take_while(|round| *round < 200 || answered.load(Ordering::Relaxed) < 400) {
        upstream.set_server(&origins[1 + round % 2].url(), 1 + round as u32 % 3).unwrap();
        tokio::task::yield_now().await;
        upstream.remove_server(&origins[1 + (round + 1) % 2].url()).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(upstream.servers().iter().all(|server| server.in_flight() == 0));
}

#[tokio::test]
async fn a_client_comes_back_to_its_server_by_a_cookie() {
    let origins = [named("a").await, named("b").await, named("c").await];
    let sticky = Balance::Sticky(StickyCookie::new("at", "a secret").unwrap());
    let builder = origins.iter().fold(Upstream::builder(), |builder, origin| builder.server(origin.url(), 1));
    let upstream = builder.balance(sticky).build().unwrap();
    let client = Client::new(upstream.clone());
    let (home, headers) = ask(&client, None).await.unwrap();
    let set = headers[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.starts_with("at=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = set.split(';').next().unwrap();
    for _ in 0..20 {
        let (name, headers) = ask(&client, Some(cookie)).await.unwrap();
        assert_eq!((name.as_str(), headers.contains_key(SET_COOKIE)), (home.as_str(), false));
    }
    assert_eq!(who(&client).await, are(&["a", "b", "c"]), "those without one are spread");
    // Its server goes: it is given another, and stays there.
    upstream.remove_server(&home_of(&origins, &home)).unwrap();
    let (new_home, headers) = ask(&client, Some(cookie)).await.unwrap();
    assert_ne!(new_home, home);
    let cookie = headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(ask(&client, Some(&cookie)).await.unwrap().0, new_home);
}

/// The URL of the origin of this name.
fn home_of(origins: &[RawOrigin], name: &str) -> String {
    let index = ["a", "b", "c"].iter().position(|own| *own == name).unwrap();
    origins[index].url()
}

/// What becomes of one request to an origin that behaves so on the socket.
async fn meets<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(OriginConnection) -> F + Send + 'static,
) -> Result<String, UpstreamErrorKind> {
    let origin = RawOrigin::scripted(script).await;
    let client = Client::new(Upstream::new([origin.url()]).unwrap());
    ask(&client, None).await.map(|(content, _)| content)
}

#[tokio::test]
async fn an_origin_that_closes_its_half_ends_what_it_has_said_and_no_more() {
    use tokio::io::AsyncWriteExt;
    // After the whole answer: that is an answer.
    let whole = meets(|mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").await;
        connection.stream.shutdown().await.unwrap();
        let _ = connection.stream.read(&mut [0]).await;
    });
    assert_eq!(whole.await.unwrap(), "whole");
    // Within the body: it is never taken for whole.
    let cut = meets(|mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwh").await;
        connection.stream.shutdown().await.unwrap();
        let _ = connection.stream.read(&mut [0]).await;
    });
    assert!(cut.await.is_err());
    // Within the head, though it goes on to read.
    let headless = meets(|mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-").await;
        connection.stream.shutdown().await.unwrap();
        let _ = connection.stream.read(&mut [0]).await;
    });
    assert!(headless.await.is_err());
}

#[tokio::test]
async fn a_connection_whose_other_half_was_closed_while_idle_is_not_used_again() {
    use tokio::io::AsyncWriteExt;
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let origin = RawOrigin::scripted(move |mut connection: OriginConnection| {
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            connection.request().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
            // It will say nothing more, and goes on to read all the same.
            connection.stream.shutdown().await.unwrap();
            while connection.request().await.is_some() {}
        }
    })
    .await;
    let client = Client::new(Upstream::new([origin.url()]).unwrap());
    for expected in 1..=3 {
        assert_eq!(ask(&client, None).await.unwrap().0, "x");
        assert_eq!(connections.load(Ordering::SeqCst), expected);
        turns().await;
    }
}
