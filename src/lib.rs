//! Composable [tower](https://docs.rs/tower) layers for API gateways.
//!
//! Every layer stands alone: add one to an axum or hyper app you already have, or stack all of them as the example
//! gateway (`examples/gateway`) does. None changes the error type of the service it wraps, none puts a bound on a body
//! it does not touch, and all of them share their state between clones and between `layer()` calls, so a limit is one
//! limit however often the stack is cloned.
//!
//! # The way of a request
//!
//! ```text
//! client ip -> request id and trace -> strict -> ip filter -> auth -> cache -> proxy (rewrite, strip hop-by-hop) -> balance -> connection
//! ```
//!
//! and back. What the layers know of one request they tell each other through its [`RequestContext`]; what one of them
//! refuses it answers itself, with a [`Rejection`].
//!
//! # Layers and features
//!
//! | feature | on by default | what it brings |
//! |---|---|---|
//! | `client-ip` | yes | [`ClientIpLayer`](client_ip::ClientIpLayer): who the client is, behind trusted proxies |
//! | `request-id` | yes | [`RequestIdLayer`](request_id::RequestIdLayer): one id and one W3C trace context for each request |
//! | `strict` | yes | [`StrictLayer`](strict::StrictLayer): requests that can be read in one way only, their path in normal form |
//! | `ip-filter` | yes | [`IpFilterLayer`](ip_filter::IpFilterLayer): allow and deny by CIDR |
//! | `route` | yes | [`Router`](route::Router): one service for each host, path, method and header field |
//! | `auth` | yes | [`AuthLayer`](auth::AuthLayer): tokens, rotating keys, API keys, rules; by aws-lc-rs |
//! | `auth-rust-crypto` | no | the same by pure Rust, where `auth` is off: about ten times as slow for what is not remembered |
//! | `auth-core` | no | the same with nothing that verifies signatures |
//! | `auth-file` | no | API keys in a TOML file |
//! | `jwks` | no | key sets over HTTPS |
//! | `cache` | yes | [`CacheLayer`](cache::CacheLayer): a shared HTTP cache, by RFC 9111 and its companions |
//! | `circuit-breaker` | yes | [`CircuitBreakerLayer`](circuit_breaker::CircuitBreakerLayer): an origin that fails is left alone for a while |
//! | `retry` | yes | [`RetryLayer`](retry::RetryLayer): a request that failed is sent again, within a budget |
//! | `limits` | yes | [`BodyLimitLayer`](limits::BodyLimitLayer), [`ContentTypeLayer`](limits::ContentTypeLayer): what a request may bring |
//! | `transform` | yes | [`TransformLayer`](transform::TransformLayer): header fields removed and set, by templates |
//! | `proxy` | yes | [`ProxyService`](proxy::ProxyService): a streaming reverse proxy over any client |
//! | `upstream` | yes | [`Upstream`](upstream::Upstream) and its [`Client`](upstream::Client): pooled connections to servers |
//! | `rate-limit` | yes | [`RateLimitLayer`](rate_limit::RateLimitLayer): quotas for each caller, in memory or across gateways |
//! | `concurrency` | yes | [`ConcurrencyLayer`](concurrency::ConcurrencyLayer): how many requests are in flight at once |
//! | `redis` | no | [`Redis`](redis::Redis): the connection to state that several gateways share |
//! | `serve` | no | [`Server`](serve::Server): listeners, one runtime a worker, timeouts, limits, drain |
//! | `tls` | no | [`ServerTls`](tls::ServerTls): TLS for listeners, and [`ClientTls`](tls::ClientTls) for servers of upstreams, by rustls |
//! | `testing` | no | the contract harness, for layers of your own |
//! | `axum` | no | reads the peer's address from axum's `ConnectInfo` |
//! | `full` | no | all of them |

#![cfg_attr(docsrs, feature(doc_cfg))]
// Parts of the core serve some layers only. With every layer in, nothing may be unused.
#![cfg_attr(not(feature = "full"), allow(dead_code, unused_imports, unused_macros))]

#[cfg(any(feature = "proxy", feature = "serve"))]
mod alarm;
#[cfg(any(feature = "serve", feature = "tls"))]
mod alpn;
mod aside;
#[cfg(any(feature = "circuit-breaker", feature = "retry", feature = "upstream"))]
mod atomic;
#[cfg(feature = "auth-core")]
pub mod auth;
pub mod body;
#[cfg(feature = "cache")]
pub mod cache;
mod chain;
#[cfg(feature = "circuit-breaker")]
pub mod circuit_breaker;
pub mod classify;
#[cfg(feature = "client-ip")]
pub mod client_ip;
mod clock;
#[cfg(feature = "concurrency")]
pub mod concurrency;
mod context;
#[cfg(any(feature = "proxy", feature = "serve"))]
mod date;
#[cfg(any(feature = "proxy", feature = "serve"))]
mod drain;
mod future;
mod gate;
#[cfg(any(feature = "serve", feature = "upstream"))]
mod h1;
mod head;
mod hex;
mod identity;
#[cfg(feature = "ip-filter")]
pub mod ip_filter;
mod known;
#[cfg(feature = "limits")]
pub mod limits;
mod lines;
mod names;
#[cfg(feature = "proxy")]
mod origin;
#[cfg(feature = "proxy")]
pub mod proxy;
mod random;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
mod readiness;
mod recycle;
#[cfg(feature = "redis")]
pub mod redis;
mod rejection;
#[cfg(feature = "request-id")]
pub mod request_id;
#[cfg(feature = "retry")]
pub mod retry;
#[cfg(feature = "route")]
pub mod route;
#[cfg(feature = "serve")]
pub mod serve;
mod share;
mod status_set;
#[cfg(feature = "strict")]
pub mod strict;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
mod trace_context;
#[cfg(feature = "transform")]
pub mod transform;
#[cfg(any(feature = "proxy", feature = "serve"))]
mod turn;
#[cfg(any(feature = "proxy", feature = "serve"))]
mod upgraded;
#[cfg(feature = "upstream")]
pub mod upstream;
mod upstream_error;
#[cfg(any(feature = "circuit-breaker", feature = "retry", feature = "upstream"))]
mod window;

pub use self::clock::{Clock, ManualClock};
pub use self::context::{
    CacheOutcome, ClientCertificate, ClientIp, Connection, InterimSink, RequestContext, RequestId, RouteName,
};
pub use self::head::Head;
#[cfg(feature = "auth-core")]
pub use self::identity::ClaimsError;
pub use self::identity::{CredentialKind, Identity, IdentityBuilder};
pub use self::names::NameSet;
pub use self::readiness::Oneshot;
pub use self::rejection::{Reason, Rejection};
pub use self::share::{InvalidShare, Share};
pub use self::trace_context::TraceContext;
#[cfg(any(feature = "proxy", feature = "serve"))]
pub use self::upgraded::Upgraded;
pub use self::upstream_error::{RequestBodyFailed, UpstreamError, UpstreamErrorKind};

/// A boxed error, as tower spells it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The README's examples compile.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
struct Readme;
