//! A request body on its way from the socket to whoever asks for it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::super::upload::{Demand, Feed, upload};
use super::{End, Exchange, Exchanges, Step};
use crate::Rejection;
use crate::h1::decode::Decoder;
use crate::h1::{Framing, Malformed};
use crate::known::Known;
use crate::serve::body::ServeBody;
use crate::serve::signals::Signals;

/// RFC 9110 section 10.1.1: the client sends its body when it is told to.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request body that is being received.
pub(super) struct Incoming {
    pub(super) feed: Feed,
    /// Its own, since a body may outlast its request in another task.
    pub(super) signals: Arc<Signals>,
    decoder: Decoder,
    /// The client waits to be told to send it.
    pub(super) is_awaited: bool,
}

impl<S, B> Exchanges<S, B>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body,
    B::Data: From<Bytes>,
{
    pub(super) fn begin_upload(
        &mut self,
        framing: Framing,
        is_awaited: bool,
        cx: &Context<'_>,
    ) -> Result<ServeBody, Box<Rejection>> {
        match framing {
            Framing::Length(0) => Ok(ServeBody::none()),
            _ => self.begin_that_upload(framing, is_awaited, cx),
        }
    }

    #[inline(never)]
    fn begin_that_upload(
        &mut self,
        framing: Framing,
        is_awaited: bool,
        cx: &Context<'_>,
    ) -> Result<ServeBody, Box<Rejection>> {
        let length = match framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        let limit = self.app.settings.max_body_bytes;
        if let Some(limit) = limit.filter(|limit| length.is_some_and(|length| length > *limit)) {
            let reason = crate::body::RequestBodyError::TooLarge { limit }.reason();
            return Err(Box::new(Rejection::new("serve", reason)));
        }
        let (feed, upload) = upload(length);
        let signals = Arc::new(Signals::new(self.signals.shared_counters()));
        signals.set_task(cx.waker());
        let body = ServeBody::of_http1(upload, limit, signals.clone());
        self.upload = Some(Incoming { feed, signals, decoder: Decoder::new(framing), is_awaited });
        Ok(body)
    }

    /// Receives the piece of the request body that the service asks for.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Step {
        if self.upload.is_none() { Step::Wait } else { self.poll_that_upload(cx) }
    }

    #[inline(never)]
    fn poll_that_upload(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(upload) = &mut self.upload else { return Step::Wait };
        if upload.feed.demand() != Demand::Piece {
            return Step::Wait;
        }
        loop {
            match upload.decoder.decode(&mut self.line.received) {
                Ok(None) if !upload.decoder.has_ended() => {}
                Ok(piece) => {
                    let has_ended = upload.decoder.has_ended();
                    upload.feed.give(piece, has_ended, cx.waker());
                    if has_ended {
                        self.upload = None;
                    }
                    return Step::Again;
                }
                Err(Malformed) => {
                    self.break_off_upload(io::ErrorKind::InvalidData.into(), cx);
                    return Step::Again;
                }
            }
            if upload.is_awaited && self.line.received.is_empty() && !self.line.out.is_full() {
                upload.is_awaited = false;
                self.line.out.head().extend_from_slice(CONTINUE);
                if let Poll::Ready(Err(_)) = self.line.poll_send(cx) {
                    return Step::End(End::Finished);
                }
            }
            let error = match self.line.poll_receive(cx) {
                Poll::Pending => return Step::Wait,
                Poll::Ready(Ok(1..)) => continue,
                Poll::Ready(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
                Poll::Ready(Err(error)) => error,
            };
            self.break_off_upload(error, cx);
            return Step::Again;
        }
    }

    /// The rest of the request body never comes, and where the next request would begin is unknown.
    pub(super) fn break_off_upload(&mut self, error: io::Error, cx: &Context<'_>) {
        if let Some(upload) = self.upload.take() {
            upload.feed.fail(error, cx.waker());
        }
        (self.asked.keeps_alive, self.has_unread, self.is_over) = (false, true, self.is_over || !self.is_active());
    }

    /// Throws away the rest of a body that the service has given up, as far as it is there. True when that has happened: the
    /// connection goes on behind it, or has come to its end.
    pub(super) fn skip_upload(&mut self) -> bool {
        self.upload.is_some() && self.skip_that_upload()
    }

    #[inline(never)]
    fn skip_that_upload(&mut self) -> bool {
        let Some(upload) = &mut self.upload else { return false };
        if upload.feed.demand() != Demand::GivenUp {
            return false;
        }
        while let Ok(Some(_)) = upload.decoder.decode(&mut self.line.received) {}
        if !upload.decoder.has_ended() || upload.signals.must_close() {
            (self.asked.keeps_alive, self.has_unread) = (false, true);
        }
        self.is_over |= !self.asked.keeps_alive && !matches!(self.exchange.as_deref(), Some(Exchange::Called { .. }));
        self.upload = None;
        true
    }
}

pub(super) fn expects_continue(headers: &HeaderMap, known: Known) -> bool {
    known.any(Known::EXPECT)
        && headers.get(EXPECT).is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
