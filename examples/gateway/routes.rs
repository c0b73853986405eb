//! Which route a request is for.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::Service;
use tower_gateway::serve::ServeBody;
use tower_gateway::strict::EncodedSlashes;
use tower_gateway::{Reason, Rejection, RequestContext, RouteName};

use crate::config::route::PathMatch;
use crate::health::{Health, refuse};
use crate::stack::{RouteBody, RouteFuture, RouteService};

/// The end of the stack: the health path, then the routes, then 404.
pub(crate) struct Routes {
    health: Health,
    /// In the order they are tried: the longest path first, an exact one before a prefix.
    routes: Arc<[Route]>,
    /// The service that answered last, and its route: a connection that stays on one route clones no stack.
    last: Option<(usize, RouteService)>,
}

/// One route and what serves it.
pub(crate) struct Route {
    pub(crate) name: RouteName,
    pub(crate) path: Arc<str>,
    pub(crate) path_match: PathMatch,
    pub(crate) encoded_slashes: EncodedSlashes,
    pub(crate) service: RouteService,
}

impl Route {
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

impl Routes {
    pub(crate) fn new(health: Health, mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| {
            let prefix = route.path_match == PathMatch::Prefix;
            (std::cmp::Reverse(route.path.trim_end_matches('/').len()), prefix)
        });
        Self { health, routes: routes.into(), last: None }
    }

    /// The service of a route, to be called where it stands.
    fn service(&mut self, index: usize) -> &mut RouteService {
        let last = self.last.take().filter(|(route, _)| *route == index);
        &mut self.last.insert(last.unwrap_or_else(|| (index, self.routes[index].service.clone()))).1
    }
}

impl Clone for Routes {
    /// A clone has called no service yet.
    fn clone(&self) -> Self {
        Self { health: self.health.clone(), routes: self.routes.clone(), last: None }
    }
}

impl Service<Request<ServeBody>> for Routes {
    type Response = Response<RouteBody>;
    type Error = Infallible;
    type Future = RouteFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ServeBody>) -> RouteFuture {
        let path = request.uri().path();
        let context = request.extensions().get::<RequestContext>();
        if let Some(answer) = self.health.answer(request.method(), path, context) {
            return RouteFuture::own(answer);
        }
        let Some(index) = self.routes.iter().position(|route| route.matches(path)) else {
            return RouteFuture::own(refuse(context, Rejection::new("router", Reason::RouteNotFound)));
        };
        let route = &self.routes[index];
        if let Some(context) = context {
            context.set_route(route.name.clone());
        }
        if !route.encoded_slashes.admits(path) {
            let rejection = Rejection::new("router", Reason::BadRequest).detail("the path holds an encoded slash");
            return RouteFuture::own(refuse(context, rejection));
        }
        self.service(index).call(request)
    }
}
