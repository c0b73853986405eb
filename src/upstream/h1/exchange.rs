//! One request and its answer over a [`Connection`].

use std::io;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::connection::Connection;
use super::download::Download;
use super::framing::{framing, keeps_alive};
use super::head::Head;
use super::upload::{Unsent, Upload};
use crate::aside::aside;
use crate::h1::decode::Decoder;
use crate::known::Known;
use crate::upstream::stream::failure_before_answer;
use crate::{UpstreamError, UpstreamErrorKind};

/// How many interim answers one request may have: an origin that sends them without end never answers.
const MAX_INTERIM: u8 = 32;
/// And how long all of them may be together.
const MAX_INTERIM_BYTES: usize = 64 << 10;

/// A request on its way, whose answer has not come.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Box<Connection>,
    uploaded: bool,
    send_failed: Option<io::Error>,
    answers_head: bool,
    interim: u8,
    interim_bytes: usize,
}

/// An exchange that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: UpstreamError,
    /// The request, when its connection had served another and ended without a byte of an answer: it was most
    /// likely closing when the request was sent.
    pub(crate) unanswered: Option<Upload>,
}

impl Exchange {
    /// Of the request that `connection` holds.
    pub(crate) fn new(connection: Box<Connection>, answers_head: bool) -> Self {
        Self { connection, uploaded: false, send_failed: None, answers_head, interim: 0, interim_bytes: 0 }
    }

    /// Sends the request, and reads the head of the answer, or of the 101 that ends HTTP here. Interim answers before it are
    /// given to `on_interim` as they come.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut on_interim: impl FnMut(Head),
    ) -> Poll<Result<Head, Failed>> {
        if !self.uploaded {
            match self.connection.poll_send(cx) {
                Poll::Pending => aside(),
                Poll::Ready(Ok(())) => self.uploaded = true,
                Poll::Ready(Err(Unsent::Body(error))) => {
                    aside();
                    let error = UpstreamError::with_source(UpstreamErrorKind::Request, error);
                    return Poll::Ready(Err(Failed { error, unanswered: None }));
                }
                Poll::Ready(Err(Unsent::Connection(error))) => {
                    aside();
                    // The origin may have answered before it closed.
                    self.send_failed = Some(error);
                    self.uploaded = true;
                }
            }
        }
        loop {
            if !self.connection.received.is_empty() {
                let before = self.connection.received.len();
                match self.connection.read_head() {
                    Ok(None) => aside(),
                    Ok(Some(head)) if !is_interim(head.status) => return Poll::Ready(Ok(head)),
                    Ok(Some(head)) => {
                        aside();
                        self.interim += 1;
                        self.interim_bytes += before - self.connection.received.len();
                        if self.interim > MAX_INTERIM || self.interim_bytes > MAX_INTERIM_BYTES {
                            return Poll::Ready(Err(self.fail(UpstreamErrorKind::InvalidResponse, None)));
                        }
                        on_interim(head);
                        continue;
                    }
                    Err(_) => return Poll::Ready(Err(self.fail(UpstreamErrorKind::InvalidResponse, None))),
                }
            }
            match ready!(self.connection.poll_receive(cx)) {
                Ok(1..) => {}
                Ok(0) => return Poll::Ready(Err(self.fail(UpstreamErrorKind::Reset, None))),
                Err(error) => {
                    aside();
                    let kind = failure_before_answer(&error, self.connection.was_used());
                    return Poll::Ready(Err(self.fail(kind, Some(error))));
                }
            }
        }
    }

    /// The connection, for whatever follows a 101.
    pub(crate) fn into_connection(self) -> Box<Connection> {
        self.connection
    }

    /// What follows the head: the answer's body, and the rest of the request's where the origin did not wait for it.
    pub(crate) fn into_download(self, head: &Head) -> Result<Download, UpstreamError> {
        let known = Known::of(&head.headers);
        let framing = framing(head.version, head.status, &head.headers, known, self.answers_head)
            .map_err(|_| invalid_response())?;
        let reusable = keeps_alive(head.version, &head.headers, known) && self.send_failed.is_none();
        Ok(Download::new(self.connection, Decoder::new(framing), self.uploaded, reusable))
    }

    #[cold]
    fn fail(&mut self, kind: UpstreamErrorKind, source: Option<io::Error>) -> Failed {
        let silent = self.connection.received.is_empty() && self.interim == 0;
        let resendable = silent && self.connection.was_used() && kind == UpstreamErrorKind::Reset;
        let source = source.or_else(|| self.send_failed.take());
        let error = match source {
            Some(source) => UpstreamError::with_source(kind, source),
            None => UpstreamError::new(kind),
        };
        Failed { error, unanswered: resendable.then(|| self.connection.upload.again()) }
    }
}

#[cold]
fn invalid_response() -> UpstreamError {
    UpstreamErrorKind::InvalidResponse.into()
}

/// 100 and its like come before the answer; a 101 is one.
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
