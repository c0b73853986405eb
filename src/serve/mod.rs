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
//!     tower_gateway::serve::shutdown_signal().await?;
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
//! [`Connection`](crate::Connection), and with a [`ServeBody`]. Over HTTP/1.1 upgrades work through `hyper::upgrade::on`, which
//! [`ProxyService`](crate::proxy::ProxyService) does for WebSocket. A tunnel for WebSocket over HTTP/2 (RFC 8441) comes as the
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
//! | answer | when | form |
//! |---|---|---|
//! | 400, 414, 431 | the request is not HTTP/1.1, or its head is too long (over HTTP/2 too) | bare |
//! | 408 | a head that began does not come to its end in time | bare |
//! | 400 | `Content-Length` beside `Transfer-Encoding`, or more than once | problem document |
//! | 413 | `Content-Length` is beyond the limit on bodies | problem document |
//! | 500 | the service failed or panicked | problem document |
//! | 308 | the listener redirects to one with TLS | without a body |
//! | 400 | plain HTTP on a listener with TLS | text |
//!
//! Bare is what hyper says before there is a request that a service could be given, so no layer can change or log it. The
//! 400s among these: a malformed request line, or a version other than HTTP/1.0 and 1.1; control characters, bare carriage
//! returns, folded lines and white space before a colon in the fields, or a field without a name; a `Content-Length` that
//! is not a decimal number or is followed by a different one; a `Transfer-Encoding` that does not end in `chunked`, or
//! stands in HTTP/1.0. A line may end in a bare line feed (RFC 9112 section 2.2), not in a chunked body. What is
//! well formed and still ambiguous, such as the target and the Host, is for the service:
//! [`StrictLayer`](crate::strict::StrictLayer) refuses it.
//!
//! Over HTTP/1.1, after each of them the connection is closed; what the client still sends is read for up to 5 s, so that the answer is
//! not lost to a reset. An error of the service is counted and not told to the client; a service that wants to say more
//! answers with a response. A panic costs its own connection, over HTTP/2 its own stream, and nothing else. Where an HTTP/1.0 answer without a length
//! is cut short, the connection is reset, since a plain close would look like its end.

mod adapter;
mod admission;
mod answer;
mod body;
mod connection;
mod counters;
mod deadlines;
mod entrance;
mod error;
mod framing;
mod handle;
mod http2;
mod interim;
mod listen;
mod listener;
mod opening;
mod preface;
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
