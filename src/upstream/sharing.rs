//! A call over a connection that other calls may use as well.
//!
//! So it is where HTTP/2 is spoken, and where TLS has yet to settle what is: then the request is kept as it came, and is
//! written for whichever connection it is given.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::OriginBody;
use super::body::{Download, SendBody};
use super::client::{Call, stick};
use super::h1::connection::Connection;
use super::h1::encode::{RequestFraming, write_head};
use super::h2::request;
use super::room::Room;
use super::spoken::Spoken;
use super::{h1, h2};
use crate::{UpstreamError, UpstreamErrorKind};

/// How often a request is sent again that a server has not looked at. That is no retry, and is told to nobody.
const MOST_AGAIN: u8 = 2;

/// The call, until the head of its answer is there.
pub(super) struct Sharing {
    state: State,
    /// The request's head, to be sent again where a server did not look at it.
    draft: Draft,
    call: Option<Call>,
    again: u8,
    /// The server has said that this request needs it (RFC 9113 section 7, HTTP_1_1_REQUIRED).
    needs_http1: bool,
    /// It went out on a connection that was closing.
    unanswered: bool,
}

/// A request's head before it is known how it is written.
pub(super) struct Draft {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) host: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) framing: RequestFraming,
}

enum State {
    Start(Option<SendBody>),
    Waiting(Pin<Box<dyn Future<Output = Result<Room, UpstreamError>> + Send>>, Option<SendBody>),
    Http1(h1::exchange::Exchange),
    Http2(h2::exchange::Exchange),
    Done,
}

impl Sharing {
    pub(super) fn new(draft: Draft, body: Option<SendBody>, call: Call) -> Self {
        Self { state: State::Start(body), draft, call: Some(call), again: 0, needs_http1: false, unanswered: false }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<OriginBody>, UpstreamError>> {
        const DONE: &str = "polled after it had completed";
        loop {
            let call = self.call.as_ref().expect(DONE);
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::Start(body) => self.start(body)?,
                State::Waiting(mut room, body) => match room.as_mut().poll(cx) {
                    Poll::Ready(room) => self.begin(room?, body)?,
                    Poll::Pending => {
                        self.state = State::Waiting(room, body);
                        return Poll::Pending;
                    }
                },
                State::Http2(mut exchange) => {
                    match exchange.poll_head(cx, |status, headers| call.pass_on(status, headers)) {
                        Poll::Pending => {
                            self.state = State::Http2(exchange);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(answer)) => return Poll::Ready(self.answered(exchange, answer)),
                        Poll::Ready(Err(failed)) => self.again(failed)?,
                    }
                }
                State::Http1(mut exchange) => {
                    match exchange.poll_head(cx, |interim| call.pass_on(interim.status, interim.headers)) {
                        Poll::Pending => {
                            self.state = State::Http1(exchange);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(head)) => {
                            return Poll::Ready(self.call.take().expect(DONE).answered(exchange, head));
                        }
                        Poll::Ready(Err(failed)) => {
                            let call = self.call.as_mut().expect(DONE);
                            if failed.unanswered.is_none() || !std::mem::take(&mut call.resendable) {
                                return Poll::Ready(Err(failed.error));
                            }
                            self.unanswered = true;
                            State::Start(None)
                        }
                    }
                }
                State::Done => unreachable!("{DONE}"),
            };
        }
    }

    fn start(&mut self, body: Option<SendBody>) -> Result<State, UpstreamError> {
        let Some(call) = &self.call else { return Err(UpstreamErrorKind::Request.into()) };
        let (shared, server) = (&call.lease.shared, call.lease.in_flight.server());
        let room = match self.needs_http1 {
            true => shared.take_idle(server).map(Room::Own),
            false => shared.take_room(server, self.unanswered),
        };
        match room {
            Some(room) => self.begin(room, body),
            None if self.needs_http1 => {
                Ok(State::Waiting(Box::pin(shared.clone().obtain(server.clone()).map_ok(Room::Own)), body))
            }
            None => Ok(State::Waiting(Box::pin(shared.clone().room(server.clone(), self.unanswered)), body)),
        }
    }

    fn begin(&mut self, room: Room, body: Option<SendBody>) -> Result<State, UpstreamError> {
        let Some(call) = &self.call else { return Err(UpstreamErrorKind::Request.into()) };
        match room {
            Room::Own(mut connection) => {
                self.draft.write(&mut connection, body);
                Ok(State::Http1(h1::exchange::Exchange::new(connection, call.answers_head)))
            }
            Room::Shared(slot) => {
                let Draft { method, path, host, headers, framing } = &self.draft;
                let scheme = call.lease.in_flight.server().origin().scheme();
                let head = request::head(method, scheme, host, path.clone(), headers, *framing)
                    .ok_or(UpstreamErrorKind::Request)?;
                match h2::exchange::Exchange::begin(slot, head, body, call.answers_head) {
                    Ok(exchange) => Ok(State::Http2(exchange)),
                    Err(failed) => self.again(failed),
                }
            }
        }
    }

    fn again(&mut self, failed: h2::exchange::Failed) -> Result<State, UpstreamError> {
        match failed.unseen {
            Some(body) if self.again < MOST_AGAIN && self.may_go(failed.needs_http1) => {
                self.again += 1;
                self.needs_http1 |= failed.needs_http1;
                Ok(State::Start(body))
            }
            _ => Err(failed.error),
        }
    }

    /// False where the server asks for what it is not spoken to in.
    fn may_go(&self, needs_http1: bool) -> bool {
        let server = self.call.as_ref().map(|call| call.lease.in_flight.server());
        !needs_http1 || server.is_some_and(|server| server.spoken() == Spoken::Agreed)
    }

    fn answered(
        &mut self,
        exchange: h2::exchange::Exchange,
        answer: Response<::h2::RecvStream>,
    ) -> Result<Response<OriginBody>, UpstreamError> {
        let (parts, stream) = answer.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamErrorKind::InvalidResponse.into());
        }
        let Some(mut call) = self.call.take() else { return Err(UpstreamErrorKind::Request.into()) };
        let download = Download::Http2(Box::new(exchange.into_download(&parts.headers, stream)));
        let cookie = call.cookie.take();
        let mut response = Response::from_parts(parts, OriginBody::new(download, call.lease));
        stick(response.headers_mut(), cookie);
        Ok(response)
    }
}

impl Draft {
    fn write(&self, connection: &mut Connection, body: Option<SendBody>) {
        let head = connection.upload.begin(self.framing, body);
        write_head(head, &self.method, &self.path, &self.host, &self.headers, self.framing);
    }
}
