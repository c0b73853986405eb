//! What a cache needs of the service that it stands before.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::BoxError;

/// The inner service of a cache, with all its bounds in one place: what [`Cache`](super::Cache) and its future ask for is
/// one of these.
pub(super) trait Origin<B>:
    Service<Request<B>, Response = Response<Self::Content>, Future: Send + 'static, Error: Send> + Clone + Send + 'static
{
    /// The body of its answers.
    type Content: Body<Data: From<Bytes>, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B, R> Origin<B> for S
where
    S: Service<Request<B>, Response = Response<R>, Future: Send + 'static, Error: Send> + Clone + Send + 'static,
    R: Body<Data: From<Bytes>, Error: Into<BoxError>> + Send + 'static,
{
    type Content = R;
}
