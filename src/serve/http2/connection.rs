use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, Handshake, SendResponse};
use h2::{Ping, PingPong, Reason as H2Reason, RecvStream};
use http::{Method, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;
use tower_service::Service;

use super::deadlines::{Deadlines, Overdue, Seen};
use super::exchange::{Exchange, sink};
use super::flood::Flood;
use super::request::{Refusal, Tunnel, check, expects_continue, tunnel};
use super::shared::Shared;
use super::socket::FrameSocket;
use super::stream::{Line, Stream, Watch};
use super::upload::Upload;
use crate::known::Known;
use crate::rejection::grpc;
use crate::serve::ServeBody;
use crate::serve::app::{App, Panicked, guarded};
use crate::serve::signals::Signals;
use crate::serve::socket::Socket;
use crate::serve::timer::LazyTimer;
use crate::upgraded::Switching;
use crate::{BoxError, Oneshot, Reason, Rejection};

/// What a client may send of one body before the service has taken any of it.
const STREAM_WINDOW: u32 = 256 << 10;
/// And of all bodies of a connection together.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What of one answer waits for a socket that is full.
const SEND_BUFFER: usize = 64 << 10;

/// How many streams this side may have to reset for a client's errors before that is an attack.
const MAX_ERRORS: usize = 100;

/// So many requests a client may give up unanswered for nothing; beyond that, no more than it lets be answered. Those that are
/// reset before they were even begun are h2's to count (CVE-2023-44487).
const MAX_GIVEN_UP: u64 = 100;

pin_project! {
    /// One HTTP/2 connection: takes requests in, keeps its deadlines, closes it.
    pub(in crate::serve) struct Http2<S> {
        stage: Stage,
        app: App<S>,
        keeper: Keeper,
        #[pin]
        timer: LazyTimer,
        #[pin]
        drain: OwnedNotified,
    }
}

enum Stage {
    Handshake(Handshake<FrameSocket, Bytes>),
    Serving(h2::server::Connection<FrameSocket, Bytes>),
}

/// What a connection remembers beside its protocol.
struct Keeper {
    signals: Arc<Signals>,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    flood: Flood,
    pings: Option<PingPong>,
    requests: u64,
    /// A request has begun since the last look.
    began: bool,
    is_known: bool,
    /// The client was told that there will be no more requests.
    is_finishing: bool,
    is_failing: bool,
    /// What says that the server waits no longer, from the time that it waits.
    cut: Option<Pin<Box<OwnedNotified>>>,
}

/// What is to be done after the protocol has gone as far as it could.
enum Next {
    Wait(Option<Instant>),
    Finish,
    /// Say why, and end it.
    Fail(H2Reason),
    Ping,
    Close,
    Reset,
}

impl<S> Http2<S> {
    /// Over a socket that has read nothing, or holds what it has read.
    pub(in crate::serve) fn new(
        socket: Socket,
        app: App<S>,
        signals: Arc<Signals>,
        drain: OwnedNotified,
        accepted: Instant,
    ) -> Self {
        let settings = &app.settings;
        let shared = Arc::new(Shared::default());
        let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let handshake = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(size(settings.max_header_bytes))
            .max_send_buffer_size(SEND_BUFFER)
            .max_local_error_reset_streams(Some(MAX_ERRORS))
            .enable_connect_protocol()
            .handshake(FrameSocket::new(socket, shared.clone()));
        let keeper = Keeper {
            signals,
            shared,
            deadlines: Deadlines::new(settings.timeouts, settings.pings, accepted),
            flood: Flood::new(accepted),
            pings: None,
            requests: 0,
            began: false,
            is_known: false,
            is_finishing: false,
            is_failing: false,
            cut: None,
        };
        let timer = LazyTimer::new(accepted);
        Self { stage: Stage::Handshake(handshake), app, keeper, timer, drain }
    }
}

impl<S, B> Future for Http2<S>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        this.keeper.shared.register(cx.waker());
        if !this.keeper.is_known {
            this.keeper.is_known = true;
            // Polled once, it stays registered with this task; what it says is read elsewhere.
            let _ = this.drain.poll(cx);
        }
        let mut time_is_up = this.timer.as_mut().went_off();
        loop {
            if drive(this.stage, this.app, this.keeper, cx).is_ready() {
                return Poll::Ready(());
            }
            match this.keeper.next(time_is_up) {
                Next::Wait(None) => return Poll::Pending,
                Next::Wait(Some(deadline)) if this.timer.as_mut().cover(deadline, cx) => return Poll::Pending,
                Next::Wait(Some(_)) => time_is_up = true,
                Next::Ping => this.keeper.ping(),
                Next::Finish => match this.stage {
                    Stage::Serving(connection) => connection.graceful_shutdown(),
                    Stage::Handshake(_) => return Poll::Ready(()),
                },
                Next::Fail(reason) => match this.stage {
                    Stage::Serving(connection) => connection.abrupt_shutdown(reason),
                    Stage::Handshake(_) => return Poll::Ready(()),
                },
                Next::Reset => {
                    this.keeper.signals.reset_when_closed();
                    return Poll::Ready(());
                }
                Next::Close => return Poll::Ready(()),
            }
        }
    }
}

/// Ready when the connection has ended.
fn drive<S, B>(stage: &mut Stage, app: &mut App<S>, keeper: &mut Keeper, cx: &mut Context<'_>) -> Poll<()>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    loop {
        match stage {
            Stage::Handshake(handshake) => match Pin::new(handshake).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(mut connection)) => {
                    keeper.pings = connection.ping_pong();
                    *stage = Stage::Serving(connection);
                }
            },
            Stage::Serving(connection) => match connection.poll_accept(cx) {
                Poll::Pending => {
                    keeper.hear(cx);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok((request, reply)))) => app.begin(request, reply, keeper),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
            },
        }
    }
}

impl<S, B> App<S>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Into<BoxError>,
{
    /// Hands a request to the service, on a task of its own.
    fn begin(&mut self, mut request: Request<RecvStream>, mut reply: SendResponse<Bytes>, keeper: &mut Keeper) {
        keeper.requests += 1;
        keeper.began = true;
        let known = Known::of(request.headers());
        let length = match check(&mut request, known, &self.settings) {
            Ok(length) => Ok(length),
            Err(Refusal::Malformed) => return reply.send_reset(H2Reason::PROTOCOL_ERROR),
            Err(Refusal::Answer(rejection)) => Err(rejection),
        };
        let tunnel = tunnel(&mut request);
        let length = match tunnel {
            Tunnel::Unknown => length.and(Err(Rejection::new("serve", Reason::NotImplemented))),
            _ => length,
        };
        let (exchange, counters) = (Arc::new(Exchange::default()), keeper.signals.shared_counters());
        let is_head = request.method() == Method::HEAD;
        let is_grpc = grpc::is_call(request.method(), request.headers());
        let mut line = Line {
            switch: None,
            is_grpc,
            lasts: false,
            reply,
            open: keeper.shared.enter(),
            exchange,
            counters,
            is_head,
        };
        let length = match length {
            Ok(length) => length,
            Err(rejection) => {
                let answer = self.settings.refusal(&rejection, is_grpc);
                tokio::spawn(Stream::<Oneshot<S, Request<ServeBody>>, B>::refused(line, answer));
                return;
            }
        };

        let waits = (known.any(Known::EXPECT) && expects_continue(request.headers())).then(|| line.exchange.clone());
        let mut watch = None;
        let (mut parts, incoming) = request.into_parts();
        let has_ended = incoming.is_end_stream();
        let body = if tunnel == Tunnel::WebSocket {
            // What the client sends is for the other end.
            let (switching, opened) = Switching::new();
            parts.extensions.insert(switching);
            parts.extensions.insert(keeper.signals.counters().drain.watch());
            line.switch = Some((incoming, opened));
            ServeBody::none()
        } else if has_ended {
            ServeBody::none()
        } else {
            let signals = Arc::new(Signals::new(line.counters.clone()));
            watch = Some(signals.clone());
            ServeBody::of_http2(Upload::new(incoming, length, waits), self.settings.max_body_bytes, signals)
        };
        let watch = Watch::new(watch, self.settings.timeouts);
        let mut request = Request::from_parts(parts, body);
        self.introduce(request.extensions_mut(), Some(sink(&line.exchange)));
        let stream = match guarded(|| self.call(request)) {
            Ok(future) => Stream::called(line, watch, future),
            Err(Panicked) => Stream::panicked(line),
        };
        tokio::spawn(stream);
    }
}

impl Keeper {
    /// Takes note of what came in answer to a ping, so that another may be sent; and is woken when the server waits no longer.
    fn hear(&mut self, cx: &mut Context<'_>) {
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            self.cut = None;
        }
        if let Some(pings) = &mut self.pings {
            let _ = pings.poll_pong(cx);
        }
    }

    fn ping(&mut self) {
        let sent = self.pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok());
        // One that cannot be sent will not be answered, and comes to the same.
        let _ = sent;
        self.deadlines.pinged(Instant::now());
    }

    fn next(&mut self, time_is_up: bool) -> Next {
        let mut reading = None;
        let mut now = || *reading.get_or_insert_with(Instant::now);
        let (socket, shared) = (self.signals.look(), &self.shared);
        let seen = Seen {
            open: shared.open(),
            began: std::mem::take(&mut self.began),
            is_within: shared.is_within(),
            write_blocked: socket.write_blocked,
            wrote: socket.wrote,
            reads: shared.reads(),
            has_ended: shared.has_ended(),
        };
        let (useful, idle) = shared.take_frames();
        let floods = !self.flood.admit(useful, idle, &mut now);
        let gives_up = shared.given_up() > MAX_GIVEN_UP.max(self.requests / 2);
        if (floods || gives_up) && !self.is_failing {
            return self.fail(H2Reason::ENHANCE_YOUR_CALM);
        }
        let drain = &self.signals.counters().drain;
        if !self.is_finishing && drain.is_draining() {
            if seen.open > 0 {
                self.signals.report_to_drain();
            }
            self.cut = Some(Box::pin(drain.cut.clone().notified_owned()));
            return self.finish();
        }
        // What is not whole is never taken for it: answers that have begun are reset, and then the rest fails at once.
        if drain.is_aborting() && !self.is_failing && !self.shared.cut() && seen.open > 0 {
            return self.fail(H2Reason::CANCEL);
        }
        match self.deadlines.update(seen, &mut now) {
            Some((at, overdue)) if time_is_up && now() >= at => self.overdue(overdue),
            deadline => Next::Wait(deadline.map(|(at, _)| at)),
        }
    }

    fn finish(&mut self) -> Next {
        if self.is_finishing {
            return Next::Close;
        }
        self.is_finishing = true;
        self.deadlines.finish();
        Next::Finish
    }

    fn fail(&mut self, reason: H2Reason) -> Next {
        if self.is_failing {
            return Next::Close;
        }
        (self.is_failing, self.is_finishing) = (true, true);
        self.deadlines.finish();
        Next::Fail(reason)
    }

    fn overdue(&mut self, overdue: Overdue) -> Next {
        if !matches!(overdue, Overdue::Idle | Overdue::Silence | Overdue::Close) {
            self.signals.counters().timed_out.add_one();
        }
        match overdue {
            Overdue::Idle => self.finish(),
            Overdue::First if !self.shared.is_within() => self.fail(H2Reason::NO_ERROR),
            Overdue::First | Overdue::Part => self.fail(H2Reason::ENHANCE_YOUR_CALM),
            Overdue::Silence => Next::Ping,
            Overdue::Write => Next::Reset,
            Overdue::Dead | Overdue::Close => Next::Close,
        }
    }
}
