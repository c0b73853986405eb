use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, SET_COOKIE, UPGRADE};
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use tower_service::Service;

use super::Upstream;
use super::body::{Download, Lease, OriginBody, SendBody, send_body};
use super::h1::connection::Connection;
use super::h1::encode::{RequestFraming, write_head};
use super::h1::exchange::Exchange;
use super::h1::head::Head;
use super::h1::upload::Upload;
use super::pool::Pool;
use super::server::Server;
use super::sharing::{Draft, Sharing};
use super::spoken::Spoken;
use super::upgraded::Switched;
use super::watch::{Sent, SentWatch};
use crate::aside::aside;
use crate::classify::Watch;
use crate::proxy::fields::strip_hop_by_hop;
use crate::recycle;
use crate::upgraded::{Upgraded, names_websocket};
use crate::{BoxError, RequestContext, UpstreamError, UpstreamErrorKind};

/// Sends requests to the servers of an [`Upstream`] over connections of its own.
///
/// Only the path and query of a request's target are used: the server is the upstream's choice. `Host` is the server's
/// unless the request has one; its body is framed by the client, whatever the request says of its length. Clones share the
/// connections. Make one client for each tokio runtime.
///
/// An idempotent request without a body whose connection had served another request, and ends without a byte of an answer, is
/// sent once more over a new one: the origin was closing it (RFC 9112 section 9.3.1). That is no retry, and is told to nobody.
///
/// Readiness: always ready; a request that finds every connection in use waits for one, up to the upstream's queue timeout.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upstream: Upstream,
    pub(super) pool: Arc<Pool>,
}

impl Client {
    /// A client with no connections yet.
    pub fn new(upstream: Upstream) -> Self {
        let pool = Pool::new(upstream.0.settings.keep_alive_timeout);
        upstream.register(&pool);
        Self(Arc::new(Shared { upstream, pool }))
    }

    /// Takes over the connections of `old`, the idle ones now and those in use when they become idle, to the servers that
    /// this one's upstream has [adopted](super::UpstreamBuilder::adopt): a reload opens none anew. The others are closed.
    ///
    /// Both must belong to one runtime, and it must be called there.
    #[must_use]
    pub fn adopt(self, old: &Self) -> Self {
        old.0.pool.hand_over(&self.0.pool, &self.upstream().servers());
        self
    }

    /// The servers it sends to.
    pub fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    fn start<B>(&self, request: Request<B>) -> Result<ClientFuture, UpstreamError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let shared = &self.0;
        let (parts, body) = request.into_parts();
        let context = parts.extensions.get::<RequestContext>();
        let server = shared.upstream.choose_for(&parts.headers, context).ok_or(UpstreamErrorKind::NoServer)?;
        let watch = shared.upstream.watches().then(|| shared.watch(&server, &parts.method, context));
        let cookie = shared.upstream.cookie_for(&server, &parts.headers).map(Box::new);
        let in_flight = server.enter(shared.upstream.0.in_flight.as_ref());
        let server = in_flight.server();
        let invalid = || UpstreamError::new(UpstreamErrorKind::Request);
        let path = parts.uri.path_and_query().ok_or_else(invalid)?;
        let path = server.origin().path(path).ok_or_else(invalid)?;
        let host = parts.headers.get(HOST).unwrap_or(server.host());

        let has_ended = body.is_end_stream();
        let may_switch = parts.method == Method::GET && has_ended && parts.headers.contains_key(UPGRADE);
        let framing = if may_switch && names_websocket(&parts.headers) {
            aside();
            RequestFraming::WebSocket
        } else {
            RequestFraming::new(&parts.method, has_ended, body.size_hint().exact())
        };
        let body = send_body(body);
        let answers_head = parts.method == Method::HEAD;
        let resendable = body.is_none() && parts.method.is_idempotent();
        let shares = match server.spoken() {
            Spoken::Http1 => false,
            Spoken::Http2 => true,
            // WebSocket is had over HTTP/1.1 alone, which is what its connection is then opened for.
            Spoken::Agreed => framing != RequestFraming::WebSocket,
        };
        let prepared = if shares {
            aside();
            let (path, host) = (path.into_owned(), host.clone());
            Prepared::Shared(Draft { method: parts.method, path, host, headers: parts.headers, framing }, body)
        } else {
            let write = |upload: &mut Upload| {
                write_head(upload.begin(framing, body), &parts.method, &path, host, &parts.headers, framing);
            };
            let written = match shared.take_idle(server) {
                Some(mut connection) => {
                    write(&mut connection.upload);
                    Prepared::On(connection)
                }
                None => {
                    aside();
                    let mut upload = Upload::default();
                    write(&mut upload);
                    Prepared::Written(upload)
                }
            };
            recycle::give_headers(parts.headers);
            written
        };
        let call = Call {
            answers_head,
            switches: framing == RequestFraming::WebSocket,
            resendable,
            cookie,
            extensions: parts.extensions,
            lease: Lease { shared: shared.clone(), in_flight },
        };
        let state = match prepared {
            Prepared::On(connection) => State::exchange(connection, call),
            Prepared::Written(upload) => State::obtain(upload, call),
            Prepared::Shared(draft, body) => State::share(draft, body, call),
        };
        Ok(ClientFuture { state, watch })
    }
}

impl Shared {
    /// What tells this client's connections from those of others.
    pub(super) fn id(&self) -> usize {
        Arc::as_ptr(&self.pool) as usize
    }

    #[inline(never)]
    fn watch(&self, server: &Arc<Server>, method: &Method, context: Option<&RequestContext>) -> SentWatch {
        let sent = Sent::new(self.upstream.clone(), server.clone());
        Box::new(Watch::new(sent, method, context.cloned()))
    }

    /// An idle connection, unless others wait for one.
    pub(super) fn take_idle(&self, server: &Server) -> Option<Box<Connection>> {
        if server.connections.is_waited_for() { None } else { self.pool.take(server) }
    }

    /// Takes back a connection that can be used again.
    pub(super) fn give_back(&self, server: &Server, connection: Box<Connection>) {
        let limit = &server.connections;
        if !limit.is_waited_for() {
            self.pool.put(server, connection);
        } else {
            self.give_to_others(server, connection);
        }
        // Whoever joins the line looks for idle connections after that; and whoever has joined by now is seen here.
        if limit.is_waited_for()
            && let Some(connection) = self.pool.take(server)
        {
            self.give_to_others(server, connection);
        }
    }

    #[cold]
    fn give_to_others(&self, server: &Server, connection: Box<Connection>) {
        if let Some(connection) = server.connections.give(self.id(), connection) {
            self.pool.put(server, connection);
        }
    }

    /// Somebody else may wait for one of the server's connections of which this client needs none any more.
    pub(super) fn give_room(&self, server: &Server) {
        if server.connections.is_anothers_turn(self.id()) {
            self.pool.shared(server).close_idle();
        }
    }
}

/// The future of [`Client`]. A request that finds an idle connection boxes nothing.
pub struct ClientFuture {
    state: State,
    /// Where somebody wants to know what becomes of it.
    watch: Option<SentWatch>,
}

impl ClientFuture {
    #[inline(never)]
    fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<OriginBody>, UpstreamError>> {
        let mut answer = ready!(self.state.poll(cx));
        if let Some(mut watch) = self.watch.take() {
            match &mut answer {
                Err(error) => watch.failed(error),
                Ok(answer) => {
                    watch.head(answer.status(), answer.headers(), answer.body().is_end_stream());
                    answer.body_mut().watch(watch);
                }
            }
        }
        Poll::Ready(answer)
    }

    #[cold]
    fn failed(error: UpstreamError) -> Self {
        Self { state: State::Failed(Some(error)), watch: None }
    }
}

/// What a call remembers from its request.
pub(super) struct Call {
    pub(super) answers_head: bool,
    /// It asks for another protocol.
    switches: bool,
    /// It may be sent once more when the connection it went out on was closing.
    pub(super) resendable: bool,
    /// What leads the client back to the server.
    pub(super) cookie: Option<Box<HeaderValue>>,
    /// The request's: interim answers go where its context says.
    extensions: Extensions,
    pub(super) lease: Lease,
}

impl Call {
    /// Passes on an interim answer. 100 is between this client and the server alone: the body is sent in any case.
    pub(super) fn pass_on(&self, status: StatusCode, mut headers: HeaderMap) {
        let context = self.extensions.get::<RequestContext>();
        if let Some(sink) = context.and_then(RequestContext::interim_sink)
            && status != StatusCode::CONTINUE
        {
            strip_hop_by_hop(&mut headers);
            // RFC 9110 section 8.6: a 1xx has none.
            headers.remove(CONTENT_LENGTH);
            sink.send(status, &headers);
        }
    }

    /// What has come over an HTTP/1.1 connection.
    #[inline]
    pub(super) fn answered(mut self, exchange: Exchange, head: Head) -> Result<Response<OriginBody>, UpstreamError> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(exchange, head);
        }
        recycle::give_extensions(std::mem::take(&mut self.extensions));
        let download = exchange.into_download(&head)?;
        let Head { status, mut headers, .. } = head;
        stick(&mut headers, self.cookie.take());
        let mut response = Response::new(OriginBody::new(Download::Http1(download), self.lease));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// The answer of an origin that has switched protocols: an error if that was not asked for, or is to another one.
    #[cold]
    fn switch(self, exchange: Exchange, head: Head) -> Result<Response<OriginBody>, UpstreamError> {
        let agreed = self.switches && head.version == Version::HTTP_11 && names_websocket(&head.headers);
        let connection = agreed.then(|| exchange.into_connection());
        let connection = connection.ok_or(UpstreamErrorKind::InvalidResponse)?;
        let mut response = Response::new(OriginBody::empty());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response.extensions_mut().insert(Upgraded::new(Switched::new(connection, self.lease)));
        Ok(response)
    }
}

/// Tells the client by which cookie it comes back.
pub(super) fn stick(headers: &mut HeaderMap, cookie: Option<Box<HeaderValue>>) {
    if let Some(cookie) = cookie {
        aside();
        headers.append(SET_COOKIE, *cookie);
    }
}

/// A request that is written for its server.
enum Prepared {
    /// On a connection that was idle.
    On(Box<Connection>),
    /// For one that is still to be had.
    Written(Upload),
    /// For one that others may use as well.
    Shared(Draft, Option<SendBody>),
}

enum State {
    Obtaining {
        connection: Obtain,
        call: Option<Call>,
    },
    Exchanging(Option<(Exchange, Call)>),
    /// Over a connection that others may use as well.
    Sharing(Box<Sharing>),
    Failed(Option<UpstreamError>),
}

type Obtain = Pin<Box<dyn Future<Output = Result<Box<Connection>, UpstreamError>> + Send>>;

impl State {
    /// Over a connection that holds the request.
    fn exchange(connection: Box<Connection>, call: Call) -> Self {
        Self::Exchanging(Some((Exchange::new(connection, call.answers_head), call)))
    }

    #[inline(never)]
    fn share(draft: Draft, body: Option<SendBody>, call: Call) -> Self {
        Self::Sharing(Box::new(Sharing::new(draft, body, call)))
    }

    #[cold]
    fn obtain(upload: Upload, call: Call) -> Self {
        let (shared, server) = (call.lease.shared.clone(), call.lease.in_flight.server().clone());
        let connection = Box::pin(async move {
            let mut connection = shared.obtain(server).await?;
            connection.upload = upload;
            Ok(connection)
        });
        Self::Obtaining { connection, call: Some(call) }
    }
}

impl Future for ClientFuture {
    type Output = Result<Response<OriginBody>, UpstreamError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // An answer that nobody watches is passed on as it is, and not moved on its way.
        if self.watch.is_none() { self.state.poll(cx) } else { self.poll_watched(cx) }
    }
}

impl State {
    #[inline(never)]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<OriginBody>, UpstreamError>> {
        const DONE: &str = "polled after it had completed";
        loop {
            *self = match self {
                State::Obtaining { connection, call } => {
                    aside();
                    let connection = ready!(connection.as_mut().poll(cx))?;
                    State::exchange(connection, call.take().expect(DONE))
                }
                State::Exchanging(running) => {
                    let (exchange, call) = running.as_mut().expect(DONE);
                    let result =
                        ready!(exchange.poll_head(cx, |interim| call.pass_on(interim.status, interim.headers)));
                    let (exchange, mut call) = running.take().expect(DONE);
                    match result {
                        Ok(head) => return Poll::Ready(call.answered(exchange, head)),
                        Err(failed) => {
                            aside();
                            match failed.unanswered {
                                Some(upload) if call.resendable => {
                                    call.resendable = false;
                                    State::obtain(upload, call)
                                }
                                _ => return Poll::Ready(Err(failed.error)),
                            }
                        }
                    }
                }
                State::Sharing(sharing) => {
                    aside();
                    return sharing.poll(cx);
                }
                State::Failed(error) => return Poll::Ready(Err(error.take().expect(DONE))),
            };
        }
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
        self.start(request).unwrap_or_else(ClientFuture::failed)
    }
}
