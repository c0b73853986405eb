//! Origins: the servers a request may go to, and the connections to them.
//!
//! [`Upstream`] is shared by everything in the process: its servers, what is in flight at each, how many connections each
//! may have. [`Client`] belongs to one runtime and holds that runtime's connections, so that none is ever used across
//! threads; make one for each worker from the same `Upstream`.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower::ServiceExt;
//! use tower_gateway::upstream::{Balance, Client, Upstream};
//!
//! let users = Upstream::builder()
//!     .server("http://127.0.0.1:3001", 1)
//!     .server("http://127.0.0.1:3002/base", 2)
//!     .balance(Balance::RoundRobin)
//!     .connect_timeout(Duration::from_millis(500))
//!     .build()?;
//! let client = Client::new(users);
//!
//! let request = http::Request::get("/users/7").body(http_body_util::Empty::<bytes::Bytes>::new())?;
//! let response = client.oneshot(request).await?;
//! # Ok(()) }
//! ```
//!
//! A GET that asks for WebSocket is sent as such, and a 101 has the connection in its extensions, as
//! [`Upgraded`](crate::Upgraded); it counts as a request in flight until it is dropped.
//!
//! # HTTP/2
//!
//! With [`Protocol::Http2`], and where a server with `https://` chooses it, a client opens one connection to a server and sends
//! every request over it, as many at once as the server takes; it opens another when that is full. A server that goes away
//! (GOAWAY), or refuses a request unseen (REFUSED_STREAM), costs no request: what it has not looked at is sent once more over
//! another connection, and what it has is waited for. A stream that is reset is that request's error and nobody else's. A
//! connection on which nothing comes while requests wait is asked for a sign of life, and given up when there is none. There is
//! no WebSocket over it.
//!
//! [`Protocol::Auto`] lets every server with `https://` choose (ALPN, RFC 7301). Each connection is what its handshake says:
//! the first one tells how many are likely to be needed, and a server that changes its mind is followed. A request that a
//! server wants over HTTP/1.1 (HTTP_1_1_REQUIRED) is sent so.
//!
//! # Which servers are used
//!
//! [`Balance`] chooses among those that are well. [`HealthCheck`]s ask each server on the side, [`OutlierEjection`] leaves out
//! those whose answers fail, and a server that is back gets its share [little by little](UpstreamBuilder::slow_start). When
//! none is left a request fails with [`NoServer`](crate::UpstreamErrorKind::NoServer), unless a
//! [threshold](UpstreamBuilder::panic_threshold) says to use all of them then. A request that is
//! [tried again](crate::retry) goes to a server that it was not sent to before.
//!
//! Servers come and go while requests are sent: by hand ([`Upstream::set_server`], [`Upstream::remove_server`]), or as a stream
//! tells of them ([`Upstream::follow`]). A choice takes those that there are, by one load and no lock.
//!
//! A client's error is [`UpstreamError`](crate::UpstreamError); [`ProxyService`](crate::proxy::ProxyService) answers for it.

mod assignment;
mod balance;
mod body;
mod builder;
mod changes;
mod choice;
mod client;
mod condition;
mod connect;
mod ejection;
mod fleet;
mod h1;
mod h2;
mod health;
mod limit;
mod pool;
mod resolve;
mod room;
#[cfg(feature = "tls")]
mod secure;
mod server;
mod sharing;
mod spoken;
mod stream;
mod upgraded;
#[allow(clippy::module_inception)]
mod upstream;
mod watch;

pub use self::assignment::Assignment;
pub use self::balance::{Balance, HashBy, InvalidCookieName, StickyCookie};
pub use self::body::OriginBody;
pub use self::builder::{InvalidUpstream, Protocol, UpstreamBuilder};
pub use self::changes::ServerChange;
pub use self::client::{Client, ClientFuture};
pub use self::ejection::OutlierEjection;
pub use self::health::HealthCheck;
pub use self::server::Server;
pub use self::upstream::Upstream;

/// For the fuzz targets: reads `wire` as an answer that comes in pieces of `step` bytes, and tells what came of it.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_answer(wire: &[u8], step: usize) -> Option<(u16, Vec<u8>, bool)> {
    use bytes::{Buf, BytesMut};

    let (mut rest, mut buffer) = (wire, BytesMut::new());
    let mut more = |buffer: &mut BytesMut| {
        let piece = rest.len().min(step.max(1));
        buffer.extend_from_slice(&rest[..piece]);
        rest.advance(piece);
        piece > 0
    };
    let head = loop {
        if let Some(head) = h1::head::read_head(&mut buffer).ok()? {
            break head;
        }
        if !more(&mut buffer) {
            return None;
        }
    };
    let framing =
        h1::framing::framing(head.version, head.status, &head.headers, crate::known::Known::of(&head.headers), false)
            .ok()?;
    let (mut decoder, mut content) = (crate::h1::decode::Decoder::new(framing), Vec::new());
    loop {
        match decoder.decode(&mut buffer).ok()? {
            Some(frame) => content.extend(frame.into_data().into_iter().flatten()),
            None if decoder.has_ended() || !more(&mut buffer) => break,
            None => {}
        }
    }
    Some((head.status.as_u16(), content, decoder.may_end_with_connection()))
}
