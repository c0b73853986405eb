//! A call over a connection that other calls use as well.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};

use super::OriginBody;
use super::body::{Download, SendBody};
use super::client::{Call, stick};
use super::h2::connections::Slot;
use super::h2::exchange::{Exchange, Failed};
use crate::{UpstreamError, UpstreamErrorKind};

/// How often a request is sent again that a server has not looked at. That is no retry, and is told to nobody.
const MOST_AGAIN: u8 = 2;

/// The call, until the head of its answer is there.
pub(super) struct Sharing {
    state: State,
    /// The request's head, to be sent again where a server did not look at it.
    head: Request<()>,
    call: Option<Call>,
    again: u8,
    answers_head: bool,
}

/// A request to be sent.
pub(super) struct Sending {
    pub(super) head: Request<()>,
    pub(super) body: Option<SendBody>,
    pub(super) answers_head: bool,
}

enum State {
    Start(Option<SendBody>),
    Waiting(Pin<Box<dyn Future<Output = Result<Slot, UpstreamError>> + Send>>, Option<SendBody>),
    Exchanging(Exchange),
    Done,
}

impl Sharing {
    pub(super) fn new(sending: Sending, call: Call) -> Self {
        let Sending { head, body, answers_head } = sending;
        Self { state: State::Start(body), head, call: Some(call), again: 0, answers_head }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<OriginBody>, UpstreamError>> {
        const DONE: &str = "polled after it had completed";
        loop {
            let call = self.call.as_ref().expect(DONE);
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::Start(body) => match call.lease.shared.take_room(call.lease.in_flight.server()) {
                    Some(slot) => self.begin(slot, body)?,
                    None => State::Waiting(
                        Box::pin(call.lease.shared.clone().room(call.lease.in_flight.server().clone())),
                        body,
                    ),
                },
                State::Waiting(mut room, body) => match room.as_mut().poll(cx) {
                    Poll::Ready(slot) => self.begin(slot?, body)?,
                    Poll::Pending => {
                        self.state = State::Waiting(room, body);
                        return Poll::Pending;
                    }
                },
                State::Exchanging(mut exchange) => {
                    match exchange.poll_head(cx, |status, headers| call.pass_on(status, headers)) {
                        Poll::Pending => {
                            self.state = State::Exchanging(exchange);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(answer)) => return Poll::Ready(self.answered(exchange, answer)),
                        Poll::Ready(Err(failed)) => self.again(failed)?,
                    }
                }
                State::Done => unreachable!("{DONE}"),
            };
        }
    }

    fn begin(&mut self, slot: Slot, body: Option<SendBody>) -> Result<State, UpstreamError> {
        match Exchange::begin(slot, self.head.clone(), body, self.answers_head) {
            Ok(exchange) => Ok(State::Exchanging(exchange)),
            Err(failed) => self.again(failed),
        }
    }

    fn again(&mut self, failed: Failed) -> Result<State, UpstreamError> {
        match failed.unseen {
            Some(body) if self.again < MOST_AGAIN => {
                self.again += 1;
                Ok(State::Start(body))
            }
            _ => Err(failed.error),
        }
    }

    fn answered(
        &mut self,
        exchange: Exchange,
        answer: Response<h2::RecvStream>,
    ) -> Result<Response<OriginBody>, UpstreamError> {
        let (parts, stream) = answer.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamErrorKind::InvalidResponse.into());
        }
        let Some(mut call) = self.call.take() else { return Err(UpstreamErrorKind::Request.into()) };
        let download = Download::Http2(Box::new(exchange.into_download(&parts.headers, stream)));
        let cookie = call.cookie.take();
        let mut response = Response::from_parts(parts, OriginBody::new(download, call.lease));
        stick(&mut response, cookie);
        Ok(response)
    }
}
