//! Who is let in, by address.
//!
//! An admin interface for the office only, and a block list for everybody else:
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower::ServiceBuilder;
//! use tower_gateway::client_ip::{CidrSet, ClientIpLayer};
//! use tower_gateway::ip_filter::IpFilterLayer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let office = CidrSet::parse(["192.0.2.0/24", "2001:db8::/32"])?;
//! let blocked = CidrSet::parse(["198.51.100.0/24"])?;
//!
//! let admin = Router::new()
//!     .route("/admin", get("settings"))
//!     .layer(IpFilterLayer::new().allow(office));
//!
//! let app: Router = Router::new()
//!     .route("/", get("hello"))
//!     .merge(admin)
//!     .layer(ServiceBuilder::new().layer(ClientIpLayer::new()).layer(IpFilterLayer::new().deny(blocked)));
//! # Ok(())
//! # }
//! ```
//!
//! It asks the [`RequestContext`] who the client is, so a layer outside this one has to say so:
//! [`ClientIpLayer`](crate::client_ip::ClientIpLayer), or your own with
//! [`set_client_ip`](RequestContext::set_client_ip).
//!
//! - A client in `deny` is refused, also one that is in `allow`.
//! - Where `allow` has any range, a client outside of it is refused. Empty, it admits everybody.
//! - A request whose client is not known is refused, whatever the ranges: a filter that nobody told the address must not be
//!   an open door.
//!
//! A refusal is a 403 with the code `ip_denied`; it does not say which rule it was.
//!
//! Readiness is immediate: ready when the inner service is, and what that has reserved is given back on a refusal. Nothing
//! is asked of bodies, the error is the inner service's, and there is no running state to adopt on a reload.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::gate::{Gate, gate_setters};
use crate::readiness::release;
use crate::{ClientIp, Head, Reason, Rejection, RequestContext};

pub use crate::client_ip::{CidrError, CidrSet};
/// The future of [`IpFilter`].
pub use crate::future::InnerOrOwn as IpFilterFuture;

/// Lets clients in by their address. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct IpFilterLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug, Default)]
struct Settings {
    gate: Gate,
    allow: CidrSet,
    deny: CidrSet,
}

impl IpFilterLayer {
    /// Everybody whose address is known is let in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets in these clients and no others. An empty set lets in everybody, as if it had not been set.
    #[must_use]
    pub fn allow(mut self, clients: impl Into<CidrSet>) -> Self {
        Arc::make_mut(&mut self.settings).allow = clients.into();
        self
    }

    /// Refuses these clients, also those that `allow` lets in.
    #[must_use]
    pub fn deny(mut self, clients: impl Into<CidrSet>) -> Self {
        Arc::make_mut(&mut self.settings).deny = clients.into();
        self
    }

    gate_setters!(refuses);
}

impl<S> Layer<S> for IpFilterLayer {
    type Service = IpFilter<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IpFilter { inner, settings: Arc::clone(&self.settings) }
    }
}

/// The service that [`IpFilterLayer`] makes.
#[derive(Clone, Debug)]
pub struct IpFilter<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for IpFilter<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = IpFilterFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.settings.refusal(&request) {
            Some(refusal) => {
                release(&mut self.inner);
                IpFilterFuture::own(refusal)
            }
            None => IpFilterFuture::inner(self.inner.call(request)),
        }
    }
}

impl Settings {
    fn refusal<B>(&self, request: &Request<B>) -> Option<Response<bytes::Bytes>> {
        if !self.gate.applies(request) {
            return None;
        }
        let head = Head::of(request);
        let client = head.context().and_then(RequestContext::client_ip);
        if client.is_some_and(|client| self.admits(client)) {
            return None;
        }
        self.gate.refuse(head, Rejection::new("ip_filter", Reason::IpDenied))
    }

    fn admits(&self, client: &ClientIp) -> bool {
        let address = client.address();
        !self.deny.contains(address) && (self.allow.is_empty() || self.allow.contains(address))
    }
}
