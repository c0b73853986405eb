//! The seam between a client that was switched to another protocol and the proxy that tunnels it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

/// A connection on which HTTP has ended.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// The connection to an origin that has switched protocols, in the extensions of its 101 (RFC 9110 section 7.8).
///
/// [`Client`](crate::upstream::Client) puts it there and [`ProxyService`](crate::proxy::ProxyService) takes it out. A client
/// of your own that does the same is tunnelled too. Of all clones one has the connection.
#[derive(Clone)]
pub struct Upgraded(Arc<Mutex<Option<Box<dyn Io>>>>);

impl Upgraded {
    /// `connection` begins with the first byte behind the head of the 101, also when that has been received already.
    pub fn new(connection: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(connection)))))
    }

    /// The connection, for the first who asks.
    pub(crate) fn take(&self) -> Option<Box<dyn Io>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}

/// The client's side of a switch that its server makes by itself, in the extensions of the request that asks for it: once the
/// answer is a 101, the connection is there. Beside it goes a [`Drain`](crate::drain::Drain).
#[derive(Clone)]
pub(crate) struct Switching(Arc<Mutex<Option<Opening>>>);

/// What a connection comes by that is not there yet.
pub(crate) type Opening = oneshot::Receiver<Box<dyn Io>>;

/// The server's end of a [`Switching`].
pub(crate) type Opened = oneshot::Sender<Box<dyn Io>>;

impl Switching {
    #[cfg(feature = "serve")]
    pub(crate) fn new() -> (Self, Opened) {
        let (opened, connection) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(connection)))), opened)
    }

    /// What the connection comes by, for the first who asks.
    #[cfg(feature = "proxy")]
    pub(crate) fn take(&self) -> Option<Opening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// True when a head asks for WebSocket, or agrees to it (RFC 6455 sections 4.1 and 4.2.2): `Upgrade` names it alone, and
/// `Connection` names `Upgrade`. Nothing else may be switched to: over h2c, requests would pass that nobody checks.
pub(crate) fn names_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let Some(protocol) = protocols.next() else { return false };
    let alone = protocols.next().is_none();
    let is_option = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"upgrade");
    let mut lines = headers.get_all(CONNECTION).iter();
    alone
        && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
        && lines.any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_option))
}

/// Says to the next hop what [`names_websocket`] has found, now that all else that concerned the hop before is removed.
pub(crate) fn name_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn of(lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        names_websocket(&headers)
    }

    #[test]
    fn websocket_is_named_alone_and_by_connection_too() {
        assert!(of(&[("upgrade", "websocket"), ("connection", "Upgrade")]));
        assert!(of(&[("upgrade", "WebSocket"), ("connection", "keep-alive"), ("connection", "x , UPGRADE")]));
        for not in [
            &[("upgrade", "websocket")][..],
            &[("connection", "upgrade")],
            &[("upgrade", "websocket"), ("connection", "keep-alive, upgrades")],
            &[("upgrade", "h2c"), ("connection", "upgrade")],
            &[("upgrade", "websocket, h2c"), ("connection", "upgrade")],
            &[("upgrade", "websocket/13"), ("connection", "upgrade")],
            &[("upgrade", "h2c"), ("upgrade", "websocket"), ("connection", "upgrade")],
            &[("upgrade", "websocket"), ("upgrade", "websocket"), ("connection", "upgrade")],
        ] {
            assert!(!of(not), "{not:?}");
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        let mut headers = HeaderMap::new();
        name_websocket(&mut headers);
        assert!(names_websocket(&headers));
    }

    #[test]
    fn one_of_all_clones_has_the_connection() {
        let upgraded = Upgraded::new(tokio::io::empty());
        assert!(upgraded.clone().take().is_some());
        assert!(upgraded.take().is_none());
    }
}
