//! Which route a request is for.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use http_body::Body;
use tower::Service;
use tower_gateway::body::ResponseBody;
use tower_gateway::proxy::{ForwardBody, ProxyBody, ProxyFuture, ProxyService};
use tower_gateway::strict::EncodedSlashes;
use tower_gateway::{BoxError, Reason, Rejection, RequestContext, RouteName};

use crate::config::route::PathMatch;
use crate::health::{Health, refuse};

/// The end of the stack: the health path, then the routes, then 404.
#[derive(Clone)]
pub(crate) struct Routes<C> {
    health: Health,
    /// In the order they are tried: the longest path first, an exact one before a prefix.
    routes: Arc<[Route<C>]>,
}

/// One route and what serves it.
#[derive(Clone)]
pub(crate) struct Route<C> {
    pub(crate) name: RouteName,
    pub(crate) path: Arc<str>,
    pub(crate) path_match: PathMatch,
    pub(crate) encoded_slashes: EncodedSlashes,
    pub(crate) service: ProxyService<C>,
}

impl<C> Route<C> {
    /// The same route, served by what `change` makes of its service.
    pub(crate) fn map_service<D>(self, change: impl FnOnce(ProxyService<C>) -> ProxyService<D>) -> Route<D> {
        let Self { name, path, path_match, encoded_slashes, service } = self;
        Route { name, path, path_match, encoded_slashes, service: change(service) }
    }

    fn matches(&self, path: &str) -> bool {
        match self.path_match {
            PathMatch::Exact => path == &*self.path,
            PathMatch::Prefix => {
                let prefix = self.path.trim_end_matches('/');
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

impl<C> Routes<C> {
    pub(crate) fn new(health: Health, mut routes: Vec<Route<C>>) -> Self {
        routes.sort_by_key(|route| {
            let prefix = route.path_match == PathMatch::Prefix;
            (std::cmp::Reverse(route.path.trim_end_matches('/').len()), prefix)
        });
        Self { health, routes: routes.into() }
    }
}

impl<C, B, R> Service<Request<B>> for Routes<C>
where
    C: Service<Request<ForwardBody<B>>, Response = Response<R>> + Clone,
    C::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<ProxyBody<R>>>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Self::Response, Infallible>>, ProxyFuture<C, B>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let context = request.extensions().get::<RequestContext>();
        if let Some(answer) = self.health.answer(request.method(), path, context) {
            return Either::Left(ready(Ok(answer.map(ResponseBody::own))));
        }
        let Some(route) = self.routes.iter().find(|route| route.matches(path)) else {
            let answer = refuse(context, Rejection::new("router", Reason::RouteNotFound));
            return Either::Left(ready(Ok(answer.map(ResponseBody::own))));
        };
        if let Some(context) = context {
            context.set_route(route.name.clone());
        }
        if !route.encoded_slashes.admits(path) {
            let rejection = Rejection::new("router", Reason::BadRequest).detail("the path holds an encoded slash");
            return Either::Left(ready(Ok(refuse(context, rejection).map(ResponseBody::own))));
        }
        Either::Right(route.service.clone().call(request))
    }
}
