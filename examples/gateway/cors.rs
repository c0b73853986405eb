//! tower-http's CORS as a layer of a route, and its headers on answers that belong to none.

use http::header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Method, Request};
use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};
use tower::util::MapRequestLayer;
use tower_gateway::Head;
use tower_gateway::route::asks_for;
use tower_http::cors::CorsLayer;

use crate::config::cors::{AllowedOrigins, Cors};

/// The layer, and around and within it what keeps it to preflights: by itself it answers every OPTIONS request.
pub(crate) type CorsOfRoute<B> = Stack<
    MapRequestLayer<fn(Request<B>) -> Request<B>>,
    Stack<CorsLayer, Stack<MapRequestLayer<fn(Request<B>) -> Request<B>>, Identity>>,
>;

pub(crate) fn layer<B>(cors: &Cors) -> CorsOfRoute<B> {
    let methods = cors.allow_methods.clone();
    let mut layer = CorsLayer::new()
        .allow_methods(methods)
        .allow_headers(cors.allow_headers.clone())
        .expose_headers(cors.expose_headers.clone())
        .allow_credentials(cors.allow_credentials);
    layer = match &cors.allow_origins {
        AllowedOrigins::Any => layer.allow_origin(tower_http::cors::Any).vary([]),
        AllowedOrigins::These(origins) => layer.allow_origin(origins.clone()).vary([ORIGIN]),
    };
    if let Some(max_age) = cors.max_age {
        layer = layer.max_age(max_age);
    }
    ServiceBuilder::new()
        .layer(MapRequestLayer::new(hide_options as fn(_) -> _))
        .layer(layer)
        .layer(MapRequestLayer::new(show_options as fn(_) -> _))
        .into_inner()
}

/// An OPTIONS request that asks for nothing on behalf of another.
#[derive(Clone, Copy)]
struct PlainOptions;

fn hide_options<B>(mut request: Request<B>) -> Request<B> {
    if *request.method() == Method::OPTIONS && asks_for(Head::of(&request)).is_none() {
        request.extensions_mut().insert(PlainOptions);
        *request.method_mut() = Method::GET;
    }
    request
}

fn show_options<B>(mut request: Request<B>) -> Request<B> {
    if request.extensions_mut().remove::<PlainOptions>().is_some() {
        *request.method_mut() = Method::OPTIONS;
    }
    request
}

/// What a script needs to read a refusal that comes before any route: whether it may.
pub(crate) fn write_to_refusal(cors: &Cors, head: &Head<'_>, headers: &mut HeaderMap) {
    let allowed = match &cors.allow_origins {
        AllowedOrigins::Any => Some(HeaderValue::from_static("*")),
        AllowedOrigins::These(origins) => {
            headers.append(VARY, HeaderValue::from_static("origin"));
            head.headers().get(ORIGIN).filter(|origin| origins.contains(origin)).cloned()
        }
    };
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if cors.allow_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}
