//! One id and one trace for each request, so that a line in the gateway's log, a line in an upstream's and the number a
//! user reads to you on the telephone are found to be the same request.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use axum::{Extension, Router, body::Body, routing::get};
//! use http::Request;
//! use tower::ServiceExt;
//! use tower_gateway::{RequestContext, request_id::RequestIdLayer};
//!
//! async fn order(Extension(context): Extension<RequestContext>) -> String {
//!     let id = context.request_id().unwrap();
//!     let trace = context.trace().unwrap();
//!     format!("request {id} of trace {}", trace.trace_id())
//! }
//!
//! let app = Router::new().route("/order", get(order)).layer(RequestIdLayer::new());
//!
//! let answer = app.oneshot(Request::get("/nowhere").body(Body::empty()).unwrap()).await.unwrap();
//! assert_eq!(answer.status(), 404);
//! assert_eq!(answer.headers()["x-request-id"].len(), 36, "an answer that is an error has its id, too");
//! # }
//! ```
//!
//! # The id
//!
//! The id is a UUID of version 7 (RFC 9562 section 5.7), which sorts by time, unless [`RequestIdLayer::make_with`] says
//! otherwise. Exactly one goes inwards, in the [header](RequestIdLayer::header) and in the [`RequestContext`], and exactly
//! one comes back with the answer, whoever has made that. Any other that came with the request, in whatever spelling an
//! origin may take for the same (`X_Request_Id`), goes no further.
//!
//! A client's own id is replaced. It is kept only when the peer is a trusted proxy, by the rule of a
//! [`ClientIpLayer`](crate::client_ip) outside this one, and it came in exactly one line of 1 to 128 characters of
//! `[A-Za-z0-9._:+/=@-]`. Without a `ClientIpLayer` no peer is trusted. Where the context has an id already, from another
//! of these layers further out, that one is used.
//!
//! What an id promises: the ids of a process do not repeat, and who has seen some cannot guess others, but for the time in
//! them. They are names, not secrets: an id must not grant access to anything.
//!
//! # The trace
//!
//! `traceparent` and `tracestate` ([`TraceContext`](crate::TraceContext)) are continued from the request, by default also
//! from a peer that is not trusted, or started where there are none or invalid ones. Either way this hop has a parent id of
//! its own, which goes inwards and into the context. The answer is given none.
//!
//! # Cost
//!
//! No system call, and three allocations at the most beside the context's own: the id, the `traceparent`, and the
//! `tracestate` only where it came in several lines or has to be cut. Readiness is immediate, and bodies are not touched.
//!
//! [`RequestContext`]: crate::RequestContext

mod layer;
mod make;
mod random;
mod service;
mod uuid_v7;

pub use self::layer::RequestIdLayer;
pub use self::make::MakeRequestId;
pub use self::service::{RequestIdFuture, RequestIdService};
