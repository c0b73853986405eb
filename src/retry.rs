//! A request that failed for a reason that may be gone is sent again, to another server where there is one.
//!
//! The layer stands in the client stack of a [`ProxyService`](crate::proxy::ProxyService), so that headers are worked on
//! once, whatever becomes of the tries:
//!
//! ```no_run
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tower::ServiceBuilder;
//! use tower_gateway::circuit_breaker::CircuitBreakerLayer;
//! use tower_gateway::proxy::ProxyService;
//! use tower_gateway::retry::RetryLayer;
//! use tower_gateway::upstream::{Client, Upstream};
//!
//! let users = Upstream::new(["http://127.0.0.1:3001", "http://127.0.0.1:3002"])?;
//! let client = ServiceBuilder::new()
//!     .layer(RetryLayer::new().attempts(3))
//!     // Every try passes the breaker, and a try that it refuses is the last.
//!     .layer(CircuitBreakerLayer::new())
//!     .service(Client::new(users));
//! let proxy = ProxyService::new(client);
//! # let _ = proxy.map_client(|client| client); Ok(()) }
//! ```
//!
//! # What is sent again
//!
//! | what happened | sent again |
//! |---|---|
//! | no connection came about: name, TCP, TLS | any method, since nothing was sent |
//! | the connection ended before an answer, a try took [too long](RetryLayer::per_try), or the answer's status is [one of these](RetryLayer::statuses) (502, 503, 504) | idempotent methods (RFC 9110 section 9.2.2), and a request with an `Idempotency-Key` |
//! | any other error or answer; a refusal of a layer of ours | no |
//!
//! And only while all of these hold:
//!
//! - The request was tried less than [so many times](RetryLayer::attempts).
//! - Its body can be had again: see below.
//! - There is a retry left in the [budget](RetryLayer::budget), so that retries cannot multiply the load on servers that fail
//!   because of their load.
//! - The wait fits into the [deadline](RetryLayer::deadline), and what `Retry-After` asks for is not more than the
//!   [most](RetryLayer::longest_retry_after) that is waited.
//!
//! Nothing is retried once the head of an answer has been passed on. A pooled connection that was closing when a request
//! went out on it is another matter: [`Client`](crate::upstream::Client) then sends an idempotent request without a body once
//! more by itself, for the origin has not seen it.
//!
//! # When
//!
//! At once where [another server](RetryLayer::at_once_when) can be asked; else after a random time up to a limit that doubles
//! with each try (exponential backoff with full jitter: Brooker, "Exponential Backoff And Jitter", 2015). `Retry-After` is
//! waited for where no other server can be asked.
//!
//! Which servers have been tried is told to [`Client`](crate::upstream::Client), which then takes others.
//!
//! # Bodies
//!
//! The inner service is given a [`ReplayBody`]. What it takes of the request's body is kept until an answer comes, up to
//! [so many bytes](RetryLayer::replay_bytes): a try that failed early is followed by one that gets what was kept, and then the
//! rest as it comes. A body that is larger, which is known before when it says how long it is, is not kept at all and
//! streams through; it can then be sent again only if nobody has asked for its first byte. How many requests were not
//! retried for that reason is [counted](RetryStats::too_large).
//!
//! # Cost
//!
//! A request that may be retried has its method, target and fields cloned, and its context; nothing else is, other extensions
//! go with the first try alone. A request without a body needs nothing more.
//!
//! # Readiness, errors, state
//!
//! Deferred: always ready; the inner service is readied for each try. The error is that of the last try, or one made from an
//! [`UpstreamError`] when a deadline has passed. The budget and the counters are kept over a reload by
//! [`adopt`](RetryLayer::adopt).

mod backoff;
mod body;
mod budget;
mod layer;
mod plan;
mod service;

pub use self::body::ReplayBody;
pub use self::budget::RetryBudget;
pub use self::layer::{RetryHandle, RetryLayer, RetryStats};
pub use self::service::{Retry, RetryFuture};

#[cfg(doc)]
use crate::UpstreamError;
