//! Switching to WebSocket (RFC 6455): the handshake passes as a request does, then the two connections are one tunnel.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY, TE};
use http::{HeaderValue, Method, Response, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;

use super::fields::strip_hop_by_hop;
use super::tunnel::Tunnel;
use crate::random::random;
use crate::upgraded::{Io, Opening, Switching, Upgraded, name_websocket, names_websocket};

/// The client's side of the switch that a request asks for, to be kept until the origin has agreed. `None` for all other
/// requests, whose `Upgrade` is removed with the rest of what concerns one hop: so is that of a request whose server could
/// not switch, such as HTTP/1.0, and of one with a body, which would have to end first.
pub(super) fn asked_for(parts: &mut request::Parts, has_body: bool) -> Option<ClientSide> {
    if !names_websocket(&parts.headers) || parts.method != Method::GET || has_body {
        return None;
    }
    if let Some(switching) = parts.extensions.remove::<Switching>() {
        return switching.take().map(ClientSide::Opening);
    }
    parts.extensions.remove::<OnUpgrade>().map(ClientSide::Switching)
}

/// The client's connection once it has switched: hyper's, or one stream of HTTP/2.
pub(super) enum ClientSide {
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

/// Asks the origin in turn.
pub(super) fn ask(parts: &mut request::Parts) {
    name_websocket(&mut parts.headers);
    // There is no body whose trailers could be wanted, and an origin may look at the first option of Connection alone.
    parts.headers.remove(TE);
    // Over HTTP/2 a client has none (RFC 8441 section 5), and over HTTP/1.1 a server wants one (RFC 6455 section 4.1).
    if !parts.headers.contains_key(SEC_WEBSOCKET_KEY)
        && let Ok(key) = HeaderValue::from_str(&key())
    {
        parts.headers.insert(SEC_WEBSOCKET_KEY, key);
    }
}

/// Sixteen random bytes in base64. They guard against caches that take a handshake for something else, and are no secret.
fn key() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u128::from(random()) << 64 | u128::from(random());
    let digits = (0..22).map(|at| match 122 - 6 * at {
        shift @ 0.. => bits >> shift,
        short => bits << -short,
    });
    digits.map(|digit| char::from(DIGITS[(digit & 63) as usize])).chain("==".chars()).collect()
}

/// Lets the client know that the origin has switched, and tunnels from then on what either sends. False when this is not
/// the answer that was asked for, or its connection is not there to be had.
pub(super) fn switch<R>(client: ClientSide, response: &mut Response<R>, idle: Option<Duration>) -> bool {
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
async fn tunnel(client: ClientSide, origin: Origin, idle: Option<Duration>) {
    let connections = async {
        let client = Box::into_pin(client.connection().await?);
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

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_and_never_the_same() {
        let keys = [key(), key()];
        assert_ne!(keys[0], keys[1]);
        for key in keys {
            assert_eq!(
                base64::engine::general_purpose::STANDARD_NO_PAD.decode(&key[..22]).map(|bytes| bytes.len()),
                Ok(16)
            );
            assert!(key.ends_with("=="));
        }
    }
}
