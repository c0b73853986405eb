//! From the service's answer to the client's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::super::encode::{Encoder, strip_trailers, switches, write_head};
use super::{End, Exchange, ExchangeProj, Exchanges, READ_AHEAD, Step};
use crate::aside::aside;
use crate::body::ResponseBody;
use crate::serve::app::{self, Panicked, guarded, internal_error};
use crate::serve::body::ServeBody;
use crate::{Oneshot, Rejection, recycle, turn};

impl<S, B> Exchanges<S, B>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body,
    B::Data: From<Bytes>,
{
    pub(super) fn poll_called(&mut self, cx: &mut Context<'_>) -> Step {
        turn::begin(std::mem::take(&mut self.others_go_first));
        let place = self.exchange.as_mut().map(|place| place.as_mut().project());
        let Some(ExchangeProj::Called { future }) = place else { return Step::Again };
        match app::poll(future, cx) {
            Poll::Ready(Ok(response)) => {
                let exact = response.body().size_hint().exact();
                self.answer(response, exact, ResponseBody::inner);
            }
            Poll::Ready(Err(_)) => {
                aside();
                self.signals.counters().service_errors.add_one();
                self.fail();
            }
            // It is polled again before anything can have come.
            Poll::Pending if turn::was_given() => return Step::GiveWay,
            Poll::Pending if self.interim.is_waiting() && !self.line.out.is_full() => {
                aside();
                self.interim.take(self.line.out.head());
            }
            Poll::Pending => return self.poll_meanwhile(cx),
        }
        Step::Again
    }

    /// The answer to a request that the service is not given.
    #[cold]
    pub(super) fn refuse(&mut self, rejection: &Rejection) {
        let answer = self.app.settings.refusal(rejection, false);
        self.answer_and_close(answer);
    }

    /// The answer to a request that the service has none for. Its id, if it got one, is lost with it.
    #[cold]
    pub(super) fn fail(&mut self) {
        self.answer_and_close(internal_error().response(None));
    }

    fn answer_and_close(&mut self, answer: Response<Bytes>) {
        self.asked.keeps_alive = false;
        let exact = Some(answer.body().len() as u64);
        self.answer(answer, exact, ResponseBody::own);
    }

    /// Begins the answer, whose body has this length, where that is known. Kept out of line, so that it is moved no more often
    /// than that.
    #[inline(never)]
    fn answer<T>(&mut self, mut response: Response<T>, exact: Option<u64>, body: impl FnOnce(T) -> ResponseBody<B>) {
        let switches = switches(response.status(), &self.asked);
        if (switches && self.offer.is_none()) || (response.status().is_informational() && !switches) {
            // It is no answer, and there is nothing to switch to.
            aside();
            self.signals.counters().service_errors.add_one();
            return self.fail();
        }
        // A body that nobody will read is the end of the connection, unless all of it is there.
        self.skip_upload();
        if let Some(upload) = &mut self.upload {
            aside();
            // The client waits to be told to send a body, and is told something else: whether it will send one, nobody knows.
            let is_awaited = std::mem::take(&mut upload.is_awaited);
            self.asked.keeps_alive &= !is_awaited && !upload.signals.must_close();
        }
        if self.signals.counters().drain.is_draining() {
            aside();
            self.asked.keeps_alive = false;
        }
        if self.interim.close() {
            aside();
            self.interim.take(self.line.out.head());
        }
        let written = write_head(self.line.out.head(), &response, exact, &self.asked);
        recycle::give_headers(std::mem::take(response.headers_mut()));
        self.asked.keeps_alive = written.keeps_alive;
        self.line.socket.would_mislead(written.encoder == Encoder::UntilClose);
        if switches {
            aside();
            self.place().set(Exchange::Switching);
        } else if matches!(written.encoder, Encoder::None | Encoder::Length(0)) {
            self.end_answer();
        } else {
            let body = body(response.into_body());
            self.place().set(Exchange::Answering { body, encoder: written.encoder });
        }
    }

    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Step {
        loop {
            if self.line.out.is_full() {
                // It is sent before anything is added.
                aside();
                return Step::Again;
            }
            let place = self.exchange.as_mut().map(|place| place.as_mut().project());
            let Some(ExchangeProj::Answering { body, encoder }) = place else { return Step::Again };
            let mut body = body;
            let frame = match body.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    aside();
                    return match self.line.poll_send(cx) {
                        Poll::Ready(Err(_)) => Step::End(End::Finished),
                        _ => self.poll_meanwhile(cx),
                    };
                }
            };
            let is_whole = match frame {
                None => {
                    self.line.out.end(*encoder, None);
                    true
                }
                Some(Err(_)) => {
                    aside();
                    false
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let is_last = body.is_end_stream();
                        match self.line.out.add(data, encoder, is_last) {
                            Ok(()) if !is_last && *encoder != Encoder::Length(0) => continue,
                            added => added.is_ok(),
                        }
                    }
                    Err(frame) => {
                        aside();
                        let mut trailers = frame.into_trailers().ok().filter(|_| self.asked.takes_trailers);
                        trailers.iter_mut().for_each(strip_trailers);
                        self.line.out.end(*encoder, trailers.as_ref());
                        true
                    }
                },
            };
            if !is_whole || matches!(*encoder, Encoder::Length(1..)) {
                aside();
                // What has been given is sent; that it is not all, the end of the connection says.
                let _ = self.line.poll_send(cx);
                return Step::End(End::Finished);
            }
            self.end_answer();
            return Step::Again;
        }
    }

    /// The place of the current request.
    pub(super) fn place(&mut self) -> Pin<&mut Exchange<Oneshot<S, Request<ServeBody>>, B>> {
        let place =
            self.exchange.get_or_insert_with(|| self.places.take().unwrap_or_else(|| Box::pin(Exchange::Empty)));
        place.as_mut()
    }

    fn end_answer(&mut self) {
        if let Some(mut place) = self.exchange.take() {
            // The answer has been given whole: if its body panics now, there is nothing to answer to that.
            match guarded(|| place.set(Exchange::Empty)) {
                Ok(()) => self.places.give(place),
                Err(Panicked) => {
                    aside();
                    self.signals.counters().panics.add_one();
                    self.asked.keeps_alive = false;
                }
            }
        }
        self.line.rest();
        self.is_over |= !self.asked.keeps_alive;
    }

    /// Whatever else there is to do for a request whose answer waits.
    pub(super) fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Step {
        match self.poll_upload(cx) {
            Step::Wait => {}
            step => return step,
        }
        // Whether the client is there still.
        while !self.line.has_ended && self.line.received.len() < READ_AHEAD {
            match self.line.poll_receive(cx) {
                Poll::Ready(Ok(_)) => aside(),
                Poll::Ready(Err(_)) => {
                    aside();
                    return Step::End(End::Finished);
                }
                Poll::Pending => break,
            }
        }
        Step::Wait
    }
}
