//! Many orders of our layers with tower-http's between them: each compiles over any inner service, in an axum app, on
//! bare hyper and over a body that is not `Sync`, and serves a request there.
//!
//! tower-http's `Cors` and `Timeout` need a body with a `Default`, which its `Trace` and `RequestBodyLimit` do not
//! return: directly on top of each other these never compile. One of our layers between them cures it, and so several
//! of the orders below are that.
//!
//! A layer joins by a line in [`compositions`], more or less: where it stands says what it is tried with.

#[path = "contract/samples.rs"]
mod samples;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::any_service;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::layer::layer_fn;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_gateway::auth::{ApiKeys, AuthLayer, MemoryKeyStore};
use tower_gateway::cache::CacheLayer;
use tower_gateway::circuit_breaker::CircuitBreakerLayer;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::concurrency::ConcurrencyLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::limits::{BodyLimitLayer, ContentTypeLayer};
use tower_gateway::proxy::ProxyService;
use tower_gateway::rate_limit::RateLimitLayer;
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::strict::StrictLayer;
use tower_gateway::transform::TransformLayer;
use tower_gateway::{ClientIp, RequestContext};
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::{HttpMakeClassifier, TraceLayer};

use self::samples::{Deferred, Holding, Refusing, Transparent};

macro_rules! compositions {
    ($($name:ident: $($layer:expr),+;)*) => {$(
        mod $name {
            use super::*;

            /// Outermost is what a server knows of a connection.
            macro_rules! stack {
                () => { ServiceBuilder::new().map_request(from_a_client)$(.layer($layer))+ };
            }

            #[tokio::test]
            async fn serves_over_any_service() {
                assert_serves(stack!().service(Echo(Full::new))).await;
            }

            #[tokio::test]
            async fn serves_over_a_body_that_is_not_sync() {
                assert_serves(stack!().service(Echo(unsync))).await;
            }

            #[tokio::test]
            async fn serves_around_an_axum_app() {
                let app = Router::new().route("/", any_service(Echo(axum::body::Body::from)));
                assert_serves(app.layer(stack!())).await;
            }

            #[tokio::test]
            async fn serves_around_the_routes_of_an_axum_app() {
                let app = Router::new().route("/", any_service(Echo(axum::body::Body::from)));
                assert_serves(app.route_layer(stack!())).await;
            }

            #[tokio::test]
            async fn serves_on_bare_hyper() {
                assert_serves(connected(stack!().service(Echo(Full::new))).await).await;
            }
        }
    )*};
}

compositions! {
    // Ours alone, in the order of the house and in the opposite one.
    ours: ClientIpLayer::new(), RequestIdLayer::new(), StrictLayer::new(), IpFilterLayer::new(),
        RateLimitLayer::per_second(100);
    ours_upside_down: RateLimitLayer::per_second(100), IpFilterLayer::new(), StrictLayer::new(), RequestIdLayer::new(), ClientIpLayer::new();
    cache_inside: ClientIpLayer::new(), RequestIdLayer::new(), StrictLayer::new(), IpFilterLayer::new(), CacheLayer::new();
    cache_outside: CacheLayer::new(), timeout(), RequestIdLayer::new(), IpFilterLayer::new();
    every_kind: Transparent, plenty(), Deferred, Holding::default(), Transparent;

    limits: TransformLayer::new().response_time(true), BodyLimitLayer::new(1024), text(), Deferred;
    limits_upside_down: text(), Holding::default(), BodyLimitLayer::new(1024), TransformLayer::new();

    // Cors or Timeout would not compile directly around Trace or RequestBodyLimit.
    cors_cured: cors(), ClientIpLayer::new(), trace(), RequestIdLayer::new();
    cors_cured_by_a_refusing_one: cors(), IpFilterLayer::new(), body_limit();
    cors_cured_by_a_limit: cors(), RateLimitLayer::per_second(100), body_limit();
    cors_cured_by_a_cache: cors(), CacheLayer::new(), trace();
    cors_cured_by_a_concurrency: cors(), ConcurrencyLayer::new(9), trace();
    cors_cured_by_a_guarded_body: cors(), Holding::default(), trace();
    timeout_cured: timeout(), RequestIdLayer::new(), body_limit(), IpFilterLayer::new();
    timeout_cured_by_a_strict_one: timeout(), StrictLayer::new(), trace();
    timeout_cured_by_a_breaker: timeout(), CircuitBreakerLayer::new(), trace();
    timeout_cured_by_a_deferred_one: timeout(), Deferred, trace();
    cors_cured_by_auth: cors(), auth(), trace(), timeout(), auth(), body_limit();
    cors_cured_by_a_body_limit: cors(), BodyLimitLayer::new(1024), trace();
    timeout_cured_by_a_transforming_one: timeout(), TransformLayer::new(), body_limit(), text();
    cured_twice: timeout(), Holding::default(), trace(), cors(), Transparent, body_limit(), plenty();

    // Everything at once.
    trace_outside: trace(), ClientIpLayer::new(), RequestIdLayer::new(), compression(), IpFilterLayer::new(), cors(),
        Transparent, timeout(), Holding::default(), body_limit();
    compression_outside: compression(), RequestIdLayer::new(), trace(), ClientIpLayer::new(), body_limit(),
        IpFilterLayer::new(), CircuitBreakerLayer::new(), Deferred;
    limit_outside: body_limit(), Deferred, timeout(), IpFilterLayer::new(), compression(), Holding::default(), cors(),
        RequestIdLayer::new(), trace();
    two_request_ids: SetRequestIdLayer::x_request_id(MakeRequestUuid), RequestIdLayer::new(),
        PropagateRequestIdLayer::x_request_id(), ClientIpLayer::new(), timeout();
    ours_around_theirs: IpFilterLayer::new(), timeout(), cors(), compression(), ClientIpLayer::new();
    the_way_of_a_request: ClientIpLayer::new(), RequestIdLayer::new(), StrictLayer::new(), trace(),
        IpFilterLayer::new(), cors(), compression(), auth(), Holding::default(), timeout(), layer_fn(ProxyService::new);
    theirs_around_the_proxy: cors(), timeout(), compression(), layer_fn(ProxyService::new);
    theirs_around_ours: SetRequestIdLayer::x_request_id(MakeRequestUuid), PropagateRequestIdLayer::x_request_id(),
        compression(), Holding::default(), IpFilterLayer::new();
}

fn auth() -> AuthLayer {
    AuthLayer::new(ApiKeys::new(MemoryKeyStore::default())).allow_anonymous()
}

fn plenty() -> Refusing {
    Refusing::after(1_000)
}

/// Tries its rule, which the request breaks.
fn text() -> ContentTypeLayer {
    ContentTypeLayer::new(["text/plain"]).expect("a media type").dry_run(true)
}

fn cors() -> CorsLayer {
    CorsLayer::permissive()
}

fn trace() -> TraceLayer<HttpMakeClassifier> {
    TraceLayer::new_for_http()
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(60))
}

fn body_limit() -> RequestBodyLimitLayer {
    RequestBodyLimitLayer::new(1024)
}

fn compression() -> CompressionLayer {
    CompressionLayer::new()
}

/// Answers with the request's body.
struct Echo<R>(fn(Bytes) -> R);

impl<R> Clone for Echo<R> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<B, R> Service<Request<B>> for Echo<R>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.0;
        Box::pin(async move {
            let said = request.into_body().collect().await.map_err(Into::into).expect("a body within the limit");
            Ok(Response::new(answer(said.to_bytes())))
        })
    }
}

fn unsync(bytes: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn from_a_client<B>(mut request: Request<B>) -> Request<B> {
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    request.extensions_mut().insert(peer);
    RequestContext::of(request.extensions_mut()).set_client_ip(ClientIp::from_peer(peer, 64));
    request
}

fn post() -> Request<axum::body::Body> {
    Request::post("/")
        .header("host", "example.test")
        .header("origin", "https://example.test")
        .body("over and out".into())
        .unwrap()
}

/// Three requests, since an instance that lives long is not one that is used once.
async fn assert_serves<S, R>(mut service: S)
where
    S: Service<Request<axum::body::Body>, Response = Response<R>, Error: Into<BoxError>>,
    R: Body<Error: Into<BoxError>>,
{
    for _ in 0..3 {
        let call = service.ready().await.map_err(Into::into).unwrap().call(post());
        let response = call.await.map_err(Into::into).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let said = response.into_body().collect().await.map_err(Into::into).unwrap().to_bytes();
        assert_eq!(said, "over and out");
    }
}

/// A client of `service` over HTTP/1.1, without a listener.
async fn connected<S, R>(
    service: S,
) -> impl Service<Request<axum::body::Body>, Response = Response<hyper::body::Incoming>, Error = hyper::Error, Future: Send>
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<R>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(1024);
    let server = hyper::server::conn::http1::Builder::new();
    tokio::spawn(server.serve_connection(TokioIo::new(far), TowerToHyperService::new(service)));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap();
    Connected(sender)
}

struct Connected(hyper::client::conn::http1::SendRequest<axum::body::Body>);

impl Service<Request<axum::body::Body>> for Connected {
    type Response = Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<axum::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Ours ask nothing of bodies, requests or errors: what a library that takes any service can write.
fn ours_around<S, B, R>(
    inner: S,
) -> impl Service<Request<B>, Response = Response<impl Default>, Error = S::Error> + Clone
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    ServiceBuilder::new()
        .layer(ClientIpLayer::new())
        .layer(RequestIdLayer::new())
        .layer(StrictLayer::new().skip(|head| !head.headers().contains_key("host")))
        .layer(IpFilterLayer::new())
        .layer(auth())
        .layer(RateLimitLayer::per_second(100))
        .service(inner)
}

/// With tower-http's between, its own bounds come in, and no more than those.
fn mixed_around<S, B, R>(inner: S) -> impl Service<Request<B>, Response = Response<impl Body>, Error = S::Error> + Clone
where
    S: Service<Request<B>, Response = Response<R>, Error: std::fmt::Display + 'static> + Clone,
    B: Body,
    R: Body<Data: From<Bytes>, Error: std::fmt::Display + 'static>,
{
    ServiceBuilder::new()
        .layer(cors())
        .layer(RequestIdLayer::new())
        .layer(trace())
        .layer(timeout())
        .layer(ClientIpLayer::new())
        .service(inner)
}

#[tokio::test]
async fn generic_code_wraps_a_service_whose_body_is_no_body() {
    struct NoBody;
    let inner = tower::service_fn(async |_: Request<NoBody>| Ok::<_, Infallible>(Response::new(NoBody)));
    let request = from_a_client(Request::new(NoBody));
    let Ok(answer) = ours_around(inner).oneshot(request).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn generic_code_wraps_a_service_with_tower_http_between() {
    let Ok(answer) = mixed_around(Echo(Full::new)).oneshot(post()).await;
    assert!(answer.headers().contains_key("access-control-allow-origin"));
    assert!(answer.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn a_refusal_comes_out_through_the_layers_around_it() {
    let refusing = ServiceBuilder::new()
        .layer(compression())
        .layer(cors())
        .layer(RequestIdLayer::new())
        .layer(trace())
        .layer(timeout())
        .layer(IpFilterLayer::new())
        .layer(body_limit())
        .service(Echo(Full::new));
    let Ok(answer) = refusing.oneshot(post()).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("access-control-allow-origin"));
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains(&id));
}

#[tokio::test]
async fn a_layer_made_into_many_routes_keeps_one_state() {
    let two_requests = Refusing::after(2);
    let echo = || any_service(Echo(axum::body::Body::from));
    let app = Router::new().route("/a", echo()).route("/b", echo()).layer(two_requests);
    for (path, status) in [("/a", 200), ("/b", 200), ("/a", 429), ("/b", 429)] {
        let request = Request::post(path).body(axum::body::Body::empty()).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[test]
fn layers_stack_by_hand_as_well() {
    fn assert_infallible<S: Service<Request<Full<Bytes>>, Error = Infallible>>(_: S) {}
    assert_infallible(Deferred.layer(cors().layer(Transparent.layer(trace().layer(Echo(Full::new))))));
}
