use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;
use tower_service::Service;

use super::adapter::Adapter;
use super::body::ServeBody;
use super::deadlines::{Deadlines, Overdue};
use super::signals::{Seen, Signals};
use super::socket::{Socket, Transport};
use super::timer::LazyTimer;
use crate::BoxError;

/// How long what still arrives is read and thrown away after the last answer. A socket that is closed over unread bytes
/// resets the connection, and the client may lose an answer that was on its way (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(5);

/// For a head that did not come to its end (RFC 9110 section 15.5.9). No service has seen it, so there is no document.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The state machine of one HTTP version over a [`Socket`].
pub(super) trait Protocol: Future<Output = Result<(), hyper::Error>> + Unpin {
    type Transport: Transport;
    /// What another protocol needs to go on with the connection.
    type HandedOver;

    /// No more requests after those that have begun.
    fn finish(&mut self);

    /// The socket, unless an upgrade took it. `declined` is one that was offered and came to nothing.
    fn into_socket(self, declined: Option<OnUpgrade>) -> Option<Socket<Self::Transport>>;

    /// Gives the connection up to HTTP/2, of which nothing has been read.
    fn hand_over(self) -> Option<Self::HandedOver>;
}

pub(super) type Http1<T, S> = UpgradeableConnection<TokioIo<Socket<T>>, Adapter<S>>;

impl<T, S, B> Protocol for Http1<T, S>
where
    T: Transport,
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body + 'static,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
{
    type Transport = T;
    type HandedOver = (Socket<T>, Adapter<S>);

    fn finish(&mut self) {
        Pin::new(self).graceful_shutdown();
    }

    fn into_socket(self, declined: Option<OnUpgrade>) -> Option<Socket<T>> {
        if let Some(parts) = self.into_parts() {
            return Some(parts.io.into_inner());
        }
        // At the end of a connection on which a request once asked for an upgrade, hyper hands the socket over to that,
        // whatever the request was answered.
        let upgraded = declined?.now_or_never()?.ok()?;
        upgraded.downcast::<TokioIo<Socket<T>>>().ok().map(|parts| parts.io.into_inner())
    }

    fn hand_over(self) -> Option<Self::HandedOver> {
        self.into_parts().map(|parts| (parts.io.into_inner(), parts.service))
    }
}

pin_project! {
    /// One connection: drives the protocol, keeps its deadlines, closes it. Or hands it over, when its first bytes are those
    /// of HTTP/2.
    pub(super) struct Connection<P: Protocol> {
        stage: Stage<P>,
        keeper: Keeper,
        #[pin]
        timer: LazyTimer,
        #[pin]
        drain: OwnedNotified,
    }
}

#[allow(clippy::large_enum_variant, reason = "the protocol, whose size clippy cannot know, is the largest by far")]
enum Stage<P: Protocol> {
    Serving(P),
    Closing { socket: Socket<P::Transport>, last_word: Option<&'static [u8]>, until: Instant },
    Closed,
    HandedOver(Option<P::HandedOver>),
}

/// What a connection remembers beside its protocol.
struct Keeper {
    signals: Arc<Signals>,
    deadlines: Deadlines,
    is_known: bool,
    is_draining: bool,
}

/// What is to be done after the protocol has gone as far as it could.
enum Next {
    /// Something changed that it has to see.
    Drive,
    /// Nothing before this time, or at all before something happens.
    Wait(Option<Instant>),
    Close,
    /// Read what is left, after a last word.
    Linger(&'static [u8]),
    Reset,
    HandOver,
}

impl<P: Protocol> Connection<P> {
    pub(super) fn new(
        protocol: P,
        signals: Arc<Signals>,
        drain: OwnedNotified,
        deadlines: Deadlines,
        accepted: Instant,
    ) -> Self {
        let keeper = Keeper { signals, deadlines, is_known: false, is_draining: false };
        Self { stage: Stage::Serving(protocol), keeper, timer: LazyTimer::new(accepted), drain }
    }
}

impl<P: Protocol> Future for Connection<P> {
    type Output = Option<P::HandedOver>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !this.keeper.is_known {
            this.keeper.is_known = true;
            this.keeper.signals.set_task(cx.waker());
            // Polled once, it stays registered with this task; what it says is read elsewhere.
            let _ = this.drain.poll(cx);
        }
        // Also for a request that is answered, and its connection closed, before the next look.
        this.keeper.notice_drain();
        let mut time_is_up = this.timer.as_mut().went_off();
        loop {
            let next = match this.stage {
                Stage::Serving(protocol) => match drive(protocol, cx) {
                    Poll::Pending => this.keeper.next(protocol, time_is_up),
                    Poll::Ready(end) => this.keeper.ended(end),
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
                Next::Drive => {}
                Next::Wait(None) => return Poll::Pending,
                Next::Wait(Some(deadline)) if this.timer.as_mut().cover(deadline, cx) => return Poll::Pending,
                Next::Wait(Some(_)) => time_is_up = true,
                end => {
                    let declined = this.keeper.signals.take_upgrade();
                    *this.stage = std::mem::replace(this.stage, Stage::Closed).close(end, declined, cx);
                }
            }
        }
    }
}

/// How the protocol came to its end.
enum End {
    Finished,
    Unreadable,
    Panicked,
}

fn drive<P: Protocol>(protocol: &mut P, cx: &mut Context<'_>) -> Poll<End> {
    // Panics of the service are caught closer to it. This is for response bodies, and whatever else is dropped here.
    match catch_unwind(AssertUnwindSafe(|| Pin::new(protocol).poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Err(error))) if error.is_parse() => Poll::Ready(End::Unreadable),
        Ok(Poll::Ready(_)) => Poll::Ready(End::Finished),
        Err(_) => Poll::Ready(End::Panicked),
    }
}

impl<P: Protocol> Stage<P> {
    fn close(self, end: Next, declined: Option<OnUpgrade>, cx: &mut Context<'_>) -> Self {
        let Self::Serving(protocol) = self else { return Self::Closed };
        if matches!(end, Next::HandOver) {
            return Self::HandedOver(protocol.hand_over());
        }
        match (end, protocol.into_socket(declined)) {
            (Next::Linger(last_word), Some(socket)) => {
                Self::Closing { socket, last_word: Some(last_word), until: Instant::now() + LINGER }
            }
            (Next::Reset, Some(socket)) => {
                socket.reset_when_dropped();
                Self::Closed
            }
            (_, Some(mut socket)) => {
                socket.say_end(cx);
                Self::Closed
            }
            _ => Self::Closed,
        }
    }
}

impl Keeper {
    fn next<P: Protocol>(&mut self, protocol: &mut P, time_is_up: bool) -> Next {
        if self.signals.is_http2() {
            return Next::HandOver;
        }
        let mut reading = None;
        let mut now = || *reading.get_or_insert_with(Instant::now);
        let seen = self.signals.look();
        let deadline = self.deadlines.update(seen, &mut now);
        if self.notice_drain() {
            self.is_draining = true;
            protocol.finish();
            return Next::Drive;
        }
        // The answer to a client that half-closed has been given, and hyper may know of it.
        if seen.eof_held && !seen.serving {
            self.signals.release_eof();
            return Next::Drive;
        }
        match deadline {
            Some((at, overdue)) if time_is_up && now() >= at => self.overdue(overdue, seen),
            _ => Next::Wait(deadline.map(|(at, _)| at)),
        }
    }

    /// True when the drain has begun and the protocol was not told.
    fn notice_drain(&self) -> bool {
        let is_new = !self.is_draining && self.signals.counters().drain.is_draining();
        if is_new && !self.deadlines.is_idle() {
            self.signals.report_to_drain();
        }
        is_new
    }

    fn overdue(&mut self, overdue: Overdue, seen: Seen) -> Next {
        if !matches!(overdue, Overdue::Idle | Overdue::HalfClosed) {
            self.signals.counters().timed_out.add_one();
        }
        match overdue {
            Overdue::Head if seen.head_begun => Next::Linger(REQUEST_TIMEOUT),
            Overdue::Head | Overdue::Idle => Next::Close,
            Overdue::Write => Next::Reset,
            Overdue::Body => {
                self.deadlines.body_failed();
                self.signals.fail_body();
                Next::Drive
            }
            Overdue::HalfClosed => {
                self.signals.release_eof();
                Next::Drive
            }
        }
    }

    fn ended(&self, end: End) -> Next {
        match end {
            End::Panicked => {
                self.signals.counters().panics.add_one();
                Next::Close
            }
            End::Unreadable => Next::Linger(b""),
            End::Finished if self.signals.has_unread_input() => Next::Linger(b""),
            End::Finished => Next::Close,
        }
    }
}
