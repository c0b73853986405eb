//! Switching to WebSocket (RFC 6455): the handshake passes as a request does, then the two connections are one tunnel.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, TE};
use http::{Method, Response, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;

use super::fields::strip_hop_by_hop;
use super::tunnel::Tunnel;
use crate::upgraded::{Io, Upgraded, name_websocket, names_websocket};

/// The client's side of the switch that a request asks for, to be kept until the origin has agreed. `None` for all other
/// requests, whose `Upgrade` is removed with the rest of what concerns one hop: so is that of a request whose server could
/// not switch, such as HTTP/1.0, and of one with a body, which would have to end first.
pub(super) fn asked_for(parts: &mut request::Parts, has_body: bool) -> Option<OnUpgrade> {
    if !names_websocket(&parts.headers) || parts.method != Method::GET || has_body {
        return None;
    }
    parts.extensions.remove::<OnUpgrade>()
}

/// Asks the origin in turn.
pub(super) fn ask(parts: &mut request::Parts) {
    name_websocket(&mut parts.headers);
    // There is no body whose trailers could be wanted, and an origin may look at the first option of Connection alone.
    parts.headers.remove(TE);
}

/// Lets the client know that the origin has switched, and tunnels from then on what either sends. False when this is not
/// the answer that was asked for, or its connection is not there to be had.
pub(super) fn switch<R>(client: OnUpgrade, response: &mut Response<R>, idle: Option<Duration>) -> bool {
    if !names_websocket(response.headers()) {
        return false;
    }
    let (Some(origin), Ok(runtime)) = (origin(response), Handle::try_current()) else { return false };
    strip_hop_by_hop(response.headers_mut());
    // RFC 9110 section 8.6: nor has a 1xx a Content-Length; what follows it is not HTTP.
    response.headers_mut().remove(CONTENT_LENGTH);
    name_websocket(response.headers_mut());
    runtime.spawn(tunnel(client, origin, idle));
    true
}

/// The origin's side, from this crate's client or from one over hyper's.
enum Origin {
    Switched(Box<dyn Io>),
    Switching(OnUpgrade),
}

fn origin<R>(response: &mut Response<R>) -> Option<Origin> {
    let extensions = response.extensions_mut();
    if let Some(upgraded) = extensions.remove::<Upgraded>() {
        return upgraded.take().map(Origin::Switched);
    }
    extensions.remove::<OnUpgrade>().map(Origin::Switching)
}

/// Waits for both connections, no longer than they may be silent, and tunnels.
async fn tunnel(client: OnUpgrade, origin: Origin, idle: Option<Duration>) {
    let connections = async {
        let client = TokioIo::new(client.await.ok()?);
        let origin: Box<dyn Io> = match origin {
            Origin::Switched(connection) => connection,
            Origin::Switching(upgrade) => Box::new(TokioIo::new(upgrade.await.ok()?)),
        };
        Some((client, Box::into_pin(origin)))
    };
    let connections = match idle {
        Some(idle) => tokio::time::timeout(idle, connections).await.ok().flatten(),
        None => connections.await,
    };
    if let Some((client, origin)) = connections {
        Tunnel::new(client, origin, idle).await;
    }
}
