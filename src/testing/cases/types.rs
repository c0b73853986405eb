//! What a layer's types owe, checked by the compiler.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::Ready;
use std::marker::{PhantomData, PhantomPinned};
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::testing::TestBody;

/// A service of types only: it takes a request of any body, and would answer with an `R`.
pub struct Inner<R>(PhantomData<fn() -> R>);

impl<R> Clone for Inner<R> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<R> fmt::Debug for Inner<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inner")
    }
}

impl<R, B> Service<Request<B>> for Inner<R> {
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Ready<Result<Response<R>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

/// `Send` and nothing else at all: not even a body.
pub struct Opaque {
    _unsync: PhantomData<Cell<()>>,
    _pinned: PhantomPinned,
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque")
    }
}

/// Compiles for a layer that is `Clone`, `Send` and `Sync`, makes services that are so too, with futures that are
/// `Send`, and leaves the inner service's error type alone: `Infallible` stays `Infallible`.
///
/// ```
/// use tower_gateway::testing::contract::assert_contract;
///
/// assert_contract(&tower_http::request_id::PropagateRequestIdLayer::x_request_id());
/// ```
///
/// A layer that brings errors of its own does not compile:
///
/// ```compile_fail,E0271
/// use tower_gateway::testing::contract::assert_contract;
///
/// assert_contract(&tower::timeout::TimeoutLayer::new(std::time::Duration::from_secs(1)));
/// ```
pub fn assert_contract<L>(_: &L)
where
    L: Layer<Inner<TestBody>> + Clone + Send + Sync + 'static,
    L::Service: Service<Request<TestBody>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
}

/// Compiles for a layer that asks nothing of the bodies that pass it, in either direction: what a layer owes that does
/// not touch them.
///
/// A layer that does, such as tower-http's body limit, does not compile:
///
/// ```compile_fail,E0277
/// use tower_gateway::testing::contract::assert_transparent;
///
/// assert_transparent(&tower_http::limit::RequestBodyLimitLayer::new(1024));
/// ```
///
/// ```
/// use tower_gateway::testing::contract::assert_contract;
///
/// assert_contract(&tower_http::limit::RequestBodyLimitLayer::new(1024));
/// ```
pub fn assert_transparent<L>(_: &L)
where
    L: Layer<Inner<Opaque>> + Clone + Send + Sync + 'static,
    L::Service: Service<Request<Opaque>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
}
