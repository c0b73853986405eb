//! How much each caller may use: in this process, across gateways, or in a store of your own.
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_gateway::rate_limit::{Key, Limit, Quota, RateLimitLayer};
//!
//! # tokio_test::block_on(async {
//! // Ten a second and a thousand an hour for each user, whoever is anonymous by address: admitted by both, or charged to none.
//! let user = Key::subject().or(Key::client_ip()).or(Key::global());
//! let layer = RateLimitLayer::new([
//!     Limit::new("burst", Quota::per_second(10)).key(user.clone()),
//!     Limit::new("hourly", Quota::per_hour(1000)).key(user).plan("pro", Quota::per_hour(20_000)),
//! ]);
//! let app = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("hello"))));
//!
//! for _ in 0..10 {
//!     assert_eq!(app.clone().oneshot(Request::new(())).await.unwrap().status(), 200);
//! }
//! let refused = app.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(refused.status(), 429);
//! assert_eq!(refused.headers()["retry-after"], "1");
//! assert_eq!(refused.headers()["ratelimit"], r#""burst";r=0;t=1"#);
//! # });
//! ```
//!
//! # Limits
//!
//! A [`Limit`] has a name, a [`Key`] that says who is counted, a [`Quota`] that says how much each may use and by which
//! [`Algorithm`] that is counted, and a cost: 1, what a closure makes of the head, or what the answer turns out to have
//! been ([`Limit::price`]). Its quota may be another one by the plan or the own limit of the
//! [`Identity`](crate::Identity), or by what a closure finds.
//!
//! A layer before authentication stands where no identity is known yet and keeps floods away from the verification of
//! credentials; one behind it counts users. The same limit may be in several layers: those with the same name and store
//! count together.
//!
//! # Stores
//!
//! [`MemoryStore`] is exact and answers at once. With `RedisStore` (feature `redis`) several gateways share one count, in
//! one round trip for all quotas of a request. A [`Store`] of your own takes thirty lines: `examples/rate_limit_store.rs`.
//! What becomes of requests while a store has no answer is said by [`OnStoreError`].
//!
//! # Answers
//!
//! A refusal is a 429 with the code `rate_limit_exceeded`, `Retry-After`, and the name of the quota (`violated-policies`,
//! as of draft-ietf-httpapi-ratelimit-headers-10). All answers carry the fields that [`RateLimitHeaders`] asks for. In a
//! [dry run](RateLimitLayer::dry_run) nothing is refused, and the [`RequestContext`](crate::RequestContext) says what
//! would have been.
//!
//! # Readiness, errors, state
//!
//! Deferred: always ready, and the inner service is readied once a request is admitted, so one that is refused needs no
//! ready inner service. Nothing is asked of bodies, the error is the inner service's. The store is the state, and
//! [`adopt`](RateLimitLayer::adopt) keeps it over a reload.

mod charge;
mod digest;
mod future;
mod gcra;
mod handle;
mod headers;
mod key;
mod layer;
mod limit;
mod meter;
mod quota;
mod service;
mod store;
mod window;

pub use self::charge::{Charge, Charges, Decision};
pub use self::digest::{Digest, Digests};
pub use self::future::RateLimitFuture;
pub use self::handle::{RateLimitHandle, RateLimitStatistics};
pub use self::headers::RateLimitHeaders;
pub use self::key::{Key, PathTemplateError};
pub use self::layer::{OnStoreError, RateLimitLayer};
pub use self::limit::{AnswerHead, Limit, MissingKey};
pub use self::quota::{Algorithm, Quota, QuotaError};
pub use self::service::RateLimit;
pub use self::store::memory::{MemoryStore, MemoryStoreBuilder, WhenFull};
#[cfg(feature = "redis")]
pub use self::store::redis::{RedisStore, RedisStoreFuture};
pub use self::store::{AsyncStore, BoxStore, Boxed, Store, StoreError};
