//! Requests that can be read in one way only.
//!
//! A request that two programs read differently is how rules are passed by: the one that checks sees another path,
//! another host or another end of the message than the one that answers. [`StrictLayer`] refuses what is ambiguous and
//! gives the rest one form, so that everything behind it, your routes included, decides on what is then used:
//!
//! ```
//! use axum::{Router, routing::get};
//! use http::Request;
//! use tower::{Layer, ServiceExt};
//! use tower_gateway::strict::StrictLayer;
//!
//! # tokio_test::block_on(async {
//! let app = Router::new().route("/admin", get("for the admins"));
//! // Around the router, not `Router::layer`: it has to come before the path is matched.
//! let app = StrictLayer::new().layer(app);
//!
//! let request = |path: &str| Request::get(path).header("host", "a").body(axum::body::Body::empty()).unwrap();
//! assert_eq!(app.clone().oneshot(request("/x/%2e./%61dmin")).await.unwrap().status(), 200);
//! assert_eq!(app.oneshot(request("/x/..;/admin")).await.unwrap().status(), 400);
//! # });
//! ```
//!
//! # What is refused
//!
//! With a 400 where nothing else is said, and always with a problem document:
//!
//! - **Framing** (RFC 9112 section 6): any `Transfer-Encoding` but one plain `chunked` of HTTP/1.1 (501 where the coding is
//!   unknown), one beside a `Content-Length`, more than one `Content-Length`, or one that is not a decimal number.
//! - **Host** (RFC 9112 section 3.2): missing from HTTP/1.1, repeated, empty, with user information, a bad port, or bytes
//!   that no host has. An absolute target has a host of the same form and the scheme `http` or `https`. In HTTP/2 the Host
//!   and the `:authority` must not differ.
//! - **Methods**: `CONNECT` and `TRACE`, with a 501; other methods pass, known or not. The target `*` with another method
//!   than `OPTIONS`, a bare authority with any.
//! - **Path**: malformed percent-encodings, control characters, backslashes and overlong UTF-8, plain or encoded; bytes
//!   beyond ASCII; dot segments that climb above the root; dots or nothing before path parameters (`/..;x/`, `/;x/`); dots
//!   beside an encoded slash (`/..%2F`). And `%2F` itself, unless [kept](StrictLayer::encoded_slashes).
//!
//! After a refusal of framing or Host, and of `CONNECT`, an HTTP/1 connection is closed: what follows on it may be the
//! second half of a request in somebody else's eyes.
//!
//! # What is changed
//!
//! - The path is given its normal form (RFC 3986 section 6.2.2): unreserved characters are decoded (`%61` is `a`), the
//!   digits of other encodings are upper case, dot segments are resolved, and slashes in a row are one. `%25` is never
//!   decoded, a kept `%2F` neither. The query is not touched.
//! - Host is replaced by the authority of an absolute target (RFC 9112 section 3.2.2).
//!
//! A request in that form already, as nearly all are, costs one look at its path and its Host, and no allocation.
//!
//! # What is not its work
//!
//! How long a target or a head may be is the server's to say (414 and 431), and so is what a parser refuses before there is
//! a request: control characters in fields, folded lines, space before a colon. hyper also repairs what no layer can see
//! any more: a `Content-Length` beside `Transfer-Encoding` is dropped, equal ones become one. This crate's `Server`
//! refuses both; on another server they arrive here as a message with one framing.
//!
//! # Readiness, errors, state
//!
//! Immediate: ready when the inner service is, and what that has reserved is given back on a refusal. Nothing is asked of
//! bodies, the error is the inner service's, and there is no running state to adopt on a reload. A
//! [dry run](StrictLayer::dry_run) refuses nothing and changes nothing.

mod framing;
mod host;
mod layer;
mod path;
mod refusal;
mod service;
mod target;

pub use self::layer::StrictLayer;
pub use self::service::Strict;
/// The future of [`Strict`].
pub use crate::future::InnerOrOwn as StrictFuture;

/// The form that [`StrictLayer`] gives `path`, or `None` where it refuses it. A route whose own path has another form is
/// never matched.
///
/// ```
/// use tower_gateway::strict::normal_path;
///
/// assert_eq!(normal_path("/a/%2e./%62//c").as_deref(), Some("/b/c"));
/// assert_eq!(normal_path("/../etc"), None);
/// ```
pub fn normal_path(path: &str) -> Option<std::borrow::Cow<'_, str>> {
    path::normalise(path).ok()
}

/// What becomes of `%2F` in a path: a slash to some, part of a name to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodedSlashes {
    /// It is a 400.
    #[default]
    Refuse,
    /// It is matched and forwarded as it is, and never decoded.
    Keep,
}
