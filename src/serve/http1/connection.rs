use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;
use tower_service::Service;

use super::exchange::{End, Exchanges, Place, Went};
use super::places::Places;
use crate::alarm;
use crate::aside::aside;
use crate::serve::app::App;
use crate::serve::body::ServeBody;
use crate::serve::deadlines::{Deadlines, Overdue};
use crate::serve::signals::Signals;
use crate::serve::socket::Socket;
use crate::serve::timer::LazyTimer;

/// How long what still arrives is read and thrown away after the last answer. A socket that is closed over unread bytes
/// resets the connection, and the client may lose an answer that was on its way (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(5);

/// How long a connection waits for one more request when the server drains: its client was told nothing yet, and may have
/// sent one. That is answered, and the client told to close.
const LAST_CALL: Duration = Duration::from_secs(1);

pin_project! {
    /// One connection: drives its requests, keeps its deadlines, closes it. Or hands it over, when its first bytes are those
    /// of HTTP/2.
    pub(in crate::serve) struct Http1<S, B>
    where
        S: Service<Request<ServeBody>>,
        B: Body,
    {
        stage: Stage<S, B>,
        keeper: Keeper,
        #[pin]
        timer: LazyTimer,
        #[pin]
        drain: OwnedNotified,
    }
}

#[allow(clippy::large_enum_variant, reason = "nearly all connections are being served nearly all the time")]
enum Stage<S, B>
where
    S: Service<Request<ServeBody>>,
    B: Body,
{
    Serving(Exchanges<S, B>),
    Closing { socket: Socket, last_word: Option<&'static [u8]>, until: Instant },
    Closed,
    HandedOver(Option<(Socket, App<S>)>),
}

/// What a connection remembers beside its requests.
struct Keeper {
    signals: Arc<Signals>,
    deadlines: Deadlines,
    is_known: bool,
    is_draining: bool,
}

/// What is to be done after the requests have gone as far as they could.
enum Next {
    /// Something changed that they have to see.
    Drive,
    /// Nothing before this time, or at all before something happens.
    Wait(Option<Instant>),
    Close,
    /// Read what is left.
    Linger,
    Reset,
    HandOver,
    Switch,
}

impl<S, B> Http1<S, B>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body,
    B::Data: From<Bytes>,
{
    pub(in crate::serve) fn new(
        socket: Socket,
        app: App<S>,
        signals: Arc<Signals>,
        drain: OwnedNotified,
        accepted: Instant,
        places: Places<Place<S, B>>,
    ) -> Self {
        let deadlines = Deadlines::new(app.settings.timeouts, accepted);
        let exchanges = Exchanges::new(socket, app, signals.clone(), places);
        let keeper = Keeper { signals, deadlines, is_known: false, is_draining: false };
        Self { stage: Stage::Serving(exchanges), keeper, timer: LazyTimer::new(accepted), drain }
    }
}

impl<S, B> Future for Http1<S, B>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body,
    B::Data: From<Bytes>,
{
    /// The connection, when it is one of HTTP/2.
    type Output = Option<(Socket, App<S>)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !this.keeper.is_known {
            aside();
            this.keeper.is_known = true;
            if let Stage::Serving(exchanges) = &this.stage {
                exchanges.set_task(cx);
            }
            // Polled once, it stays registered with this task; what it says is read elsewhere.
            let _ = this.drain.poll(cx);
        }
        // Also for a request that is answered, and its connection closed, before the next look.
        let is_active = matches!(&this.stage, Stage::Serving(exchanges) if exchanges.is_active());
        this.keeper.notice_drain(is_active);
        let mut time_is_up = this.timer.as_mut().went_off();
        loop {
            let next = match this.stage {
                Stage::Serving(exchanges) => match alarm::kept(cx, time_is_up, |cx| exchanges.poll(cx)) {
                    (Went::Waits, asked) => this.keeper.next(exchanges, time_is_up, cx).or_at(asked),
                    (Went::GaveWay, _) => return Poll::Pending,
                    (Went::Ended(end), _) => {
                        aside();
                        match end {
                            End::Finished => Next::Close,
                            End::Unread => Next::Linger,
                            End::Http2 => Next::HandOver,
                            End::Switched => Next::Switch,
                        }
                    }
                },
                Stage::Closing { until, .. } if time_is_up && Instant::now() >= *until => Next::Close,
                Stage::Closing { socket, last_word, until } => match socket.poll_close(last_word, cx) {
                    Poll::Pending => Next::Wait(Some(*until)),
                    Poll::Ready(()) => Next::Close,
                },
                Stage::Closed => return Poll::Ready(None),
                Stage::HandedOver(to) => return Poll::Ready(to.take()),
            };
            match next {
                Next::Drive => aside(),
                Next::Wait(None) => return Poll::Pending,
                Next::Wait(Some(deadline)) if this.timer.as_mut().cover(deadline, cx) => return Poll::Pending,
                Next::Wait(Some(_)) => {
                    aside();
                    time_is_up = true;
                }
                end => {
                    aside();
                    let stage = std::mem::replace(this.stage, Stage::Closed);
                    *this.stage = stage.end(end, &this.keeper.signals, cx);
                }
            }
        }
    }
}

impl<S, B> Stage<S, B>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body,
    B::Data: From<Bytes>,
{
    #[inline(never)]
    fn end(self, end: Next, signals: &Signals, cx: &mut Context<'_>) -> Self {
        let Self::Serving(exchanges) = self else { return Self::Closed };
        let (mut socket, app, offer) = exchanges.into_parts();
        match end {
            Next::HandOver => return Self::HandedOver(Some((socket, app))),
            Next::Linger => {
                // A drain waits for nobody longer than for a last request.
                let patience = if signals.counters().drain.is_draining() { LAST_CALL } else { LINGER };
                return Self::Closing { socket, last_word: Some(b""), until: Instant::now() + patience };
            }
            Next::Switch => {
                // HTTP ends here, and a drain has to report what becomes of the tunnel.
                signals.report_to_drain();
                if let Some(offer) = offer {
                    offer.accept(socket);
                }
            }
            Next::Reset => socket.transport.reset_when_dropped(),
            _ => socket.say_end(cx),
        }
        Self::Closed
    }
}

impl Next {
    /// The same, looking again by the time that a request asked for.
    fn or_at(self, asked: Option<Instant>) -> Self {
        match self {
            Self::Wait(deadline) => Self::Wait(deadline.into_iter().chain(asked).min()),
            other => other,
        }
    }
}

impl Keeper {
    fn next<S, B>(&mut self, exchanges: &mut Exchanges<S, B>, time_is_up: bool, cx: &Context<'_>) -> Next
    where
        S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
        B: Body,
        B::Data: From<Bytes>,
    {
        let mut reading = None;
        let mut now = || *reading.get_or_insert_with(Instant::now);
        if self.notice_drain(exchanges.is_active()) {
            aside();
            self.is_draining = true;
            self.deadlines.last_call(now(), LAST_CALL);
        }
        let seen = exchanges.look();
        match self.deadlines.update(seen, &mut now) {
            Some((at, overdue)) if time_is_up && now() >= at => {
                aside();
                if !matches!(overdue, Overdue::Idle | Overdue::HalfClosed) {
                    self.signals.counters().timed_out.add_one();
                }
                match overdue {
                    Overdue::Head if seen.head_begun => {
                        exchanges.give_up_head();
                        Next::Drive
                    }
                    Overdue::Head | Overdue::Idle | Overdue::HalfClosed => Next::Close,
                    Overdue::Write => Next::Reset,
                    Overdue::Body => {
                        self.deadlines.body_failed();
                        exchanges.fail_body(cx);
                        Next::Drive
                    }
                }
            }
            deadline => Next::Wait(deadline.map(|(at, _)| at)),
        }
    }

    /// True when the drain has begun and the requests were not told.
    fn notice_drain(&self, is_active: bool) -> bool {
        let is_new = !self.is_draining && self.signals.counters().drain.is_draining();
        if is_new && (is_active || !self.deadlines.is_idle()) {
            self.signals.report_to_drain();
        }
        is_new
    }
}
