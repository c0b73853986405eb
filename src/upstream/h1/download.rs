//! Receiving the body of an answer.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::connection::Connection;
use crate::aside::aside;
use crate::h1::decode::Decoder;
use crate::{UpstreamError, UpstreamErrorKind};

/// An answer's body on its way. When it has ended, [`take_connection`](Self::take_connection) has what can be used again.
#[derive(Debug)]
pub(crate) struct Download {
    connection: Option<Box<Connection>>,
    decoder: Decoder,
    /// The request has been sent whole, or has failed to be.
    uploaded: bool,
    reusable: bool,
}

impl Download {
    pub(super) fn new(connection: Box<Connection>, decoder: Decoder, uploaded: bool, reusable: bool) -> Self {
        Self { connection: Some(connection), decoder, uploaded, reusable }
    }

    /// Nothing to receive.
    pub(crate) fn ended() -> Self {
        Self { connection: None, decoder: Decoder::Ended, uploaded: true, reusable: false }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.decoder.has_ended()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.decoder.size_hint()
    }

    /// The connection, once the body has ended, if another request may be sent over it: everything was sent and received,
    /// and nothing came beyond (a second answer to one request would be taken for the next one's).
    pub(crate) fn take_connection(&mut self) -> Option<Box<Connection>> {
        let mut connection = self.connection.take()?;
        if !self.reusable || !self.uploaded || !self.decoder.has_ended() || !connection.received.is_empty() {
            aside();
            return None;
        }
        connection.rest();
        Some(connection)
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let Some(connection) = &mut self.connection else {
            aside();
            return Poll::Ready(None);
        };
        if !self.uploaded
            && let Poll::Ready(sent) = connection.poll_send(cx)
        {
            aside();
            // A request that fails now has its answer all the same; the connection has no further use.
            self.uploaded = true;
            self.reusable &= sent.is_ok();
        }
        loop {
            match self.decoder.decode(&mut connection.received) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.decoder.has_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(_) => {
                    aside();
                    return Poll::Ready(Some(Err(UpstreamErrorKind::InvalidResponse.into())));
                }
            }
            let error = match ready!(connection.poll_receive(cx)) {
                Ok(1..) => continue,
                Ok(0) if self.decoder.may_end_with_connection() => {
                    aside();
                    self.decoder = Decoder::Ended;
                    self.reusable = false;
                    return Poll::Ready(None);
                }
                Ok(0) => UpstreamError::new(UpstreamErrorKind::Truncated),
                Err(error) => UpstreamError::with_source(UpstreamErrorKind::Truncated, error),
            };
            aside();
            return Poll::Ready(Some(Err(error)));
        }
    }
}
