//! One request and its answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;

use super::connections::Slot;
use super::download::Download;
use crate::upstream::body::SendBody;
use crate::{BoxError, UpstreamError, UpstreamErrorKind};

/// So much of a request is asked room for at once, which is a frame: streams take turns by these.
const PIECE: usize = 16 << 10;

/// How many interim answers one request may have.
const MAX_INTERIM: u8 = 32;

/// A request on its way, whose answer has not come.
#[derive(Debug)]
pub(in crate::upstream) struct Exchange {
    answer: ResponseFuture,
    upload: Upload,
    slot: Slot,
    interim: u8,
    answers_head: bool,
}

/// A request's body on its way.
#[derive(Debug)]
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Option<SendBody>,
    data: Bytes,
    ends: bool,
    /// Something of the body was taken, which cannot be had again.
    began: bool,
}

/// An exchange that failed.
#[derive(Debug)]
pub(in crate::upstream) struct Failed {
    pub(in crate::upstream) error: UpstreamError,
    /// The server says that it has not looked at the request, whose body is here whole: it may be sent again.
    pub(in crate::upstream) unseen: Option<Option<SendBody>>,
    /// It asks for this request over HTTP/1.1 (RFC 9113 section 7).
    pub(in crate::upstream) needs_http1: bool,
}

impl Failed {
    fn seen(error: UpstreamError) -> Self {
        Self { error, unseen: None, needs_http1: false }
    }
}

impl Exchange {
    /// Sends the head of a request.
    pub(in crate::upstream) fn begin(
        mut slot: Slot,
        request: Request<()>,
        body: Option<SendBody>,
        answers_head: bool,
    ) -> Result<Self, Failed> {
        match slot.sender.send_request(request, body.is_none()) {
            Ok((answer, stream)) => {
                let upload = Upload { stream, body, data: Bytes::new(), ends: false, began: false };
                Ok(Self { answer, upload, slot, interim: 0, answers_head })
            }
            Err(error) => {
                slot.give_up();
                // Nothing was sent: the connection was going away, or had no numbers left.
                let error = UpstreamError::with_source(UpstreamErrorKind::Refused, error);
                Err(Failed { error, unseen: Some(body), needs_http1: false })
            }
        }
    }

    /// Sends the body, and reads the head of the answer. Interim answers before it are given to `on_interim` as they come.
    pub(in crate::upstream) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut on_interim: impl FnMut(StatusCode, HeaderMap),
    ) -> Poll<Result<Response<RecvStream>, Failed>> {
        if let Poll::Ready(Err(error)) = self.upload.poll(cx) {
            let error = UpstreamError::with_source(UpstreamErrorKind::Request, error);
            return Poll::Ready(Err(Failed::seen(error)));
        }
        while let Poll::Ready(Some(interim)) = self.answer.poll_informational(cx) {
            // An error shows again below.
            let Ok(interim) = interim else { break };
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                self.upload.stream.send_reset(Reason::ENHANCE_YOUR_CALM);
                let error = UpstreamError::new(UpstreamErrorKind::InvalidResponse);
                return Poll::Ready(Err(Failed::seen(error)));
            }
            let (parts, ()) = interim.into_parts();
            on_interim(parts.status, parts.headers);
        }
        Poll::Ready(match ready!(Pin::new(&mut self.answer).poll(cx)) {
            Ok(answer) if has_valid_values(answer.headers()) => Ok(answer),
            Ok(_) => Err(Failed::seen(UpstreamErrorKind::InvalidResponse.into())),
            Err(error) => Err(self.failed(error)),
        })
    }

    fn failed(&mut self, error: h2::Error) -> Failed {
        let kind = before_head(&error);
        let needs_http1 = error.is_remote() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED);
        let is_unseen = kind == UpstreamErrorKind::Refused || needs_http1;
        let unseen = (is_unseen && !self.upload.began).then(|| self.upload.body.take());
        if error.is_go_away() {
            self.slot.give_up();
        }
        Failed { error: UpstreamError::with_source(kind, error), unseen, needs_http1 }
    }

    /// What follows the head: the answer's body, and the rest of the request's where the origin did not wait for it.
    pub(in crate::upstream) fn into_download(self, headers: &HeaderMap, stream: RecvStream) -> Download {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length = if self.answers_head { None } else { length };
        Download::new(stream, self.upload, self.slot, length)
    }
}

/// RFC 9113 section 8.2.1: a value neither begins nor ends in white space. Others would trim it, and see another value.
fn has_valid_values(headers: &HeaderMap) -> bool {
    let is_white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    headers.values().all(|value| {
        let value = value.as_bytes();
        !is_white(value.first()) && !is_white(value.last())
    })
}

/// What an error before the head of an answer means.
fn before_head(error: &h2::Error) -> UpstreamErrorKind {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // A stream above the last that a GOAWAY names fails by that GOAWAY (RFC 9113 section 6.8), those below go on.
    let went_away = error.is_go_away() && error.is_remote();
    if refused || went_away {
        return UpstreamErrorKind::Refused;
    }
    if error.is_library() || error.is_go_away() {
        // This side found fault with what came.
        return UpstreamErrorKind::InvalidResponse;
    }
    UpstreamErrorKind::Reset
}

impl Upload {
    /// Ready when the request is sent, or the server wants no more of it. An error is the body's own.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            while !self.data.is_empty() {
                let mut room = self.stream.capacity();
                if room == 0 {
                    self.stream.reserve_capacity(self.data.len().min(PIECE));
                    room = match ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return self.unwanted(),
                    };
                }
                let piece = self.data.split_to(room.min(self.data.len()));
                let ends = self.ends && self.data.is_empty();
                if self.stream.send_data(piece, ends).is_err() {
                    return self.unwanted();
                }
                if ends {
                    self.body = None;
                }
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            if self.stream.poll_reset(cx).is_ready() {
                return self.unwanted();
            }
            let sent = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.began = true;
                    match frame.into_data() {
                        Ok(data) => {
                            self.ends = body.is_end_stream();
                            if !data.is_empty() || !self.ends {
                                self.data = data;
                                continue;
                            }
                            self.stream.send_data(Bytes::new(), true)
                        }
                        Err(frame) => match frame.into_trailers() {
                            Ok(trailers) => self.stream.send_trailers(trailers),
                            Err(_) => continue,
                        },
                    }
                }
                Some(Err(error)) => {
                    self.body = None;
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(error));
                }
                None => self.stream.send_data(Bytes::new(), true),
            };
            self.body = None;
            if sent.is_err() {
                return self.unwanted();
            }
        }
    }

    /// The server has reset the stream; why shows where its answer is read, which may be there whole.
    fn unwanted(&mut self) -> Poll<Result<(), BoxError>> {
        if self.began {
            self.body = None;
        }
        self.data = Bytes::new();
        Poll::Ready(Ok(()))
    }
}
