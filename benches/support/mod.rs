//! What the benchmarks and the allocation test share: a request as a client sends it, and a service that answers at once.
#![allow(dead_code, unreachable_pub, reason = "each program uses its part")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower::{Service, ServiceBuilder};
use tower_gateway::client_ip::{CidrSet, ClientIpLayer};
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::strict::StrictLayer;
use tower_gateway::{Connection, RequestContext, UpstreamError};

pub type NoBody = Empty<Bytes>;

/// Answers at once with an empty 200, whatever the body.
#[derive(Clone, Debug)]
pub struct Answer;

impl<B> Service<Request<B>> for Answer {
    type Response = Response<NoBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// The end of a client stack: answers as [`Answer`] does, and could fail.
#[derive(Clone, Debug)]
pub struct Origin;

impl<B> Service<Request<B>> for Origin {
    type Response = Response<NoBody>;
    type Error = UpstreamError;
    type Future = Ready<Result<Self::Response, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// A request such as a browser sends, as `serve` hands it on.
pub fn request() -> Request<NoBody> {
    request_from(Ipv4Addr::new(192, 0, 2, 1))
}

/// The same from another client.
pub fn request_from(client: Ipv4Addr) -> Request<NoBody> {
    let mut request = Request::get("/api/users/42?expand=orders")
        .header("host", "api.example.com")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, deflate, br")
        .header("accept-language", "en-GB,en;q=0.5")
        .header("connection", "keep-alive")
        .body(Empty::new())
        .expect("the request is valid");
    let context = RequestContext::of(request.extensions_mut());
    let connection = Connection::plain((client, 4711).into(), ([127, 0, 0, 1], 8080).into());
    context.set_connection(connection);
    request
}

/// Every layer there is, in the order a request passes them.
pub fn stack()
-> impl Service<Request<NoBody>, Response = impl Sized, Error = Infallible, Future: Send> + Clone + Send + 'static {
    ServiceBuilder::new()
        .layer(ClientIpLayer::new())
        .layer(RequestIdLayer::new())
        .layer(StrictLayer::new())
        .layer(IpFilterLayer::new().deny(cidrs(["198.51.100.0/24"])))
        .service(ProxyService::new(Answer).strip_prefix("/api").expect("a prefix"))
}

pub fn cidrs<const N: usize>(ranges: [&str; N]) -> CidrSet {
    CidrSet::parse(ranges).expect("CIDRs")
}

/// `count` ranges that do not touch.
pub fn many_ranges(count: u32) -> CidrSet {
    CidrSet::parse((0..count).map(|n| format!("{}.{}.{}.0/25", 10 + (n >> 16), (n >> 8) & 255, n & 255)))
        .expect("CIDRs")
}

/// Polls a future that waits for nothing; the proxy lets others go first once.
pub fn block_on<F: Future>(future: F) -> F::Output {
    finish(pin!(future))
}

/// The same where it stands, as servers poll theirs.
pub fn finish<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    for _ in 0..2 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    unreachable!("nothing here waits")
}
