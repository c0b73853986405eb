//! Switching to WebSocket (RFC 6455): the handshake passes as a request does, then the two connections are one tunnel.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY, TE};
use http::{HeaderValue, Method, Response, Version, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;

use super::fields::strip_hop_by_hop;
use super::handshake;
use super::tunnel::Tunnel;
use crate::drain::Drain;
use crate::known::Known;
use crate::upgraded::{Io, Opening, Switching, Upgraded, name_websocket, names_websocket};

/// What a request asks for that asks for WebSocket, to be kept until the origin has agreed. `None` for all other requests, whose
/// `Upgrade` is removed with the rest of what concerns one hop: so is that of a request whose server could not switch, such as
/// HTTP/1.0, of one with a body, which would have to end first, and of one whose key is not there once.
pub(super) fn asked_for(parts: &mut request::Parts, known: Known, has_body: bool) -> Option<Box<Asked>> {
    let is_asked = known.any(Known::UPGRADE) && names_websocket(&parts.headers);
    if !is_asked || parts.method != Method::GET || has_body || !has_one_key(parts) {
        return None;
    }
    let client = match parts.extensions.remove::<Switching>() {
        Some(switching) => ClientSide::Opening(switching.take()?),
        None => ClientSide::Switching(parts.extensions.remove::<OnUpgrade>()?),
    };
    Some(Box::new(Asked { client, accept: String::new(), drain: parts.extensions.remove() }))
}

/// RFC 6455 section 11.3.1: of several keys one would be answered, and which, two origins may see in two ways. Over HTTP/2
/// there need be none (RFC 8441 section 5).
fn has_one_key(parts: &request::Parts) -> bool {
    let keys = parts.headers.get_all(SEC_WEBSOCKET_KEY).iter().count();
    keys == 1 || (keys == 0 && parts.version == Version::HTTP_2)
}

/// A handshake whose answer has not come.
pub(super) struct Asked {
    client: ClientSide,
    /// What the origin answers that has understood it.
    accept: String,
    drain: Option<Drain>,
}

/// The client's connection once it has switched: hyper's, or this crate's own server's.
enum ClientSide {
    Switching(OnUpgrade),
    Opening(Opening),
}

impl ClientSide {
    async fn connection(self) -> Option<Box<dyn Io>> {
        match self {
            Self::Switching(upgrade) => Some(Box::new(TokioIo::new(upgrade.await.ok()?))),
            Self::Opening(connection) => connection.await.ok(),
        }
    }
}

impl Asked {
    /// Asks the origin in turn.
    pub(super) fn ask(&mut self, parts: &mut request::Parts) {
        name_websocket(&mut parts.headers);
        // There is no body whose trailers could be wanted, and an origin may look at the first option of Connection alone.
        parts.headers.remove(TE);
        // Over HTTP/2 a client has none (RFC 8441 section 5), and over HTTP/1.1 a server wants one (RFC 6455 section 4.1).
        if !parts.headers.contains_key(SEC_WEBSOCKET_KEY)
            && let Ok(key) = HeaderValue::from_str(&handshake::key())
        {
            parts.headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        let key = parts.headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        self.accept = handshake::accept(key);
    }
}

/// Lets the client know that the origin has switched, and tunnels from then on what either sends. False when this is not
/// the answer that was asked for, or its connection is not there to be had.
#[inline(never)]
pub(super) fn switch<R>(asked: Asked, response: &mut Response<R>, idle: Option<Duration>) -> bool {
    let headers = response.headers();
    if !names_websocket(headers) || !handshake::is_accepted(headers, &asked.accept) {
        return false;
    }
    let (Some(origin), Ok(runtime)) = (origin(response), Handle::try_current()) else { return false };
    strip_hop_by_hop(response.headers_mut());
    // RFC 9110 section 8.6: nor has a 1xx a Content-Length; what follows it is not HTTP.
    response.headers_mut().remove(CONTENT_LENGTH);
    name_websocket(response.headers_mut());
    runtime.spawn(tunnel(asked, origin, idle));
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
async fn tunnel(asked: Asked, origin: Origin, idle: Option<Duration>) {
    let connections = async {
        let client = Box::into_pin(asked.client.connection().await?);
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
    let Some((client, origin)) = connections else { return };
    let mut tunnel = pin!(Tunnel::new(client, origin, idle));
    if let Some(drain) = asked.drain {
        match select(tunnel.as_mut(), pin!(drain.begun())).await {
            Either::Left(_) => return,
            Either::Right((until, _)) => tunnel.as_mut().leave(until),
        }
    }
    tunnel.await;
}
