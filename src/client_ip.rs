//! Who the client is, also behind load balancers and CDNs.
//!
//! Behind a load balancer every connection comes from the load balancer, and the client's address comes in a header that
//! anybody can write. [`ClientIpLayer`] believes one such header, from the proxies you trust and from nobody else, and
//! leaves the answer in the [`RequestContext`](crate::RequestContext), where rate limits, filters and logs find it:
//!
//! ```
//! use axum::{Extension, Router, routing::get};
//! use tower_gateway::RequestContext;
//! use tower_gateway::client_ip::{CidrSet, ClientIpLayer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let load_balancers = CidrSet::parse(["10.0.0.0/8", "2001:db8:1b::/48"])?;
//!
//! let app = Router::new()
//!     .route("/whoami", get(async |Extension(context): Extension<RequestContext>| {
//!         context.client_ip().map(|client| client.to_string()).unwrap_or_default()
//!     }))
//!     .layer(ClientIpLayer::new().trusted_proxies(load_balancers));
//!
//! // axum tells the peer's address when it is served like this.
//! let service = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
//! # let _: axum::extract::connect_info::IntoMakeServiceWithConnectInfo<_, _> = service;
//! # Ok(())
//! # }
//! ```
//!
//! # The peer
//!
//! The other end of the connection is, in this order: what [`ClientIpLayer::peer_from`] finds,
//! [`RequestContext::connection`](crate::RequestContext::connection), axum's `ConnectInfo<SocketAddr>` (feature `axum`), a
//! plain `SocketAddr` among the request's extensions. Where none of them is there nothing is trusted and no client is set.
//!
//! # The walk
//!
//! Every proxy appends the address it was called from, so the rightmost entry was written by the peer, and each trusted
//! address vouches for the entry to its left. The entries of all lines of the header are walked from right to left, at
//! most 64 of them: the first address that is not trusted is the client. An entry that names no address (`unknown`, an
//! obfuscated name, anything malformed) ends the walk, and the client is the last address to the right of it, or the peer.
//! Where all are trusted, it is the leftmost.
//!
//! - `X-Forwarded-For` entries are an IPv4 or IPv6 address, either with a port, IPv6 also in brackets.
//! - `Forwarded` elements are read by RFC 7239 section 4, strictly; only their `for` matters here. Quoted strings are told
//!   apart from the right, so that a quote which the client left open cannot swallow what a proxy appended to it.
//! - Any other header ([`ForwardingHeader::Single`]) must be one line with one address, else the client is the peer.
//!
//! # What is left on the request
//!
//! Layers and origins behind this one may believe the forwarding headers they find, in any spelling (`X_Real_IP`):
//!
//! - From a peer that is not trusted, none is left: `Forwarded`, the `X-Forwarded-*` family, and the headers that name a
//!   client in products and clouds, such as `X-Real-IP`, `True-Client-IP` or `CF-Connecting-IP`.
//! - From a trusted peer the believed header is left with its believed part: the client and what is to the right of it,
//!   in one line. `X-Forwarded-For` keeps bare addresses, `Forwarded` keeps its elements as they were written.
//! - Where that header is `X-Forwarded-For`, `X-Forwarded-Proto` (`http` or `https`), `X-Forwarded-Host` (an authority
//!   without user information) and `X-Forwarded-Port` stay too, each if it is one line with one sane value.
//! - All others are removed.
//!
//! # Readiness, errors, state
//!
//! Immediate: ready when the inner service is. It refuses nothing, fails never, touches no body and keeps no running
//! state, so there is nothing to adopt on a reload.

mod cidr;
mod forwarded;
mod headers;
mod layer;
mod service;
mod walk;

pub use self::cidr::{CidrError, CidrSet};
pub use self::headers::ForwardingHeader;
pub use self::layer::ClientIpLayer;
pub use self::service::ClientIpService;
/// The future of [`ClientIpService`].
pub use crate::future::InnerOrOwn as ClientIpFuture;
#[doc(no_inline)]
pub use ipnet::IpNet;
