//! A shared HTTP cache: RFC 9111, with the extensions that a gateway lives by.
//!
//! Put it before what is slow. Responses say for how long they are fresh; the layer stores what may be stored, answers with
//! it, asks the origin whether it still holds, and asks once when many want the same at once.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use http::Request;
//! use tower::ServiceExt;
//! use tower_gateway::cache::CacheLayer;
//!
//! # tokio_test::block_on(async {
//! let app = Router::new()
//!     .route("/report", get(|| async { "slow to make" }))
//!     .layer(CacheLayer::in_memory(256 * 1024 * 1024).ttl(Duration::from_secs(30)).x_cache(true));
//!
//! let ask = || Request::get("/report").body(axum::body::Body::empty()).unwrap();
//! for expected in ["MISS", "HIT"] {
//!     let answer = app.clone().oneshot(ask()).await.unwrap();
//!     assert_eq!(answer.headers()["x-cache"], expected);
//!     axum::body::to_bytes(answer.into_body(), 1024).await.unwrap(); // a response is stored as it is read
//! }
//! # });
//! ```
//!
//! # What is stored
//!
//! What RFC 9111 section 3 allows a shared cache: responses to GET, and to POST where they say for what they stand (RFC 9110
//! section 9.3.3), of any final status, that are fresh by `s-maxage`, `max-age`, `Expires`, a tenth of the time since
//! `Last-Modified`, or the layer's [`ttl`](CacheLayer::ttl), in this order, or that have a validator. `CDN-Cache-Control`
//! (RFC 9213) goes before `Cache-Control` and `Expires` where it is there and well formed. `no-store`, `private` and
//! `Vary: *` are never stored, `no-cache` never served without being validated, and directives with field names count as
//! those without.
//!
//! # Who asked
//!
//! A request whose context has an [`Identity`](crate::Identity) passes by the cache unless
//! [`authenticated`](CacheLayer::authenticated) says otherwise: an API key leaves no `Authorization` for the RFC's rules to
//! see. `Authorization` without an identity is stored as RFC 9111 section 3.5 has it. The same rules say whose requests are
//! joined.
//!
//! # Many at once
//!
//! Requests for a key that is being asked for wait for that answer, and are given its bytes as they come. When it turns out
//! not to be for them (private, with a cookie, chosen by other fields, an error) they are let go at once, each to a request
//! of its own; so they are when it takes [too long](CacheLayer::max_wait). A key whose answer could not be shared is
//! remembered for [a while](CacheLayer::uncacheable_for), in which nobody waits.
//!
//! The body is read by whoever of them is fastest, and stored when it has come to its end; one that fails, or has another
//! length than it says, is not stored. When its first client leaves, the others go on.
//!
//! # Stale
//!
//! Within `stale-while-revalidate` a stale response is served while the origin is asked in the background: the request that
//! found it stale is moved there. Within `stale-if-error` it stands in for an answer of 500, 502, 503 or 504, and as long as
//! it is [kept](CacheLayer::keep_stale) for an origin that is dead (RFC 9111 section 4.2.4): one that the inner service fails
//! for, or for which a layer below has answered by itself. `must-revalidate`, `proxy-revalidate`, `s-maxage` and `no-cache`
//! forbid all of it.
//!
//! # What it says
//!
//! `Cache-Status` (RFC 9211) on every answer, [`X-Cache`](CacheLayer::x_cache) where that is switched on, and
//! [`CacheOutcome`](crate::CacheOutcome) in the [`RequestContext`](crate::RequestContext).
//!
//! # Readiness, errors, bodies, state
//!
//! Deferred: always ready, and the inner service is readied when it is needed; a hit needs nothing of it. The error is the
//! inner service's. Response bodies must be [`Body`](http_body::Body), for they are read here; request bodies are never
//! touched, and a GET that has one passes by. A tokio runtime is needed where requests wait for each other or are moved into
//! the background. State is shared by clones and `layer()` calls, [`handle`](CacheLayer::handle) purges it, and
//! [`adopt`](CacheLayer::adopt) takes it over on a reload.

mod answer;
mod ask;
mod background;
mod body;
mod decision;
mod entry;
mod flight;
mod found;
mod future;
mod handle;
mod key;
mod layer;
mod lookup;
mod origin;
mod plan;
mod policy;
mod purge;
mod record;
mod service;
mod settings;
mod status;
pub mod store;
mod stream;
mod uncacheable;
mod waiting;

pub use self::body::CacheBody;
pub use self::future::CacheFuture;
pub use self::handle::CacheHandle;
pub use self::key::QueryParameters;
pub use self::layer::{CacheLayer, InvalidCacheName};
pub use self::purge::PurgeOf;
pub use self::service::Cache;
pub use self::settings::{Authenticated, CacheStatistics};
pub use self::stream::WhenAbandoned;
