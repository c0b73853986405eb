//! One request after the other, each with its answer.

mod answer;
mod receive;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Method, Request, Response, Version};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use self::receive::{Incoming, expects_continue};
use super::encode::{Asked, Encoder};
use super::head::{Head, Limits, Refused, is_of_head, read_head, takes_trailers};
use super::interim::Interim;
use super::line::Line;
use super::opening::{Opening, opening};
use super::places::Places;
use super::upgrade::Offer;
use super::upload::Demand;
use crate::aside::aside;
use crate::body::ResponseBody;
use crate::known::Known;
use crate::serve::app::{App, Panicked, guarded};
use crate::serve::body::ServeBody;
use crate::serve::signals::{Seen, Signals};
use crate::serve::socket::Socket;
use crate::turn;
use crate::{InterimSink, Oneshot, Rejection};

/// So much of what follows a request is received while it is served, to see that its client is still there.
const READ_AHEAD: usize = 8 << 10;

/// How often a connection looks for another request before others have their turn.
const TURN: u32 = 32;

/// Where one request is served, and then its answer.
pub(in crate::serve) type Place<S, B> = Pin<Box<Exchange<Oneshot<S, Request<ServeBody>>, B>>>;

/// The requests of one connection.
pub(super) struct Exchanges<S, B>
where
    S: Service<Request<ServeBody>>,
    B: Body,
{
    app: App<S>,
    line: Line<B::Data>,
    signals: Arc<Signals>,
    interim: Arc<Interim>,
    /// While there is a request.
    exchange: Option<Place<S, B>>,
    places: Places<Place<S, B>>,
    asked: Asked,
    upload: Option<Incoming>,
    /// What the current request would switch to.
    offer: Option<Offer>,
    /// Which HTTP this is has been told.
    is_opened: bool,
    /// So much of an unfinished head has been looked at.
    parsed: usize,
    /// A request was handed to the service since the last look.
    served: bool,
    /// The service asked for the others of this thread to go first.
    others_go_first: bool,
    /// The connection has no further use once everything is sent.
    is_over: bool,
    /// Part of a request may never be read.
    has_unread: bool,
    /// The client of the last request would have sent another.
    client_stays: bool,
}

pin_project! {
    #[project = ExchangeProj]
    pub(in crate::serve) enum Exchange<F, B> {
        Empty,
        Called { #[pin] future: F },
        Answering { #[pin] body: ResponseBody<B>, encoder: Encoder },
        // The answer is 101, and the connection the service's.
        Switching,
    }
}

/// How a connection comes to its end.
pub(super) enum End {
    /// Nothing is left to be said.
    Finished,
    /// The same, and the client may not have been heard to its end.
    Unread,
    /// It began as HTTP/2 does.
    Http2,
    /// The service has it from now on.
    Switched,
}

/// How far a connection went.
pub(super) enum Went {
    /// It waits for something.
    Waits,
    /// It will be polled again at once.
    GaveWay,
    Ended(End),
}

/// What is to be done next.
enum Step {
    Again,
    Wait,
    GiveWay,
    End(End),
}

impl<S, B> Exchanges<S, B>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body,
    B::Data: From<Bytes>,
{
    pub(super) fn new(socket: Socket, app: App<S>, signals: Arc<Signals>, places: Places<Place<S, B>>) -> Self {
        let asked = Asked {
            version: Version::HTTP_11,
            is_head: false,
            is_connect: false,
            takes_trailers: false,
            keeps_alive: true,
        };
        Self {
            app,
            line: Line::new(socket),
            signals,
            interim: Arc::default(),
            exchange: None,
            places,
            asked,
            upload: None,
            offer: None,
            is_opened: false,
            parsed: 0,
            served: false,
            others_go_first: false,
            is_over: false,
            has_unread: false,
            client_stays: false,
        }
    }

    /// Whom to wake for what happens elsewhere.
    pub(super) fn set_task(&self, cx: &Context<'_>) {
        self.signals.set_task(cx.waker());
        self.interim.set_task(cx.waker());
    }

    /// What deadlines follow from.
    pub(super) fn look(&mut self) -> Seen {
        let is_active = self.is_active();
        let mut seen = match &self.upload {
            // What waits for the service is not waited for.
            Some(upload) => {
                aside();
                let seen = upload.signals.look();
                Seen { body_wanted: seen.body_wanted && upload.feed.demand() == Demand::Piece, ..seen }
            }
            None => Seen::default(),
        };
        (seen.served, self.served) = (self.served, false);
        // An upload may outlast its answer, and is no less a request for it.
        seen.serving = is_active || self.upload.is_some();
        seen.head_begun = !seen.serving && !self.line.received.is_empty();
        seen.write_blocked = !self.line.out.is_empty();
        seen.wrote = self.line.take_wrote();
        seen.eof_held = is_active && self.line.has_ended && !seen.write_blocked;
        seen
    }

    /// A request was handed to the service, and its answer has not ended.
    pub(super) fn is_active(&self) -> bool {
        self.exchange.is_some()
    }

    /// The head that has begun takes too long.
    #[cold]
    pub(super) fn give_up_head(&mut self) {
        self.refuse_head(Refused::TooSlow);
    }

    /// The request body takes too long.
    #[cold]
    pub(super) fn fail_body(&mut self, cx: &Context<'_>) {
        if let Some(upload) = &self.upload {
            upload.signals.fail_body();
        }
        self.break_off_upload(io::ErrorKind::TimedOut.into(), cx);
    }

    /// The socket, with what was received from it and belongs to nothing yet.
    pub(super) fn into_parts(mut self) -> (Socket, App<S>, Option<Offer>) {
        let received = std::mem::take(&mut self.line.received);
        self.line.socket.hold(received);
        (self.line.socket, self.app, self.offer)
    }

    /// Goes as far as it can.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Went {
        loop {
            // Once around all of it: what is returned through a guard is moved.
            match guarded(|| self.drive(cx)) {
                Ok(went) => return went,
                Err(Panicked) => self.signals.counters().panics.add_one(),
            }
            // Of an answer that has begun nothing can be taken back. What the panic left half done is dropped here.
            let has_begun = matches!(self.exchange.as_deref(), Some(Exchange::Answering { .. } | Exchange::Switching));
            if has_begun || guarded(|| self.fail()).is_err() {
                return Went::Ended(End::Finished);
            }
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Went {
        let mut looks = 0;
        loop {
            // The first piece of a body goes out with the head, when it is there.
            let may_wait =
                matches!(self.exchange.as_deref(), Some(Exchange::Answering { .. })) && !self.line.out.is_full();
            let is_blocked = match may_wait {
                true => false,
                false => match self.line.poll_send(cx) {
                    Poll::Ready(Ok(())) => false,
                    Poll::Ready(Err(_)) => {
                        aside();
                        return Went::Ended(End::Finished);
                    }
                    Poll::Pending => {
                        aside();
                        true
                    }
                },
            };
            let step = match self.exchange.as_deref() {
                Some(Exchange::Switching) if is_blocked => return Went::Waits,
                // The next request waits until there is room for its answer; a body that is still read does not.
                None if is_blocked => self.poll_upload(cx),
                None if looks == TURN => {
                    aside();
                    cx.waker().wake_by_ref();
                    return Went::GaveWay;
                }
                None | Some(Exchange::Empty) => {
                    looks += 1;
                    self.poll_next(cx)
                }
                Some(Exchange::Called { .. }) => self.poll_called(cx),
                Some(Exchange::Answering { .. }) if is_blocked => self.poll_meanwhile(cx),
                Some(Exchange::Answering { .. }) => self.poll_answer(cx),
                Some(Exchange::Switching) => {
                    aside();
                    Step::End(End::Switched)
                }
            };
            match step {
                Step::Again => {}
                Step::Wait => return Went::Waits,
                Step::GiveWay => return Went::GaveWay,
                Step::End(end) => return Went::Ended(end),
            }
        }
    }

    // === Between two requests ===

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Step {
        self.line.socket.would_mislead(false);
        if let Some(upload) = &self.upload {
            aside();
            upload.signals.body_end_is_awaited();
            return match self.poll_upload(cx) {
                Step::Wait if self.skip_upload() => Step::Again,
                step => step,
            };
        }
        if self.is_over {
            aside();
            // A client that wanted to stay may be sending another request, which a closed socket answers with a reset.
            let is_unread = self.has_unread || self.client_stays || !self.line.received.is_empty();
            return Step::End(if is_unread { End::Unread } else { End::Finished });
        }
        match self.read_request(cx) {
            Ok(true) if self.others_go_first => {
                cx.waker().wake_by_ref();
                Step::GiveWay
            }
            Ok(true) => Step::Again,
            Ok(false) => match self.line.poll_receive(cx) {
                Poll::Pending => Step::Wait,
                Poll::Ready(Ok(1..)) => Step::Again,
                Poll::Ready(Ok(0) | Err(_)) => {
                    aside();
                    Step::End(End::Finished)
                }
            },
            Err(end) => {
                aside();
                Step::End(end)
            }
        }
    }

    /// Takes the next request from what was received. False when it is not there yet.
    fn read_request(&mut self, cx: &Context<'_>) -> Result<bool, End> {
        let received = &self.line.received;
        if received.is_empty() || !self.is_worth_parsing() {
            return Ok(false);
        }
        if !self.is_opened {
            aside();
            match opening(received) {
                Opening::Http2 => return Err(End::Http2),
                Opening::Undecided => return Ok(false),
                Opening::Http1 => self.is_opened = true,
            }
        }
        let settings = &self.app.settings;
        let limits = Limits { bytes: settings.max_header_bytes, fields: settings.max_headers };
        // Made here, and given to the service from here: to move it takes more than most of what is done with it.
        let mut request = Request::new(ServeBody::none());
        match read_head(&mut self.line.received, limits, &mut request) {
            Ok(Some(head)) => match self.begin(head, &mut request, cx) {
                Ok(()) => {
                    turn::begin(false);
                    let future = self.app.call(request);
                    self.place().set(Exchange::Called { future });
                    self.others_go_first = turn::was_asked();
                }
                Err(rejection) => {
                    aside();
                    self.has_unread = true;
                    self.refuse(&rejection);
                }
            },
            Ok(None) => {
                aside();
                self.parsed = self.line.received.len();
                return Ok(false);
            }
            Err(refused) => self.refuse_head(refused),
        }
        self.parsed = 0;
        Ok(true)
    }

    /// Of a head that comes drop by drop every line is looked at, and not every drop.
    fn is_worth_parsing(&self) -> bool {
        let received = &self.line.received;
        self.parsed == 0 || {
            aside();
            received.len() >= 2 * self.parsed || memchr::memchr(b'\n', &received[self.parsed..]).is_some()
        }
    }

    #[cold]
    fn refuse_head(&mut self, refused: Refused) {
        let is_head = is_of_head(&self.line.received);
        (self.asked.version, self.asked.is_head, self.asked.is_connect) = (Version::HTTP_11, is_head, false);
        self.has_unread = true;
        self.refuse(&refused.rejection());
    }

    fn begin(&mut self, head: Head, request: &mut Request<ServeBody>, cx: &Context<'_>) -> Result<(), Box<Rejection>> {
        let Head { known, framing, keeps_alive } = head;
        let is_http_11 = request.version() == Version::HTTP_11;
        self.asked = Asked {
            version: request.version(),
            is_head: request.method() == Method::HEAD,
            is_connect: request.method() == Method::CONNECT,
            takes_trailers: takes_trailers(request.headers(), known),
            keeps_alive,
        };
        (self.served, self.client_stays) = (true, keeps_alive);
        *request.body_mut() =
            self.begin_upload(framing, is_http_11 && expects_continue(request.headers(), known), cx)?;
        let may_switch = known.any(Known::UPGRADE) || self.asked.is_connect;
        self.offer = None;
        if may_switch && is_http_11 && self.upload.is_none() {
            self.offer_to_switch(request.extensions_mut());
        }
        let number = self.interim.begin(is_http_11);
        let interim = is_http_11.then(|| InterimSink::new(self.interim.clone(), number));
        self.app.introduce(request.extensions_mut(), interim);
        Ok(())
    }

    #[cold]
    fn offer_to_switch(&mut self, extensions: &mut Extensions) {
        if let Some((offer, on_upgrade)) = Offer::new() {
            self.offer = Some(offer);
            extensions.insert(on_upgrade);
            extensions.insert(self.signals.counters().drain.watch());
        }
    }
}
