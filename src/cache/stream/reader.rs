use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::state::{End, Place};
use super::{Stream, WhenAbandoned};
use crate::BoxError;

/// What a reader gets.
pub(super) enum Next {
    Chunk(Bytes),
    Failed(BoxError),
    End(Option<HeaderMap>),
}

/// One client's way through the body.
pub(in crate::cache) struct Reader {
    stream: Arc<Stream>,
    number: usize,
    consumed: u64,
    trailers_read: bool,
    /// It reads for nobody, in the background.
    drains: bool,
}

impl Reader {
    pub(super) fn new(stream: Arc<Stream>, number: usize) -> Self {
        Self { stream, number, consumed: 0, trailers_read: false, drains: false }
    }

    pub(in crate::cache) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.stream.poll_frame(self.number, cx).map(|next| match next {
            Next::Chunk(chunk) => {
                self.consumed += chunk.len() as u64;
                Some(Ok(Frame::data(chunk)))
            }
            Next::Failed(error) => Some(Err(error)),
            Next::End(Some(trailers)) if !self.trailers_read => {
                self.trailers_read = true;
                Some(Ok(Frame::trailers(trailers)))
            }
            Next::End(_) => None,
        })
    }

    pub(in crate::cache) fn is_end_stream(&self) -> bool {
        let state = self.stream.state();
        let complete = state.end == Some(End::Complete) && state.has_read(self.number);
        complete && (state.trailers.is_none() || self.trailers_read)
    }

    pub(in crate::cache) fn size_hint(&self) -> SizeHint {
        let state = self.stream.state();
        if state.end == Some(End::Complete) {
            return SizeHint::with_exact(state.received - self.consumed);
        }
        if let Some(length) = state.length {
            return SizeHint::with_exact(length.saturating_sub(self.consumed));
        }
        let mut hint = SizeHint::new();
        hint.set_lower(state.received - self.consumed);
        hint
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.stream.state();
        let was_last = state.leave(self.number);
        self.stream.wakers.unregister(self.number);
        if state.end.is_some() {
            return;
        }
        if !was_last {
            state.pass();
            drop(state);
            // Whoever was to poll the source next may have been this one.
            self.stream.wakers.wake_all();
            return;
        }
        // A runtime that shuts down drops what it runs: that is not taken up again.
        let finishes = self.stream.when_abandoned == WhenAbandoned::Finish && state.is_recorded() && !self.drains;
        if finishes && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            state.take_over(self.number);
            drop(state);
            let (stream, number) = (self.stream.clone(), self.number);
            let mut reader = Self { stream, number, consumed: 0, trailers_read: true, drains: true };
            runtime.spawn(async move { while let Some(Ok(_)) = poll_fn(|cx| reader.poll_frame(cx)).await {} });
            return;
        }
        let source = std::mem::replace(&mut state.source, Place::Gone);
        let afterwards = state.fail();
        drop(state);
        drop(source);
        if let Some(afterwards) = afterwards {
            afterwards();
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("consumed", &self.consumed).finish_non_exhaustive()
    }
}
