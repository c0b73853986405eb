//! Which service a request is for: by its host, path, header fields and method.
//!
//! [`Router`] holds one service for each [`Route`], all of one type. It is of use wherever routes come from a
//! configuration; for handlers that are written down in code, axum's router does more.
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Method, Request, Response};
//! use tower::{ServiceExt, service_fn};
//! use tower_gateway::route::{Route, Router};
//!
//! # tokio_test::block_on(async {
//! // Any service will do, as long as all routes have the same type of it: a proxy for each, for instance.
//! let named = |name: &'static str| {
//!     service_fn(move |_: Request<()>| async move { Ok::<_, Infallible>(Response::new(name)) })
//! };
//! let router = Router::new([
//!     (Route::prefix("/api")?.name("api"), named("api")),
//!     (Route::prefix("/api/users")?.name("users").methods([Method::GET]), named("users")),
//!     (Route::exact("/")?.name("home").hosts(["www.example.com", "*.example.org"])?, named("home")),
//! ]);
//!
//! let send = |method: &str, host: &str, path: &str| {
//!     let request = Request::builder().method(method).uri(path).header("host", host).body(()).unwrap();
//!     let router = router.clone();
//!     async move { router.oneshot(request).await.unwrap().status().as_u16() }
//! };
//! assert_eq!(send("POST", "a.example", "/api/orders").await, 200);
//! assert_eq!(send("POST", "a.example", "/api/users/7").await, 405); // not "api": a method leads to no wider route
//! assert_eq!(send("GET", "a.b.example.org:8080", "/").await, 200);
//! assert_eq!(send("GET", "example.org", "/").await, 404);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # The choice
//!
//! 1. Of the routes whose host and path are the request's, the **host** decides first: an exact one goes before a wildcard
//!    (`*.example.com`, for one label or more; the longer one first), and that before none at all.
//! 2. Then the **longest path**. A prefix is compared by whole segments: `/api` is a prefix of `/api` and `/api/users`, not
//!    of `/apis`.
//! 3. What is left are the routes of one place: those with the very same host and path. Only they compete by **header
//!    fields and methods**. Those whose fields are not all there, or whose methods do not include the request's, are out; of
//!    the others an exact path goes before a prefix, then the one with more header fields, then one that names its methods
//!    before one that takes all, then the one that was added first.
//!
//! A request whose place has no route for its header fields is a 404, and one whose method they all refuse a 405 with
//! `Allow`: it never falls through to a wider route, which may be open where this one is not.
//!
//! `GET` implies `HEAD`. `OPTIONS` is a method like others, but for routes that [answer CORS
//! preflights](Route::answers_preflights).
//!
//! # What is compared
//!
//! - The host is that of an absolute target (`:authority` in HTTP/2), else `Host`: without its port, in any case, and without
//!   the dot that may end it. The parts of a wildcard are whole labels.
//! - The path as it is, byte for byte. [`StrictLayer`](crate::strict::StrictLayer) gives it the one form in which it can be
//!   compared; without that in front, `/api` and `/%61pi` are two paths. The `*` of OPTIONS is no path and has no route: the
//!   router answers it with a 204, as a server that is there (RFC 9110 section 9.3.7).
//! - A header field by its whole value; of one that was sent in several lines, one has to be equal.
//!
//! The cost of a choice grows with the length of the request's path and host, as far as some route goes along with them,
//! and not with the number of routes.
//!
//! # The rest
//!
//! The name of the route is written to the [`RequestContext`](crate::RequestContext), for logs and metrics; the path never
//! is. Readiness is deferred: the router is always ready, and readies the service that a request is for. An instance keeps
//! the service it called last, so that a connection that stays on one route clones none. Errors are the services' own, and
//! nothing is asked of bodies.

mod host;
mod pattern;
mod service;
mod table;
mod tree;

pub use self::pattern::{Route, RouteError, asks_for};
pub use self::service::{Router, RouterFuture};
pub use self::table::{Choice, RouteTable};

#[cfg(test)]
mod tests;
