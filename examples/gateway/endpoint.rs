//! Where a route's requests end: at an upstream, or with an answer that the configuration holds.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{Either, Ready, ready};
use http::header::LOCATION;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use tower::Service;
use tower_gateway::body::ResponseBody;
use tower_gateway::proxy::{ProxyBody, ProxyFuture, ProxyService};
use tower_gateway::transform::Template;
use tower_gateway::{BoxError, Head, Reason, Rejection};

use crate::client::{RouteClient, RouteClientBody};
use crate::health::refuse;

/// The end of a route.
#[derive(Clone)]
pub(crate) enum Endpoint<C = RouteClient> {
    Proxy(ProxyService<C>),
    /// The same answer to everybody.
    Fixed(Response<Bytes>),
    /// An answer to be completed with the place that the template gives.
    Redirect(Response<Bytes>, Template),
}

/// An answer that is there is in a box: what waits for the origin is then no larger than it has to be.
pub(crate) type EndpointFuture<B> =
    Either<ProxyFuture<RouteClient, B>, Box<Ready<Result<Response<EndpointBody>, Infallible>>>>;
pub(crate) type EndpointBody = ResponseBody<ProxyBody<RouteClientBody>>;

impl<B> Service<Request<B>> for Endpoint
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<EndpointBody>;
    type Error = Infallible;
    type Future = EndpointFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self {
            Self::Proxy(proxy) => Either::Left(proxy.call(request)),
            Self::Fixed(answer) => Either::Right(at_once(answer.clone())),
            Self::Redirect(answer, to) => Either::Right(at_once(redirect(answer, to, Head::of(&request)))),
        }
    }
}

#[inline(never)]
fn at_once(answer: Response<Bytes>) -> Box<Ready<Result<Response<EndpointBody>, Infallible>>> {
    Box::new(ready(Ok(answer.map(ResponseBody::own))))
}

#[inline(never)]
fn redirect(answer: &Response<Bytes>, to: &Template, head: Head<'_>) -> Response<Bytes> {
    let place = to.render_uri(head);
    // To a browser these begin with a host, which would be the client's to choose.
    let names_a_host = !to.as_str().starts_with("//") && (place.starts_with("//") || place.starts_with("/\\"));
    match HeaderValue::try_from(place) {
        Ok(place) if !names_a_host && !place.is_empty() => {
            let mut answer = answer.clone();
            answer.headers_mut().insert(LOCATION, place);
            answer
        }
        _ => {
            let rejection = Rejection::new("redirect", Reason::BadRequest).detail("there is no place to send this to");
            refuse(head.context(), rejection)
        }
    }
}
