//! How many requests may be in flight at once.
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{Layer, service_fn};
//! use tower_gateway::concurrency::ConcurrencyLayer;
//!
//! // A hundred, and fifty more that wait for up to a second.
//! let layer = ConcurrencyLayer::new(100).queue(50, Duration::from_secs(1));
//! let app = layer.layer(service_fn(async |_: Request<()>| {
//!     Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
//! }));
//! assert_eq!(layer.handle().in_flight(), 0);
//! # fn assert_service<S: tower::Service<Request<()>>>(_: S) {}
//! # assert_service(app);
//! ```
//!
//! A request is in flight until its response body has ended or was dropped, so an answer that streams counts for as long as
//! it does. One that finds no room is refused with a 503 and `Retry-After`, or waits in a queue of bounded length for a bounded
//! time; whoever came first is served first.
//!
//! # An adaptive limit
//!
//! [`ConcurrencyLayer::adaptive`] finds the limit out, after TCP Vegas (L. Brakmo and L. Peterson, "TCP Vegas: End to End
//! Congestion Avoidance on a Global Internet", IEEE Journal on Selected Areas in Communications 13(8), 1995), with the
//! constants that Netflix's concurrency-limits uses for requests. The shortest latency seen is what an answer takes while
//! nobody waits; how much longer it takes now tells how many wait behind the service. While few do the limit grows, when
//! many do it shrinks, and so it does for errors and for answers that say the service is overloaded (503, 504). The latency
//! is that of the response head: how long a body takes is the client's doing as well. Every hundred round trips the limit is
//! halved for two, which finds out anew what an answer takes while nobody waits (as BBR does).
//!
//! # Readiness, errors, state
//!
//! Deferred: always ready, and the inner service is readied once there is room, so whoever waits or is refused holds
//! nothing of it. The response body is bound by `Body`, since its end is what is waited for. The error is the inner
//! service's. [`adopt`](ConcurrencyLayer::adopt) keeps what is in flight over a reload.

mod future;
mod layer;
mod limiter;
mod service;
mod vegas;

pub use self::future::ConcurrencyFuture;
pub use self::layer::{ConcurrencyHandle, ConcurrencyLayer};
pub use self::limiter::Permit;
pub use self::service::Concurrency;
