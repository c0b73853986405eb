//! A streaming reverse proxy over any client.
//!
//! [`ProxyService`] turns a request that a client sent to you into one that you send to an origin, and the origin's
//! answer into yours. It wraps a client stack: this crate's own [`Client`](crate::upstream::Client), hyper-util's, or any
//! service whose error is an error; its own error is [`Infallible`](std::convert::Infallible), since what goes wrong
//! behind a proxy is answered with a 502, 503 or 504.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_gateway::proxy::ProxyService;
//! use tower_gateway::upstream::{Client, Upstream};
//!
//! let users = Upstream::new(["http://127.0.0.1:3001"])?;
//! let proxy = ProxyService::new(Client::new(users)).strip_prefix("/api")?;
//!
//! // A route of an axum app: everything below /api/users is answered by the origin.
//! let app: axum::Router = axum::Router::new().nest_service("/api/users", proxy);
//! # Ok(()) }
//! ```
//!
//! # What it does to a request
//!
//! - The path loses its prefix and may be rewritten; the query is kept byte for byte. What is left must
//!   not begin with `//` nor hold a dot segment, however it is written, or the answer is a 400.
//! - Hop-by-hop fields, and those that `Connection` names, are removed (RFC 9110 section 7.6.1) before the proxy sets its
//!   own, so that nothing a client names can remove those. Framing is never copied: the client frames the body anew.
//! - `X-Forwarded-For`, `-Proto` and `-Host`, `Forwarded` (RFC 7239) and `Via` say where the request came from. What the
//!   client wrote there itself is replaced, unless [`ClientIpLayer`](crate::client_ip::ClientIpLayer) believed it.
//! - A request that carries this gateway's own `Via` has gone in a circle and is answered with a 508.
//!
//! # What it does to an answer
//!
//! - The same fields are removed; `Date` is set where the origin sent none (RFC 9110 section 6.6.1).
//! - Bodies stream both ways, with back-pressure and trailers; trailers are filtered as header fields are.
//! - A client that leaves drops the future or the body, and with it the exchange with the origin.
//! - [`Timeouts`] bound the wait for the head, pauses in the body and the whole exchange.
//! - Interim answers (102, 103) are passed on at once by [`Client`](crate::upstream::Client), where the request's context
//!   has an [`InterimSink`](crate::InterimSink), as it has behind [`Server`](crate::serve::Server).
//!
//! # WebSocket
//!
//! A GET with `Upgrade: websocket` (RFC 6455) is passed on as one, where the server is hyper's or built on it (axum, this
//! crate's own): its [`OnUpgrade`](hyper::upgrade::OnUpgrade) is among the request's extensions. When the origin agrees
//! with a 101, the two connections become a tunnel: with back-pressure both ways, at most 16 KiB waiting each way, ends passed
//! on, and no timeout but [`Timeouts::upgrade_idle`]. Of its bytes the proxy looks at the heads of frames alone. It runs as a task of
//! its own, and until its end holds the client's place in the server's limits and the origin's connection. Any other answer
//! of the origin's is an answer like all others. Every other `Upgrade` is removed, so that nothing (h2c) tunnels past
//! the rules; a 101 that was not asked for is a 502, and so is one whose `Sec-WebSocket-Accept` does not answer the key.
//!
//! When this crate's own [`Server`](crate::serve::Server) begins to [stop](crate::serve::ServerHandle::drain), the client is
//! told so where the next frame would begin: a Close frame with 1001 (going away, section 7.4.1). What it sends until it has
//! answered still reaches the origin; one that does not answer within a second, or within half of the grace, is spoken for:
//! the origin is sent the same. When both have answered the tunnel ends, and in any case with the grace.
//!
//! # Readiness
//!
//! Deferred: the proxy is always ready, and readies the client when it has a request to send.

mod body;
mod error;
pub(crate) mod fields;
mod forwarding;
mod frames;
mod future;
mod handshake;
mod path;
mod request;
mod service;
mod streams;
mod timeouts;
mod tunnel;
mod upgrade;

pub use self::body::{ForwardBody, ProxyBody};
pub use self::future::ProxyFuture;
pub use self::path::{InvalidPrefix, PathRewrite};
pub use self::service::{HostPolicy, InvalidOrigin, InvalidPseudonym, ProxyService};
pub use self::timeouts::Timeouts;
