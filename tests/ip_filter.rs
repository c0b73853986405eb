//! Whom `IpFilterLayer` lets in.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_gateway::body::ResponseBody;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::ip_filter::{CidrSet, IpFilter, IpFilterFuture, IpFilterLayer};
use tower_gateway::{ClientIp, Reason, RequestContext};

type Body = http_body_util::Full<Bytes>;

fn request_of(client: &str) -> Request<()> {
    let mut request = Request::new(());
    let peer = std::net::SocketAddr::new(client.parse().unwrap(), 4711);
    RequestContext::of(request.extensions_mut()).set_client_ip(ClientIp::from_peer(peer, 64));
    request
}

async fn hello(_: Request<()>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("hello")))
}

async fn answer(layer: &IpFilterLayer, request: Request<()>) -> Response<ResponseBody<Body>> {
    layer.layer(service_fn(hello)).oneshot(request).await.unwrap()
}

async fn lets_in(layer: &IpFilterLayer, client: &str) -> bool {
    answer(layer, request_of(client)).await.status() == StatusCode::OK
}

fn ranges<const N: usize>(ranges: [&str; N]) -> CidrSet {
    CidrSet::parse(ranges).unwrap()
}

#[test]
fn services_and_futures_go_wherever_the_inner_ones_go() {
    static_assertions::assert_impl_all!(IpFilterLayer: Clone, Send, Sync, std::fmt::Debug);
    static_assertions::assert_impl_all!(IpFilter<()>: Clone, Send, Sync, std::fmt::Debug);
    static_assertions::assert_impl_all!(IpFilterFuture<std::future::Ready<()>>: Send, Sync);
}

#[tokio::test]
async fn only_those_who_are_allowed_are_let_in() {
    let office = IpFilterLayer::new().allow(ranges(["192.0.2.0/24", "2001:db8::/32"]));
    assert!(lets_in(&office, "192.0.2.7").await);
    assert!(lets_in(&office, "::ffff:192.0.2.7").await);
    assert!(lets_in(&office, "2001:db8::7").await);
    assert!(!lets_in(&office, "203.0.113.9").await);
    assert!(!lets_in(&office, "2001:db9::7").await);
}

#[tokio::test]
async fn whoever_is_denied_is_refused_even_if_allowed() {
    let layer = IpFilterLayer::new().allow(ranges(["192.0.2.0/24"])).deny(ranges(["192.0.2.66"]));
    assert!(lets_in(&layer, "192.0.2.65").await);
    assert!(!lets_in(&layer, "192.0.2.66").await);
}

#[tokio::test]
async fn an_empty_allow_list_lets_in_everybody_who_is_not_denied() {
    let layer = IpFilterLayer::new().deny(ranges(["198.51.100.0/24"]));
    assert!(lets_in(&layer, "203.0.113.9").await);
    assert!(lets_in(&layer, "2001:db8::7").await);
    assert!(!lets_in(&layer, "198.51.100.1").await);
    assert!(lets_in(&IpFilterLayer::new(), "198.51.100.1").await);
}

#[tokio::test]
async fn a_client_that_is_not_known_is_refused() {
    for layer in [IpFilterLayer::new(), IpFilterLayer::new().deny(ranges(["198.51.100.0/24"]))] {
        assert_eq!(answer(&layer, Request::new(())).await.status(), StatusCode::FORBIDDEN);
        let mut request = Request::new(());
        RequestContext::of(request.extensions_mut());
        assert_eq!(answer(&layer, request).await.status(), StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_refusal_is_a_problem_document_and_the_context_knows_of_it() {
    let request = request_of("198.51.100.1");
    let context = request.extensions().get::<RequestContext>().unwrap().clone();
    let answer = answer(&IpFilterLayer::new().deny(ranges(["198.51.100.0/24"])), request).await;

    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"type":"about:blank","title":"Forbidden","status":403,"error":"ip_denied"}"#);

    let rejection = context.rejection().unwrap();
    assert_eq!((rejection.layer(), rejection.reason()), ("ip_filter", Reason::IpDenied));
}

#[tokio::test]
async fn a_dry_run_lets_in_and_says_so() {
    let request = request_of("198.51.100.1");
    let context = request.extensions().get::<RequestContext>().unwrap().clone();
    let layer = IpFilterLayer::new().deny(ranges(["198.51.100.0/24"])).dry_run(true);
    assert_eq!(answer(&layer, request).await.status(), StatusCode::OK);
    assert!(context.rejection().unwrap().is_dry_run());
}

#[tokio::test]
async fn the_gate_switches_it_off_skips_and_words_its_answer() {
    let layer = IpFilterLayer::new().allow(ranges(["192.0.2.7"]));
    assert!(lets_in(&layer.clone().enabled(false), "203.0.113.9").await);
    assert!(lets_in(&layer.clone().skip(|head| head.uri().path() == "/"), "203.0.113.9").await);

    let hidden = layer.on_reject(|_, _, response| *response.status_mut() = StatusCode::NOT_FOUND);
    assert_eq!(answer(&hidden, request_of("203.0.113.9")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_filters_by_the_client_behind_a_trusted_proxy() {
    let mut service = ServiceBuilder::new()
        .layer(ClientIpLayer::new().trusted_proxies(ranges(["10.0.0.0/8"])))
        .layer(IpFilterLayer::new().allow(ranges(["192.0.2.0/24"])))
        .service_fn(hello);
    for (forwarded_for, status) in [
        ("192.0.2.7", StatusCode::OK),
        ("203.0.113.9", StatusCode::FORBIDDEN),
        ("192.0.2.7, 203.0.113.9", StatusCode::FORBIDDEN),
        ("unknown", StatusCode::FORBIDDEN),
    ] {
        let mut request = Request::builder().header("x-forwarded-for", forwarded_for).body(()).unwrap();
        request.extensions_mut().insert("10.0.0.1:80".parse::<std::net::SocketAddr>().unwrap());
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), status, "{forwarded_for}");
    }
}

#[tokio::test]
async fn a_refusal_gives_back_what_the_inner_service_had_reserved() {
    let limited = ConcurrencyLimit::new(service_fn(hello), 1);
    let mut refusing = IpFilterLayer::new().deny(ranges(["198.51.100.1"])).layer(limited.clone());
    let mut other = limited;

    let refused = refusing.ready().await.unwrap().call(request_of("198.51.100.1"));
    let mut readied = tokio_test::task::spawn(other.ready());
    assert!(readied.poll().is_ready(), "the only permit is free before the refusal is even read");
    assert_eq!(refused.await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_inner_error_passes_through() {
    let inner = service_fn(|_: Request<()>| async { Err::<Response<()>, _>("inner") });
    let error = IpFilterLayer::new().layer(inner).oneshot(request_of("192.0.2.7")).await.unwrap_err();
    assert_eq!(error, "inner");
}
