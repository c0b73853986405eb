//! One body for many readers: it is read from the origin once, by whichever of them needs more, and each gets every byte as
//! it comes.
//!
//! While the body is recorded all of it is kept. A body that outgrows its limit is recorded no longer; it is still passed on
//! to those who read it, and then the slowest of them sets the pace, so that no more than the limit waits for it.

mod borrowed;
mod reader;
mod recording;
mod source;
mod state;
mod wakers;

pub(super) use self::reader::Reader;
pub(super) use self::recording::Recording;
pub use self::recording::WhenAbandoned;
pub(super) use self::source::{FromBody, Source};

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use thiserror::Error;

use self::borrowed::Borrowed;
use self::reader::Next;
use self::state::{Afterwards, End, Place, State};
use self::wakers::Wakers;

/// The body that this one was to be a copy of has failed.
#[derive(Clone, Copy, Debug, Error)]
#[error("the body failed while another client was reading it")]
pub(super) struct SharedBodyFailed;

/// The body, as it comes.
pub(super) struct Stream {
    state: Mutex<State>,
    wakers: Arc<Wakers>,
    when_abandoned: WhenAbandoned,
}

impl Stream {
    /// A body of `length` bytes, if that is known, which begins with `first` and goes on with `source`; and its first reader.
    pub(super) fn open(
        first: Vec<Bytes>,
        source: Pin<Box<dyn Source>>,
        length: Option<u64>,
        limit: u64,
        recording: Option<Box<dyn Recording>>,
        when_abandoned: WhenAbandoned,
    ) -> (Arc<Self>, Reader) {
        let state = State::new(first, source, length, limit, recording);
        let stream = Arc::new(Self { state: Mutex::new(state), wakers: Arc::default(), when_abandoned });
        let reader = Reader::new(stream.clone(), State::FIRST_READER);
        (stream, reader)
    }

    /// A reader from the first byte on. `None` when that is gone.
    pub(super) fn reader(self: &Arc<Self>) -> Option<Reader> {
        let number = self.state().join()?;
        Some(Reader::new(self.clone(), number))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_frame(&self, reader: usize, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            let source = {
                let mut state = self.state();
                if let Some(chunk) = state.next(reader) {
                    let freed = state.pass();
                    drop(state);
                    if freed {
                        self.wakers.wake_all();
                    }
                    return Poll::Ready(Next::Chunk(chunk));
                }
                match state.end {
                    Some(End::Complete) => return Poll::Ready(Next::End(state.trailers.clone())),
                    Some(End::Failed) => return Poll::Ready(Next::Failed(SharedBodyFailed.into())),
                    None => {}
                }
                self.wakers.register(reader, cx.waker());
                if state.is_full() {
                    return Poll::Pending;
                }
                match std::mem::replace(&mut state.source, Place::Away) {
                    Place::Here(source) => source,
                    Place::Away => return Poll::Pending,
                    Place::Gone => {
                        state.source = Place::Gone;
                        return Poll::Ready(Next::Failed(SharedBodyFailed.into()));
                    }
                }
            };
            if let Some(next) = Borrowed::new(self, source).poll() {
                return next;
            }
        }
    }

    fn settle(&self, change: impl FnOnce(&mut State) -> Afterwards) {
        let afterwards = change(&mut self.state());
        if let Some(afterwards) = afterwards {
            afterwards();
        }
        self.wakers.wake_all();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
