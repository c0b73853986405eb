//! What a request may bring: how long a body, of which type.
//!
//! Uploads of pictures, of one megabyte at most:
//!
//! ```
//! use axum::{Router, routing::post};
//! use tower_gateway::limits::{BodyLimitLayer, ContentTypeLayer};
//!
//! # fn main() -> Result<(), tower_gateway::limits::InvalidMediaType> {
//! let app: Router = Router::new()
//!     .route("/pictures", post("thank you"))
//!     .layer(BodyLimitLayer::new(1024 * 1024))
//!     .layer(ContentTypeLayer::new(["image/*"])?);
//! # Ok(())
//! # }
//! ```
//!
//! A body that says it is too long (`Content-Length`) is a 413 (`body_too_large`) before anything is read of it. One that does
//! not say is read up to the limit and then fails with [`RequestBodyError::TooLarge`](crate::body::RequestBodyError); if the
//! service has not answered by then, the answer is the same 413, whatever the service makes of the error.
//!
//! A body of another type is a 415 (`unsupported_media_type`) that names those accepted in `Accept` (RFC 9110 section 12.5.1),
//! and so is one of no type, or of two. Requests without a body pass.
//!
//! Readiness is immediate: ready when the inner service is, and what that has reserved is given back on a refusal. Both ask of
//! the request's body that it is one, and nothing of the answer's; errors are the inner service's, and there is no running
//! state to adopt on a reload.

mod body_limit;
mod content_type;
mod limited;
mod media_type;

pub use self::body_limit::{BodyLimit, BodyLimitFuture, BodyLimitLayer};
pub use self::content_type::{ContentType, ContentTypeLayer};
pub use self::limited::LimitedBody;
pub use self::media_type::{InvalidMediaType, MediaTypes};
/// The future of [`ContentType`].
pub use crate::future::InnerOrOwn as ContentTypeFuture;
