use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, StatusCode};
use tower_service::Service;

use super::ServeBody;
use super::settings::Settings;
use crate::{Connection, InterimSink, Oneshot, Reason, Rejection, RequestContext, recycle};

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
    /// Puts all that is known of a request into its context.
    pub(super) fn introduce(&self, extensions: &mut Extensions, interim: Option<InterimSink>) {
        let connection = self.connection.clone();
        match extensions.is_empty() {
            true => *extensions = recycle::received(connection, interim),
            false => drop(extensions.insert(RequestContext::of_received(connection, interim))),
        }
    }

    /// Hands a request to the service.
    ///
    /// Kept out of line, as [`poll`] is: a service that is inlined once is inlined deeper than one that is inlined into each
    /// version of HTTP.
    #[inline(never)]
    pub(super) fn call(&mut self, request: Request<ServeBody>) -> Oneshot<S, Request<ServeBody>> {
        Oneshot::start(&mut self.service, request)
    }
}

/// Polls a service's future.
#[inline(never)]
pub(super) fn poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(cx)
}

/// Does what may call a service, an answer's body or a destructor of theirs.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// What a client is told of an error or a panic: nothing of our inside.
pub(super) fn internal_error() -> Rejection {
    Rejection::new("serve", Reason::Other("internal_error")).status(StatusCode::INTERNAL_SERVER_ERROR)
}
