//! What becomes of a request that an open breaker does not let pass.

use std::future::{Future, Pending};

use http::{Request, Response};
use tower_service::Service;

use crate::Oneshot;
use crate::body::ResponseBody;

/// Who answers for an origin that is left alone: [`Refuse`], or [`Serve`].
pub trait Fallback<B, R, E>: Clone {
    /// The answer to come.
    type Future: Future<Output = Result<Response<ResponseBody<R>>, E>>;

    /// The answer, or the request back when it is to be refused.
    #[allow(clippy::result_large_err, reason = "it is no error, and boxing it would cost what refusing is to save")]
    fn answer(&mut self, request: Request<B>) -> Result<Self::Future, Request<B>>;
}

/// A 503 that says when to come back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refuse;

impl<B, R, E> Fallback<B, R, E> for Refuse {
    type Future = Pending<Result<Response<ResponseBody<R>>, E>>;

    #[allow(clippy::result_large_err)]
    fn answer(&mut self, request: Request<B>) -> Result<Self::Future, Request<B>> {
        Err(request)
    }
}

/// Another service, with answers of its own or of the inner service's kind.
#[derive(Clone, Copy, Debug)]
pub struct Serve<F>(pub(super) F);

impl<F, B, R, E> Fallback<B, R, E> for Serve<F>
where
    F: Service<Request<B>, Response = Response<ResponseBody<R>>, Error = E> + Clone,
{
    type Future = Oneshot<F, Request<B>>;

    #[allow(clippy::result_large_err)]
    fn answer(&mut self, request: Request<B>) -> Result<Self::Future, Request<B>> {
        Ok(Oneshot::start(&mut self.0, request))
    }
}
