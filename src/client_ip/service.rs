use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderMap, Request, Response};
use tower_service::Service;

use super::ClientIpFuture;
use super::layer::Settings;
use crate::aside::aside;
use crate::body::ResponseBody;
use crate::{ClientIp, RequestContext};

/// The service that [`ClientIpLayer`](super::ClientIpLayer) makes. ([`ClientIp`] is what it finds.)
#[derive(Clone, Debug)]
pub struct ClientIpService<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for ClientIpService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ClientIpFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.settings.gate.applies(&request) {
            self.settings.resolve(&mut request);
        }
        ClientIpFuture::inner(self.inner.call(request))
    }
}

impl Settings {
    fn resolve<B>(&self, request: &mut Request<B>) {
        let Some(peer) = self.peer_of(request.extensions()) else {
            aside();
            return self.headers.remove_all(request.headers_mut());
        };
        let client = if self.trusted.contains(peer.ip()) {
            self.client_behind(peer, request.headers_mut())
        } else {
            self.headers.remove_all(request.headers_mut());
            ClientIp::from_peer(peer, self.ipv6_prefix)
        };
        RequestContext::get_or_insert(request.extensions_mut()).note_client_ip(client);
    }

    #[inline(never)]
    fn client_behind(&self, trusted: SocketAddr, headers: &mut HeaderMap) -> ClientIp {
        let address = self.headers.believe(headers, trusted.ip(), &self.trusted);
        ClientIp::behind_trusted(trusted, address, self.ipv6_prefix)
    }

    fn peer_of(&self, extensions: &Extensions) -> Option<SocketAddr> {
        let told = self.peer_from.as_ref().and_then(|peer_from| peer_from(extensions));
        if told.is_some() {
            aside();
            return told;
        }
        if let Some(connection) = extensions.get::<RequestContext>().and_then(RequestContext::connection) {
            return Some(connection.peer);
        }
        peer_of_others(extensions)
    }
}

/// The peer, as told by whoever serves in place of `serve`.
#[inline(never)]
fn peer_of_others(extensions: &Extensions) -> Option<SocketAddr> {
    axum_peer(extensions).or_else(|| extensions.get().copied())
}

#[cfg(feature = "axum")]
fn axum_peer(extensions: &Extensions) -> Option<SocketAddr> {
    Some(extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()?.0)
}

#[cfg(not(feature = "axum"))]
fn axum_peer(_: &Extensions) -> Option<SocketAddr> {
    None
}
