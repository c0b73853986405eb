//! [`Identity`] as an argument of axum's handlers.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::Response;
use http::request::Parts;

use crate::{Identity, Reason, Rejection, RequestContext};

/// Who asks. A handler that takes one answers an anonymous request with a 401; one that takes an `Option` of it is told that
/// there is none.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_gateway::Identity;
/// # use tower_gateway::auth::{ApiKeys, AuthLayer, MemoryKeyStore};
///
/// async fn me(identity: Identity) -> String {
///     identity.subject().unwrap_or("somebody").to_owned()
/// }
///
/// # let layer = AuthLayer::new(ApiKeys::new(MemoryKeyStore::default()));
/// let app: Router = Router::new().route("/me", get(me)).layer(layer);
/// ```
impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Response<axum::body::Body>;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let context = parts.extensions.get::<RequestContext>();
        let identity = context.and_then(RequestContext::identity).cloned();
        identity.ok_or_else(|| {
            Rejection::new("handler", Reason::Unauthenticated).response(context).map(axum::body::Body::from)
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<RequestContext>().and_then(RequestContext::identity).cloned())
    }
}
