use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::Upstream;
use super::body::{Lease, OriginBody, SendBody, send_body};
use super::connect::Connection;
use super::pool::Pool;
use super::server::Server;
use crate::{BoxError, RequestContext, UpstreamError, UpstreamErrorKind};

/// Sends requests to the servers of an [`Upstream`] over connections of its own.
///
/// Only the path and query of a request's target are used: the server is the upstream's choice. `Host` is the server's
/// unless the request has one. Clones share the connections. Make one client for each tokio runtime.
///
/// Readiness: always ready; a request that finds every connection in use waits for one, up to the upstream's queue timeout.
#[derive(Clone, Debug)]
pub struct Client {
    upstream: Upstream,
    pool: Arc<Pool>,
}

impl Client {
    /// A client with no connections yet.
    pub fn new(upstream: Upstream) -> Self {
        let pool = Pool::new(upstream.servers().len(), upstream.0.settings.keep_alive_timeout);
        upstream.register(&pool);
        Self { upstream, pool }
    }

    /// The servers it sends to.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    async fn exchange(self, mut request: Request<SendBody>) -> Result<Response<OriginBody>, UpstreamError> {
        let index = self.upstream.choose();
        let server = &self.upstream.servers()[index];
        let in_flight = server.enter();
        if let Some(context) = request.extensions().get::<RequestContext>() {
            context.record_try(server.name().clone());
        }
        address(&mut request, server)?;
        loop {
            let mut connection = self.connection(index, server).await?;
            let reused = connection.was_used();
            match connection.send(request).await {
                Ok(response) => {
                    let (pool, server) = (self.pool.clone(), server.clone());
                    let lease = Lease { connection, pool, server, index, in_flight };
                    return Ok(response.map(|body| OriginBody::new(body, lease)));
                }
                Err(failed) => match failed.unsent {
                    // It closed while it was idle, and not a byte was sent: the next one is as good as the first.
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(failed.error),
                },
            }
        }
    }

    /// A connection that is open and free.
    async fn connection(&self, index: usize, server: &Arc<Server>) -> Result<Connection, UpstreamError> {
        let settings = &self.upstream.0.settings;
        if let Some(connection) = self.idle(index).await {
            return Ok(connection);
        }
        let open = |permit| Connection::open(server, permit, settings.connect_timeout, settings.dns_refresh);
        if let Ok(permit) = server.connections.clone().try_acquire_owned() {
            return open(permit).await;
        }
        let waited = tokio::time::timeout(settings.queue_timeout, self.wait(index, server)).await;
        match waited.map_err(|_| UpstreamError::new(UpstreamErrorKind::Overloaded))? {
            Found::Idle(connection) => Ok(connection),
            Found::Permit(permit) => open(permit).await,
        }
    }

    async fn idle(&self, index: usize) -> Option<Connection> {
        while let Some(mut connection) = self.pool.take(index) {
            if connection.ready().await {
                return Some(connection);
            }
        }
        None
    }

    /// Waits for a connection of this client, or for leave to open one.
    async fn wait(&self, index: usize, server: &Arc<Server>) -> Found {
        let here = self.pool.wait(index);
        let _anywhere = AnywhereWaiting::new(server);
        // Another client may hold one that it does not need.
        self.upstream.close_an_idle_connection(index);
        loop {
            if let Some(connection) = self.idle(index).await {
                return Found::Idle(connection);
            }
            tokio::select! {
                () = here.returned() => {}
                permit = server.connections.clone().acquire_owned() => {
                    if let Ok(permit) = permit {
                        return Found::Permit(permit);
                    }
                }
            }
        }
    }
}

enum Found {
    Idle(Connection),
    Permit(tokio::sync::OwnedSemaphorePermit),
}

/// Counts a waiting request, so that clients elsewhere give up the connections they do not need.
struct AnywhereWaiting<'a>(&'a Server);

impl<'a> AnywhereWaiting<'a> {
    fn new(server: &'a Server) -> Self {
        server.waiting.fetch_add(1, Ordering::AcqRel);
        Self(server)
    }
}

impl Drop for AnywhereWaiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Turns the target into the server's own, in origin form (RFC 9112 section 3.2.1).
fn address(request: &mut Request<SendBody>, server: &Server) -> Result<(), UpstreamError> {
    let invalid = || UpstreamError::new(UpstreamErrorKind::Request);
    let path = request.uri().path_and_query().ok_or_else(invalid)?;
    *request.uri_mut() = server.origin().path(path).ok_or_else(invalid)?.into();
    if !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, server.host().clone());
    }
    Ok(())
}

/// The future of [`Client`]: boxed, since that of hyper's connection has no name.
pub struct ClientFuture(Pin<Box<dyn Future<Output = Result<Response<OriginBody>, UpstreamError>> + Send>>);

impl Future for ClientFuture {
    type Output = Result<Response<OriginBody>, UpstreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ClientFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Client
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<OriginBody>;
    type Error = UpstreamError;
    type Future = ClientFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ClientFuture {
        ClientFuture(Box::pin(self.clone().exchange(request.map(send_body))))
    }
}
