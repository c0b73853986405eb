//! A server for any tower service: listeners, connections, their timeouts and limits, and a drain.
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower_gateway::serve::{ServeBody, Server};
//!
//! async fn hello(_: Request<ServeBody>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("hello\n")))
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::bind(["127.0.0.1:0".parse()?])?
//!         .workers(2)
//!         .header_read_timeout(Duration::from_secs(5))
//!         .max_body_bytes(1 << 20)
//!         .start(|_worker| tower::service_fn(hello))?;
//!     println!("listening on {}", server.local_addrs()[0]);
//!
//!     # if false {
//!     tower_gateway::serve::shutdown_signal()?.await;
//!     # }
//!     let drained = server.drain(Duration::from_secs(30)).await;
//!     println!("{} connections were cut", drained.aborted);
//!     Ok(())
//! }
//! ```
//!
//! An axum `Router` is such a service too: `.start(move |_| router.clone())`.
//!
//! # Threads
//!
//! Each worker is a thread with a runtime of its own (tokio's `current_thread`) and its own socket for each address
//! (`SO_REUSEPORT`, over which Linux spreads connections; elsewhere the workers share one socket). A connection stays on
//! the worker that accepted it, and nothing on a request's way crosses threads. A service that blocks its thread blocks
//! all connections of that worker.
//!
//! # Listeners
//!
//! [`Server::bind`] takes addresses for plain HTTP; [`Server::listen`] takes [`Listener`]s, each of which may speak TLS,
//! stand behind proxies that speak the PROXY protocol, or redirect to another. All of them share the limits and drain
//! together. What comes before HTTP, a header and a handshake, has the time of the first head, counts among the
//! connections, and costs a failed client nothing more than its alert.
//!
//! # What a service sees
//!
//! HTTP/1.1 and HTTP/2 requests, each with a [`RequestContext`](crate::RequestContext) in its extensions that holds the
//! [`Connection`](crate::Connection), and with a [`ServeBody`]. Over HTTP/1.1 upgrades work through `hyper::upgrade::on`, as with
//! any server built on hyper; [`ProxyService`](crate::proxy::ProxyService) does so for WebSocket. A tunnel for WebSocket over HTTP/2 (RFC 8441) comes as the
//! GET with `Upgrade` that it is over HTTP/1.1, and `ProxyService` answers it as such; other tunnels are a 501. What has been
//! upgraded keeps its place in the limits, has no more timeouts, and is waited for by a drain, no longer than its grace.
//!
//! Interim answers (102, 103) go out through the [`InterimSink`](crate::InterimSink) in a request's context, but for HTTP/1.0.
//!
//! # HTTP/2
//!
//! Over TLS the handshake settles which HTTP is spoken (ALPN, RFC 7301). A plain connection that begins as HTTP/2 does (prior
//! knowledge, RFC 9113 section 3.3) is served so; its first bytes have the same time as a request's head. The timeouts and
//! limits are those of HTTP/1.1, by request where that makes sense: a body that stops or drips, and an answer that its client
//! gives no room for, cost their stream and no other. An idle connection is told (GOAWAY) and closed; a drain tells every
//! connection, and what has begun is finished.
//!
//! A malformed request (RFC 9113 section 8.1.1) is a stream error, `PROTOCOL_ERROR`: pseudo-header fields that are unknown,
//! repeated, missing or out of place, names in upper case, fields of the connection, `TE` with more than `trailers`, control
//! characters, white space around a value, a path without its slash, DATA that `Content-Length` belies. Cookies that came in
//! pieces are joined. A client that resets what it asked for, or sends frames without use, without end, or sections that
//! unpack to four times what a head may be, loses its connection (`ENHANCE_YOUR_CALM`).
//!
//! # What the server answers by itself
//!
//! | answer | when |
//! |---|---|
//! | 400 | the request is not HTTP/1.1, or it cannot be told in one way where it ends |
//! | 408 | a head that began does not come to its end in time |
//! | 413 | `Content-Length` is beyond the limit on bodies |
//! | 414, 431 | the target or the head is too long, or has too many fields (431 over HTTP/2 too) |
//! | 500 | the service failed or panicked, or its answer is an interim one |
//! | 308 | the listener redirects to one with TLS |
//! | 400 | plain HTTP on a listener with TLS |
//!
//! All but the last two are problem documents (RFC 9457). No layer sees them: there is no request that a service could be
//! given, or none whose answer could be trusted. `Server::refusal_ids` (feature `request-id`) gives them ids all the same. The 400s: a malformed request line, or a version other than HTTP/1.0 and
//! 1.1; control characters, bare carriage returns, folded lines and white space before a colon in the fields, or a field
//! without a name; a `Content-Length` that is not one decimal number, stands in more than one line or beside a
//! `Transfer-Encoding`; a `Transfer-Encoding` that does not end in `chunked`, or stands in HTTP/1.0; a target with a fragment; a
//! line that ends in a lone line feed, which RFC 9112 section 2.2 lets a server take for the end of one. What is well formed and still ambiguous, such as the target and
//! the Host, is for the service: [`StrictLayer`](crate::strict::StrictLayer) refuses it.
//!
//! Over HTTP/1.1, after each of them the connection is closed; what the client still sends is read for up to 5 s, so that the answer is
//! not lost to a reset. An error of the service is counted and not told to the client; a service that wants to say more
//! answers with a response. A panic costs its own connection, over HTTP/2 its own stream, and nothing else. Where an HTTP/1.0 answer without a length
//! is cut short, the connection is reset, since a plain close would look like its end.

mod admission;
mod app;
mod body;
mod counters;
mod deadlines;
mod entrance;
mod error;
mod handle;
mod http1;
mod http2;
mod listen;
mod listener;
mod opening;
mod proxy_protocol;
mod redirect;
mod seat;
mod server;
mod settings;
mod shutdown;
mod signals;
mod socket;
mod swap;
mod thread;
mod timer;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod worker;

pub use self::body::ServeBody;
pub use self::counters::ServeStats;
pub use self::error::{ServeBodyError, ServeError};
pub use self::handle::{Drained, ServerHandle};
pub use self::listener::{Listener, ProxyProtocol};
pub use self::redirect::RedirectToHttps;
pub use self::server::Server;
pub use self::shutdown::shutdown_signal;
pub use self::swap::Swap;

/// For the fuzz targets: reads `wire` as requests that come in pieces of `step` bytes, and tells what each was.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_requests(wire: &[u8], step: usize) -> Vec<(String, String, usize, Vec<u8>)> {
    http1::fuzz_requests(wire, step)
}
