//! An origin that fails is left alone for a while: for its sake, and for the sake of those who would wait for it.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt};
//! use tower_gateway::Share;
//! use tower_gateway::circuit_breaker::{BreakerState, CircuitBreakerLayer};
//! # use std::convert::Infallible;
//! # use http::{Request, Response, StatusCode};
//! # use http_body_util::Empty;
//! # async fn answer(_: Request<()>) -> Result<Response<Empty<bytes::Bytes>>, Infallible> {
//! #     let mut response = Response::new(Empty::new());
//! #     *response.status_mut() = StatusCode::BAD_GATEWAY;
//! #     Ok(response)
//! # }
//!
//! # tokio_test::block_on(async {
//! let breaker = CircuitBreakerLayer::new()
//!     .window(Duration::from_secs(30))
//!     .failure_rate(Share::percent(50))
//!     .min_requests(4)
//!     .open_for(Duration::from_secs(30));
//! let handle = breaker.handle();
//! let service = breaker.layer(tower::service_fn(answer));
//!
//! for _ in 0..4 {
//!     assert_eq!(service.clone().oneshot(Request::new(())).await.unwrap().status(), 502);
//! }
//! assert_eq!(handle.state(), BreakerState::Open);
//! let refused = service.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(refused.status(), 503);
//! assert_eq!(refused.headers()["retry-after"], "30");
//! # });
//! ```
//!
//! # The three states
//!
//! - **Closed**: every request passes, and what becomes of it is counted. It opens when
//!   - of the calls in the window, [so many at least](CircuitBreakerLayer::min_requests), such a share
//!     [failed](CircuitBreakerLayer::failure_rate) or was [slow](CircuitBreakerLayer::slow_calls), or
//!   - [so many in a row](CircuitBreakerLayer::consecutive_failures) failed.
//!
//!   It is a failure, or a slow call, that opens it, never a success that brings the number of calls to its minimum.
//! - **Open**: every request is answered with a 503 at once, or given to a [fallback](CircuitBreakerLayer::fallback). No
//!   inner service is readied for it.
//! - **Half-open**, when the [open time](CircuitBreakerLayer::open_for) is over: so many
//!   [probes](CircuitBreakerLayer::half_open_requests) pass, at once or one after another, and no more. When all have
//!   succeeded the breaker closes with an empty window; the first that fails, or is slow, opens it again for a longer time.
//!   A probe that says nothing (the client left, the origin asked for less) gives back its place.
//!
//! What is a failure, and when an answer counts, is the [`Classifier`](crate::classify::Classifier)'s to say. Slow is what
//! takes long to the head of the answer: a long download is no slow origin.
//!
//! # One breaker or many
//!
//! One layer is one breaker, shared by all its services and their clones, unless it is told to keep
//! [one for each key](CircuitBreakerLayer::key). Put it around one upstream's client for one breaker an upstream.
//!
//! # Cost
//!
//! Admitting is one atomic load while closed, counting one atomic addition; nothing is locked or allocated, whatever the
//! traffic. A breaker for each key is looked up in a map that is replaced when a key is new, and never locked to read.
//!
//! # Readiness, errors, bodies, state
//!
//! Deferred: always ready; the inner service is readied for what is admitted. The error is the inner service's and has to be
//! `'static`, to be looked into; bodies of answers are watched, so they have to be bodies. Dropping a call or its body at any
//! time gives back what it held. State is kept over a reload by [`adopt`](CircuitBreakerLayer::adopt).

mod age;
mod breaker;
mod fallback;
mod handle;
mod layer;
mod outcomes;
mod policy;
mod registry;
mod service;
mod state;

pub use self::fallback::{Fallback, Refuse, Serve};
pub use self::handle::{BreakerHandle, BreakerStatus, Change, Changes};
pub use self::layer::CircuitBreakerLayer;
pub use self::policy::BreakerState;
pub use self::registry::BreakerKey;
pub use self::service::{BreakerBody, CircuitBreaker, CircuitBreakerFuture};
