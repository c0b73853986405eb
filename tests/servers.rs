//! Which servers of an upstream are used: checks, ejection, keys, and what is left when none is well.

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use support::failing::FailingOrigin as Server;
use support::{OriginConnection, PATIENCE, RawOrigin};
use tower::{Layer, ServiceExt};
use tower_gateway::proxy::{ProxyService, Timeouts};
use tower_gateway::retry::RetryLayer;
use tower_gateway::upstream::{Balance, Client, HashBy, HealthCheck, OutlierEjection, Upstream, UpstreamBuilder};
use tower_gateway::{RequestContext, Share, UpstreamErrorKind};

async fn servers<const N: usize>() -> [Server; N] {
    let mut servers = Vec::new();
    for _ in 0..N {
        servers.push(Server::start().await);
    }
    servers.try_into().ok().unwrap()
}

fn of(servers: &[&Server]) -> UpstreamBuilder {
    servers.iter().fold(Upstream::builder(), |builder, server| builder.server(server.origin.url(), 1))
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/").body(Empty::new()).unwrap()
}

async fn send(client: &Client, request: Request<Empty<Bytes>>) -> Result<StatusCode, UpstreamErrorKind> {
    let answer = tokio::time::timeout(PATIENCE, client.clone().oneshot(request)).await.expect("an answer");
    let answer = answer.map_err(|error| error.kind())?;
    let status = answer.status();
    answer.into_body().collect().await.map_err(|error| error.kind())?;
    Ok(status)
}

/// When so much time has passed, without waiting for it.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to be so");
}

fn check() -> HealthCheck {
    HealthCheck::http("/healthz".parse().unwrap())
        .interval(Duration::from_millis(20))
        .unhealthy_after(2)
        .healthy_after(2)
}

#[tokio::test]
async fn a_server_whose_checks_fail_gets_no_request_until_they_pass_again() {
    let [one, two] = servers().await;
    let upstream = Upstream::new([one.origin.url(), two.origin.url()]).unwrap();
    upstream.start_health_checks(&check().says("well"), &tokio::runtime::Handle::current());
    let client = Client::new(upstream.clone());
    assert!(upstream.is_well(), "healthy before the first check");
    one.fail(true);
    until(|| !upstream.servers()[0].passes_checks()).await;
    assert!(!upstream.is_well());
    one.take_requests();
    for _ in 0..20 {
        assert_eq!(send(&client, get()).await, Ok(StatusCode::OK));
    }
    assert_eq!((one.take_requests(), two.take_requests()), (0, 20));
    two.fail(true);
    until(|| !upstream.servers()[1].passes_checks()).await;
    assert_eq!(send(&client, get()).await, Err(UpstreamErrorKind::NoServer));
    one.fail(false);
    until(|| upstream.servers()[0].passes_checks()).await;
    assert_eq!(send(&client, get()).await, Ok(StatusCode::OK));
}

#[tokio::test]
async fn a_check_by_tcp_asks_for_a_connection_and_no_more() {
    let server = Server::start().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let upstream = Upstream::new([server.origin.url(), nobody]).unwrap();
    let check = HealthCheck::tcp().interval(Duration::from_millis(10)).unhealthy_after(1);
    upstream.start_health_checks(&check, &tokio::runtime::Handle::current());
    until(|| !upstream.servers()[1].passes_checks()).await;
    assert!(upstream.servers()[0].passes_checks());
}

#[tokio::test]
async fn when_too_few_are_well_all_are_used() {
    let [one, two, three] = servers().await;
    let upstream = of(&[&one, &two, &three]);
    let upstream = upstream.panic_threshold(Share::percent(50)).balance(Balance::RoundRobin).build().unwrap();
    upstream.start_health_checks(&check(), &tokio::runtime::Handle::current());
    let client = Client::new(upstream.clone());
    one.fail(true);
    until(|| !upstream.servers()[0].passes_checks()).await;
    for _ in 0..6 {
        assert_eq!(send(&client, get()).await, Ok(StatusCode::OK), "two of three are enough");
    }
    two.fail(true);
    until(|| !upstream.servers()[1].passes_checks()).await;
    let mut answers = Vec::new();
    for _ in 0..9 {
        answers.push(send(&client, get()).await.unwrap());
    }
    assert_eq!(answers.iter().filter(|status| **status == StatusCode::SERVICE_UNAVAILABLE).count(), 6);
}

#[tokio::test]
async fn a_server_that_fails_in_a_row_is_left_out_and_comes_back() {
    let [one, two, three] = servers().await;
    let mut ejection = OutlierEjection::default();
    ejection.consecutive_failures = Some(3);
    ejection.eject_for = Duration::from_secs(60);
    let upstream = of(&[&one, &two, &three]);
    let upstream = upstream.outlier_ejection(ejection).balance(Balance::RoundRobin).build().unwrap();
    let client = Client::new(upstream.clone());
    for server in [&one, &two] {
        server.fail(true);
    }
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(send(&client, get()).await.unwrap() != StatusCode::OK);
    }
    let ejected = upstream.servers().iter().filter(|server| server.is_ejected()).count();
    assert_eq!(ejected, 1, "half of three, rounded down");
    assert!(failed < 20, "{failed} of 30 failed");
    assert!(!upstream.is_well());
    for server in [&one, &two] {
        server.fail(false);
    }
    later(Duration::from_secs(60)).await;
    for server in [&one, &two, &three] {
        server.take_requests();
    }
    for _ in 0..30 {
        assert_eq!(send(&client, get()).await, Ok(StatusCode::OK));
    }
    assert!([&one, &two, &three].iter().all(|server| server.take_requests() == 10), "all take their turns again");
    assert!(upstream.is_well());
}

#[tokio::test]
async fn a_server_that_was_left_out_comes_back_for_one_that_fails_now() {
    let [one, two] = servers().await;
    let mut ejection = OutlierEjection::default();
    ejection.consecutive_failures = Some(3);
    let upstream = of(&[&one, &two]).outlier_ejection(ejection).balance(Balance::RoundRobin).build().unwrap();
    let client = Client::new(upstream.clone());
    let is_ejected = || [0, 1].map(|server| upstream.servers()[server].is_ejected());
    one.fail(true);
    for _ in 0..6 {
        send(&client, get()).await.unwrap();
    }
    assert_eq!(is_ejected(), [true, false]);
    one.fail(false);
    two.fail(true);
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(send(&client, get()).await.unwrap() != StatusCode::OK);
    }
    assert_eq!((failed, is_ejected()), (3, [false, true]));
    // What was withdrawn does not make the next one longer.
    assert_eq!([0, 1].map(|server| upstream.servers()[server].ejections()), [0, 1]);
}

#[tokio::test]
async fn a_request_that_has_failed_goes_to_a_server_that_is_left_out_before_it_goes_back() {
    let [one, two] = servers().await;
    let mut ejection = OutlierEjection::default();
    ejection.consecutive_failures = Some(2);
    let upstream = of(&[&one, &two]).outlier_ejection(ejection).balance(Balance::RoundRobin).build().unwrap();
    let client = Client::new(upstream.clone());
    one.fail(true);
    for _ in 0..4 {
        send(&client, get()).await.unwrap();
    }
    assert!(upstream.servers()[0].is_ejected());
    one.fail(false);
    two.fail(true);
    let retry = RetryLayer::new().attempts(2).backoff(Duration::ZERO, Duration::ZERO).layer(client);
    let mut request = get();
    RequestContext::of(request.extensions_mut());
    let answer = tokio::time::timeout(PATIENCE, retry.oneshot(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(upstream.servers()[0].is_ejected(), "for others it is left out as before");
}

#[tokio::test]
async fn a_server_that_takes_too_long_is_left_out_though_the_proxy_gives_it_up() {
    let good = Server::start().await;
    let hangs = RawOrigin::scripted(|mut connection: OriginConnection| async move {
        connection.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut ejection = OutlierEjection::default();
    ejection.consecutive_failures = Some(2);
    let upstream = Upstream::builder().server(hangs.url(), 1).server(good.origin.url(), 1).balance(Balance::RoundRobin);
    let upstream = upstream.outlier_ejection(ejection).build().unwrap();
    let proxy = ProxyService::new(Client::new(upstream.clone()))
        .timeouts(Timeouts::none().response_head(Duration::from_millis(30)));
    for _ in 0..4 {
        let mut request = get();
        // By the context the client learns why it is given up.
        RequestContext::of(request.extensions_mut());
        let _ = proxy.clone().oneshot(request).await.unwrap();
    }
    assert!(upstream.servers()[0].is_ejected());
    assert!(!upstream.servers()[1].is_ejected());
}

#[tokio::test]
async fn a_reload_keeps_who_is_left_out() {
    let [one, two] = servers().await;
    let mut ejection = OutlierEjection::default();
    ejection.consecutive_failures = Some(1);
    let make = || of(&[&one, &two]).outlier_ejection(ejection.clone()).balance(Balance::RoundRobin);
    let old = make().build().unwrap();
    one.fail(true);
    let client = Client::new(old.clone());
    for _ in 0..2 {
        send(&client, get()).await.unwrap();
    }
    let new = make().adopt(&old).build().unwrap();
    assert!(new.servers()[0].is_ejected());
    one.take_requests();
    let client = Client::new(new);
    for _ in 0..4 {
        assert_eq!(send(&client, get()).await, Ok(StatusCode::OK));
    }
    assert_eq!(one.take_requests(), 0);
}

#[tokio::test]
async fn requests_with_the_same_key_go_to_the_same_server() {
    let [one, two, three] = servers().await;
    for (by, field) in
        [(HashBy::Header("x-tenant".parse().unwrap()), "x-tenant"), (HashBy::Cookie("sid".into()), "cookie")]
    {
        let client = Client::new(of(&[&one, &two, &three]).balance(Balance::Hash(by)).build().unwrap());
        let mut homes = 0;
        for tenant in 0..60 {
            let value = if field == "cookie" { format!("a=b; sid={tenant}") } else { tenant.to_string() };
            for _ in 0..3 {
                let mut request = get();
                request.headers_mut().insert(field, value.parse().unwrap());
                send(&client, request).await.unwrap();
            }
            let counts = [one.take_requests(), two.take_requests(), three.take_requests()];
            assert!(counts.contains(&3), "{counts:?}");
            homes |= counts.iter().position(|count| *count == 3).map_or(0, |home| 1 << home);
        }
        assert_eq!(homes, 7, "every server has its tenants");
    }
}

#[tokio::test]
async fn peak_ewma_avoids_the_server_that_is_slow() {
    let fast = Server::start().await;
    let slow = RawOrigin::scripted(|mut connection: OriginConnection| async move {
        while connection.request().await.is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let upstream = Upstream::builder().server(fast.origin.url(), 1).server(slow.url(), 1).balance(Balance::PeakEwma);
    let client = Client::new(upstream.build().unwrap());
    for _ in 0..50 {
        send(&client, get()).await.unwrap();
    }
    assert!(fast.take_requests() >= 48);
}
