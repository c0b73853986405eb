use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason as H2Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::exchange::Exchange;
use super::shared::Open;
use super::tunnel::StreamIo;
use crate::body::ResponseBody;
use crate::date;
use crate::known::Known;
use crate::serve::app::{self, Panicked, guarded, internal_error};
use crate::serve::counters::Counters;
use crate::serve::deadlines::{Deadlines, Overdue};
use crate::serve::settings::Timeouts;
use crate::serve::signals::Signals;
use crate::serve::timer::LazyTimer;
use crate::upgraded::Opened;

/// So much of an answer is asked room for at once, which is a frame: streams take turns by these.
const PIECE: usize = 16 << 10;

/// What an answer is sent by.
pub(super) struct Line {
    pub(super) reply: SendResponse<Bytes>,
    pub(super) open: Open,
    pub(super) exchange: Arc<Exchange>,
    pub(super) counters: Arc<Counters>,
    pub(super) is_head: bool,
    pub(super) is_grpc: bool,
    /// The connection knows that the answer goes on.
    pub(super) lasts: bool,
    /// What the client sends, and who waits for the tunnel, where it asked for one.
    pub(super) switch: Option<(RecvStream, Opened)>,
}

/// The time that a client takes over one exchange. Most need none, and have no timer.
pub(super) struct Watch {
    timeouts: Timeouts,
    upload: Option<Arc<Signals>>,
    clock: Option<Pin<Box<StreamClock>>>,
}

pin_project! {
    struct StreamClock {
        deadlines: Deadlines,
        #[pin]
        timer: LazyTimer,
        served: bool,
    }
}

pin_project! {
    /// One request: its future, then its answer as fast as the client takes it.
    ///
    /// It never fails: an error or a panic of the service is an answer here.
    pub(super) struct Stream<F, B>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        line: Line,
        watch: Watch,
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        Called { #[pin] future: F },
        Refused { answer: Response<Bytes> },
        Sending { #[pin] download: Download<B> },
        // The service reads on in the request, though its answer is over.
        Uploading,
    }
}

pin_project! {
    /// An answer's body on its way.
    struct Download<B>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        #[pin]
        body: ResponseBody<B>,
        stream: SendStream<Bytes>,
        piece: Option<B::Data>,
        is_last: bool,
        // The client gives no room for more.
        blocked: bool,
        // It took something since the last look.
        moved: bool,
    }
}

impl Watch {
    pub(super) fn new(upload: Option<Arc<Signals>>, timeouts: Timeouts) -> Self {
        Self { timeouts, upload, clock: None }
    }
}

impl<F, B> Stream<F, B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    pub(super) fn called(line: Line, watch: Watch, future: F) -> Self {
        Self { line, watch, state: State::Called { future } }
    }

    pub(super) fn refused(line: Line, answer: Response<Bytes>) -> Self {
        Self { line, watch: Watch::new(None, Timeouts::default()), state: State::Refused { answer } }
    }

    pub(super) fn panicked(line: Line) -> Self {
        line.counters.panics.add_one();
        let answer = internal_error().answer_as(line.is_grpc, None);
        Self::refused(line, answer)
    }
}

/// How an exchange has come to its end.
enum Over {
    Answered,
    /// The client gave it up, or its connection broke.
    GivenUp,
}

impl<F, B, E> Future for Stream<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Data: From<Bytes>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.line.exchange.register(cx.waker());
        if self.line.open.is_cut() {
            self.project().line.reply.send_reset(H2Reason::CANCEL);
            return Poll::Ready(());
        }
        if let Some(upload) = &self.watch.upload {
            upload.set_task(cx.waker());
        }
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().advance(this.line, cx) {
                Poll::Ready(Over::Answered) if this.watch.is_uploading() => this.state.set(State::Uploading),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let (blocked, moved) = this.state.as_mut().progress();
                    let overdue = ready!(this.watch.poll(blocked, moved, cx));
                    this.line.counters.timed_out.add_one();
                    if overdue == Overdue::Body {
                        this.watch.fail_body();
                    } else {
                        this.line.reply.send_reset(H2Reason::CANCEL);
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl<F, B, E> State<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Data: From<Bytes>,
{
    fn advance(mut self: Pin<&mut Self>, line: &mut Line, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let answer = match self.as_mut().project() {
                StateProj::Called { future } => {
                    if line.reply.poll_reset(cx).is_ready() {
                        line.open.was_given_up();
                        return Poll::Ready(Over::GivenUp);
                    }
                    match guarded(|| app::poll(future, cx)) {
                        Ok(Poll::Pending) => {
                            line.send_interim(line.exchange.take_interim());
                            return Poll::Pending;
                        }
                        Ok(Poll::Ready(Ok(answer))) => answer.map(ResponseBody::inner),
                        Ok(Poll::Ready(Err(_))) => {
                            line.counters.service_errors.add_one();
                            line.fail()
                        }
                        Err(Panicked) => {
                            line.counters.panics.add_one();
                            line.fail()
                        }
                    }
                }
                StateProj::Refused { answer } => std::mem::take(answer).map(ResponseBody::own),
                StateProj::Sending { download } => {
                    let over = match catch_unwind(AssertUnwindSafe(|| download.poll(&line.open, cx))) {
                        Ok(Poll::Ready(over)) => over,
                        Ok(Poll::Pending) => {
                            if !std::mem::replace(&mut line.lasts, true) {
                                line.open.lasts(&line.exchange);
                            }
                            return Poll::Pending;
                        }
                        Err(_) => {
                            line.counters.panics.add_one();
                            Err(H2Reason::INTERNAL_ERROR)
                        }
                    };
                    return Poll::Ready(match over {
                        Ok(over) => over,
                        Err(reason) => {
                            // Of an answer that has begun nothing can be taken back.
                            line.reply.send_reset(reason);
                            Over::GivenUp
                        }
                    });
                }
                StateProj::Uploading => {
                    return line.reply.poll_reset(cx).map(|_| Over::GivenUp);
                }
            };
            match line.begin(answer) {
                Some(Some(download)) => self.set(State::Sending { download }),
                Some(None) => return Poll::Ready(Over::Answered),
                None => return Poll::Ready(Over::GivenUp),
            }
        }
    }

    /// Whether the client gives no room for more, and whether it took something since the last look.
    fn progress(self: Pin<&mut Self>) -> (bool, bool) {
        match self.project() {
            StateProj::Sending { download } => {
                let download = download.project();
                (*download.blocked, std::mem::take(download.moved))
            }
            _ => (false, false),
        }
    }
}

impl Line {
    fn fail<B>(&self) -> Response<ResponseBody<B>> {
        internal_error().answer_as(self.is_grpc, None).map(ResponseBody::own)
    }

    fn send_interim(&mut self, waiting: Vec<(StatusCode, HeaderMap)>) {
        for (status, headers) in waiting {
            let mut interim = Response::new(());
            (*interim.status_mut(), *interim.headers_mut()) = (status, headers);
            strip_connection_fields(interim.headers_mut());
            // It fails for a stream that has ended, which shows elsewhere.
            let _ = self.reply.send_informational(interim);
        }
    }

    /// Sends the head of an answer; what remains to be sent, if anything. `None` when the stream has ended.
    fn begin<B>(&mut self, answer: Response<ResponseBody<B>>) -> Option<Option<Download<B>>>
    where
        B: Body,
        B::Data: From<Bytes>,
    {
        self.send_interim(self.exchange.close_interim());
        let (parts, body) = answer.into_parts();
        let mut head = Response::from_parts(parts, ());
        if head.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some((incoming, opened)) = self.switch.take()
        {
            return self.open_tunnel(head, incoming, opened).map(|()| None);
        }
        if head.status().is_informational() {
            // It is no answer, and there is nothing to switch to (RFC 9113 section 8.6).
            self.counters.service_errors.add_one();
            return self.begin(self.fail());
        }
        let headers = head.headers_mut();
        let known = Known::of(headers);
        strip_known_connection_fields(headers, known);
        if !known.any(Known::DATE) {
            headers.insert(DATE, date::now());
        }
        let has_ended = self.is_head || body.is_end_stream();
        if !has_ended
            && !known.any(Known::CONTENT_LENGTH)
            && let Some(length) = body.size_hint().exact()
        {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let stream = self.reply.send_response(head, has_ended).ok()?;
        Some((!has_ended).then(|| Download { body, stream, piece: None, is_last: false, blocked: false, moved: false }))
    }
}

impl Line {
    /// Agrees to a tunnel, which over HTTP/2 is said by a 200 (RFC 8441 section 5).
    fn open_tunnel(&mut self, mut head: Response<()>, incoming: RecvStream, opened: Opened) -> Option<()> {
        *head.status_mut() = StatusCode::OK;
        let headers = head.headers_mut();
        strip_connection_fields(headers);
        headers.remove(CONTENT_LENGTH);
        headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        let outgoing = self.reply.send_response(head, false).ok()?;
        // Who waited for it may be gone; then so is the stream.
        let _ = opened.send(Box::new(StreamIo::new(incoming, outgoing, self.open.again())));
        Some(())
    }
}

/// RFC 9113 section 8.2.2: what concerned a connection has no place in a message of HTTP/2.
fn strip_connection_fields(headers: &mut HeaderMap) {
    strip_known_connection_fields(headers, Known::of(headers));
}

/// The same for who has looked already which of them there are.
fn strip_known_connection_fields(headers: &mut HeaderMap, known: Known) {
    if !known.any(Known::HOP_BY_HOP) {
        return;
    }
    const OF_THE_CONNECTION: [HeaderName; 7] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ];
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

impl<B> Download<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    fn poll(self: Pin<&mut Self>, open: &Open, cx: &mut Context<'_>) -> Poll<Result<Over, H2Reason>> {
        let mut this = self.project();
        loop {
            *this.blocked = false;
            if this.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Ok(Over::GivenUp));
            }
            while let Some(piece) = this.piece.as_mut().filter(|piece| piece.has_remaining()) {
                let mut room = this.stream.capacity();
                if room == 0 {
                    // Only for what is there: room that is held for what may come is missing elsewhere.
                    this.stream.reserve_capacity(piece.remaining().min(PIECE));
                    *this.blocked = true;
                    room = match ready!(this.stream.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return Poll::Ready(Ok(Over::GivenUp)),
                    };
                    *this.blocked = false;
                }
                let length = room.min(piece.remaining());
                let ends = *this.is_last && length == piece.remaining();
                if this.stream.send_data(piece.copy_to_bytes(length), ends).is_err() {
                    return Poll::Ready(Ok(Over::GivenUp));
                }
                *this.moved = true;
                open.sent_data();
                if ends {
                    return Poll::Ready(Ok(Over::Answered));
                }
            }
            *this.piece = None;
            let sent = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        *this.is_last = this.body.is_end_stream();
                        if data.has_remaining() || !*this.is_last {
                            *this.piece = Some(data);
                            continue;
                        }
                        this.stream.send_data(Bytes::new(), true)
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(mut trailers) => {
                            strip_connection_fields(&mut trailers);
                            this.stream.send_trailers(trailers)
                        }
                        Err(_) => continue,
                    },
                },
                Some(Err(_)) => return Poll::Ready(Err(H2Reason::INTERNAL_ERROR)),
                None => this.stream.send_data(Bytes::new(), true),
            };
            return Poll::Ready(Ok(if sent.is_ok() { Over::Answered } else { Over::GivenUp }));
        }
    }
}

impl Watch {
    /// The service holds a body that has not ended.
    fn is_uploading(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.body_is_open())
    }

    fn fail_body(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.as_mut().project().deadlines.body_failed();
        }
        if let Some(upload) = &self.upload {
            upload.fail_body();
        }
    }

    /// Ready when the client has taken too long.
    fn poll(&mut self, blocked: bool, moved: bool, cx: &mut Context<'_>) -> Poll<Overdue> {
        let Self { timeouts, upload, clock } = self;
        if clock.is_none() && upload.is_none() && !blocked {
            return Poll::Pending;
        }
        let clock = clock.get_or_insert_with(|| {
            let now = Instant::now();
            Box::pin(StreamClock {
                deadlines: Deadlines::new(*timeouts, now),
                timer: LazyTimer::new(now),
                served: true,
            })
        });
        let clock = clock.as_mut().project();
        let mut seen = upload.as_ref().map(|upload| upload.look()).unwrap_or_default();
        (seen.serving, seen.served) = (true, std::mem::take(clock.served));
        (seen.write_blocked, seen.wrote) = (blocked, moved);
        let mut timer = clock.timer;
        let mut time_is_up = timer.as_mut().went_off();
        loop {
            let Some((deadline, overdue)) = clock.deadlines.update(seen, Instant::now) else { return Poll::Pending };
            seen.served = false;
            if time_is_up && Instant::now() >= deadline {
                return Poll::Ready(overdue);
            }
            if timer.as_mut().cover(deadline, cx) {
                return Poll::Pending;
            }
            time_is_up = true;
        }
    }
}
