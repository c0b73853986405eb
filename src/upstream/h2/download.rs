//! Receiving the body of an answer.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::connections::Slot;
use super::exchange::Upload;
use crate::{UpstreamError, UpstreamErrorKind};

/// An answer's body on its way. Of each piece the server learns when it has been taken: a reader that is slow holds it back,
/// and no other answer on the connection.
#[derive(Debug)]
pub(in crate::upstream) struct Download {
    stream: RecvStream,
    upload: Upload,
    /// `None` once all has come.
    slot: Option<Slot>,
    length: Option<u64>,
    data_ended: bool,
}

impl Download {
    pub(super) fn new(stream: RecvStream, upload: Upload, slot: Slot, length: Option<u64>) -> Self {
        let has_ended = stream.is_end_stream();
        Self { stream, upload, slot: (!has_ended).then_some(slot), length, data_ended: false }
    }

    pub(in crate::upstream) fn has_ended(&self) -> bool {
        self.slot.is_none()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match self.length {
            _ if self.has_ended() => SizeHint::with_exact(0),
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if self.has_ended() {
            return Poll::Ready(None);
        }
        // A request that fails now has its answer all the same.
        let _ = self.upload.poll(cx);
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It fails for a stream that has ended meanwhile, and then matters to nobody.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
                    if self.stream.is_end_stream() {
                        self.slot = None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.failed(error)))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => {
                self.slot = None;
                trailers.map(|trailers| Ok(Frame::trailers(trailers)))
            }
            Err(error) => Some(Err(self.failed(error))),
        })
    }

    fn failed(&mut self, error: h2::Error) -> UpstreamError {
        let kind = match error.is_library() {
            true => UpstreamErrorKind::InvalidResponse,
            false => UpstreamErrorKind::Truncated,
        };
        self.slot = None;
        UpstreamError::with_source(kind, error)
    }
}
