use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, StatusCode};
use http_body::{Body, Frame};
use tower_service::Service;

use super::ServeBody;
use super::settings::Settings;
use crate::{Connection, InterimSink, Oneshot, Reason, Rejection, RequestContext};

/// What requests of a connection are served with.
pub(super) struct App<S> {
    pub(super) service: S,
    pub(super) connection: Connection,
    pub(super) settings: Arc<Settings>,
}

/// The service panicked. What that left half done is dropped with the connection, or the stream.
pub(super) struct Panicked;

impl<S> App<S>
where
    S: Service<Request<ServeBody>> + Clone,
{
    /// Hands a request to the service, with all that is known of it.
    ///
    /// Kept out of line, as [`poll`] is: a service that is inlined once is inlined deeper than one that is inlined into each
    /// version of HTTP.
    #[inline(never)]
    pub(super) fn call(
        &mut self,
        mut request: Request<ServeBody>,
        interim: Option<InterimSink>,
    ) -> Result<Oneshot<S, Request<ServeBody>>, Panicked> {
        request.extensions_mut().insert(RequestContext::of_received(self.connection.clone(), interim));
        let call = || Oneshot::start(&mut self.service, request);
        catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)
    }
}

/// Polls a service's future.
#[inline(never)]
pub(super) fn poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Panicked>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    }
}

/// What a client is told of an error or a panic: nothing of our inside.
pub(super) fn internal_error() -> Rejection {
    Rejection::new("serve", Reason::Other("internal_error")).status(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a body gives when it is polled.
type Polled<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

/// Polls the body of an answer.
pub(super) fn poll_frame<B: Body>(body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Result<Polled<B>, Panicked>> {
    match catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    }
}
