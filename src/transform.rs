//! What is changed of requests and answers on their way: header fields, from [`Template`]s.
//!
//! Tell the origin who is asking, and nobody what the origin runs on:
//!
//! ```
//! use axum::{Router, routing::get};
//! use http::HeaderName;
//! use tower_gateway::transform::{HeaderRules, TransformLayer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let user = HeaderName::from_static("x-user-id");
//! let layer = TransformLayer::new()
//!     .request(HeaderRules::new().remove([user.clone()]).set(user, "{subject}".parse()?))
//!     .response(
//!         HeaderRules::new()
//!             .remove([http::header::SERVER, HeaderName::from_static("x-powered-by")])
//!             .set(http::header::X_FRAME_OPTIONS, "DENY".parse()?),
//!     )
//!     .response_time(true);
//!
//! let app: Router = Router::new().route("/", get("hello")).layer(layer);
//! # Ok(())
//! # }
//! ```
//!
//! - Removals come before sets, and a removed name is removed in every spelling that somebody may take for the same
//!   (`X_User_Id` with `X-User-Id`).
//! - A field that is set replaces all lines of its name. One whose template comes out empty is removed.
//! - What no field can carry, such as a line break, is refused and never cut to fit: a request is answered with a 400
//!   (`bad_request`), and an answer goes without the field.
//! - What is set for the origin gets there, though the client may name it in `Connection`.
//!
//! A layer around others sees the answers that they make by themselves, so an outer one for answers and an inner one for
//! requests, behind whoever finds out the identity, are two layers.
//!
//! Readiness is immediate. Nothing is asked of bodies, errors are the inner service's, and there is no running state to adopt
//! on a reload. A layer without rules costs a request one look at its settings.

mod headers;
mod layer;
mod service;
mod template;

pub use self::headers::HeaderRules;
pub use self::layer::TransformLayer;
pub use self::service::{Transform, TransformFuture};
pub use self::template::{NotAHeaderValue, Template, TemplateError, TemplateFault};
