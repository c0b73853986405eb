//! One body for many readers: it is read from the origin once, by whichever of them needs more, and each gets every byte as
//! it comes.
//!
//! While the body is recorded all of it is kept. A body that outgrows its limit is recorded no longer; it is still passed on
//! to those who read it, and then the slowest of them sets the pace, so that no more than the limit waits for it.

mod source;
mod wakers;

pub(super) use self::source::{FromBody, Source};

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use thiserror::Error;

use self::wakers::Wakers;
use crate::BoxError;

/// The body that this one was to be a copy of has failed.
#[derive(Clone, Copy, Debug, Error)]
#[error("the body failed while another client was reading it")]
pub(super) struct SharedBodyFailed;

/// What a body is recorded into.
pub(super) trait Recording: Send {
    /// The body has come to its end, and this is all of it.
    fn complete(self: Box<Self>, chunks: Vec<Bytes>, trailers: Option<HeaderMap>);

    /// The body is not to be stored: it failed, was too long, or nobody is left to read it.
    fn give_up(self: Box<Self>, too_long: bool);
}

/// What becomes of a body that nobody reads any more, before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAbandoned {
    /// It is read to its end in the background, and stored.
    #[default]
    Finish,
    /// It is given up, and with it the connection to the origin.
    Drop,
}

pub(super) struct Stream {
    state: Mutex<State>,
    wakers: Arc<Wakers>,
    when_abandoned: WhenAbandoned,
}

struct State {
    chunks: VecDeque<Bytes>,
    /// Chunks before these, which every reader has had.
    passed: usize,
    /// Bytes in `chunks`.
    held: u64,
    /// Bytes that came at all.
    received: u64,
    /// What the head says they will be.
    length: Option<u64>,
    limit: u64,
    trailers: Option<HeaderMap>,
    end: Option<End>,
    source: Place,
    /// The next chunk of each reader, by its number.
    readers: Vec<Option<usize>>,
    recording: Option<Box<dyn Recording>>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Complete,
    Failed,
}

enum Place {
    Here(Pin<Box<dyn Source>>),
    /// A reader is polling it right now.
    Away,
    Gone,
}

/// What is done once the lock is released.
type Afterwards = Option<Box<dyn FnOnce() + Send>>;

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
        let received = first.iter().map(|chunk| chunk.len() as u64).sum();
        let stream = Arc::new(Self {
            state: Mutex::new(State {
                chunks: first.into(),
                passed: 0,
                held: received,
                received,
                length,
                limit,
                trailers: None,
                end: None,
                source: Place::Here(source),
                readers: vec![Some(0)],
                recording,
            }),
            wakers: Arc::default(),
            when_abandoned,
        });
        let reader = Reader { stream: stream.clone(), number: 0, consumed: 0, trailers_read: false, drains: false };
        (stream, reader)
    }

    /// A reader from the first byte on. `None` when that is gone.
    pub(super) fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state();
        let is_kept = state.recording.is_some() || state.end == Some(End::Complete);
        if !is_kept || state.passed > 0 {
            return None;
        }
        let free = state.readers.iter().position(Option::is_none);
        let number = free.unwrap_or(state.readers.len());
        match free {
            Some(number) => state.readers[number] = Some(0),
            None => state.readers.push(Some(0)),
        }
        Some(Reader { stream: self.clone(), number, consumed: 0, trailers_read: false, drains: false })
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
            if let Some(next) = self.poll_source(source) {
                return next;
            }
        }
    }

    /// Polls the origin's body without holding the lock: it may take its time, wake its reader at once, or panic. `None` when
    /// there is something to look at.
    fn poll_source(&self, source: Pin<Box<dyn Source>>) -> Option<Poll<Next>> {
        let mut borrowed = Borrowed { stream: self, source: Some(source) };
        self.wakers.forget_calls();
        let waker = Waker::from(self.wakers.clone());
        let mut cx = Context::from_waker(&waker);
        let polled = match &mut borrowed.source {
            Some(source) => source.as_mut().poll_frame(&mut cx),
            None => return None,
        };
        match polled {
            Poll::Pending => {
                borrowed.give_back();
                // Who was woken while the source was away has found nothing, and will not come again for it.
                if self.wakers.were_called() { None } else { Some(Poll::Pending) }
            }
            Poll::Ready(Some(Ok(frame))) => {
                borrowed.received(frame);
                None
            }
            Poll::Ready(Some(Err(error))) => {
                borrowed.failed();
                Some(Poll::Ready(Next::Failed(error)))
            }
            Poll::Ready(None) => {
                borrowed.ended();
                None
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

impl State {
    fn next(&mut self, reader: usize) -> Option<Bytes> {
        let at = self.readers.get_mut(reader)?.as_mut()?;
        let chunk = self.chunks.get(*at - self.passed)?.clone();
        *at += 1;
        Some(chunk)
    }

    /// Lets go of what every reader has had, unless it is recorded. True when somebody may have waited for that.
    fn pass(&mut self) -> bool {
        if self.recording.is_some() || self.end == Some(End::Complete) {
            return false;
        }
        let slowest = self.readers.iter().flatten().min().copied().unwrap_or(self.passed);
        let was_full = self.is_full();
        while self.passed < slowest
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.passed += 1;
            self.held -= chunk.len() as u64;
        }
        was_full && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.recording.is_none() && self.held > 0 && self.held >= self.limit
    }

    fn receive(&mut self, frame: Frame<Bytes>) -> Afterwards {
        match frame.into_data() {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => {
                self.received += chunk.len() as u64;
                self.held += chunk.len() as u64;
                self.chunks.push_back(chunk);
                if self.received > self.limit { self.give_up(true) } else { None }
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                None
            }
        }
    }

    fn complete(&mut self) -> Afterwards {
        self.end = Some(End::Complete);
        self.source = Place::Gone;
        // A body of another length than its head says is not what the origin meant.
        if self.length.is_some_and(|length| length != self.received) {
            return self.give_up(false);
        }
        let recording = self.recording.take()?;
        let (chunks, trailers) = (self.chunks.iter().cloned().collect(), self.trailers.clone());
        Some(Box::new(move || recording.complete(chunks, trailers)))
    }

    fn fail(&mut self) -> Afterwards {
        self.end = Some(End::Failed);
        self.source = Place::Gone;
        self.give_up(false)
    }

    fn give_up(&mut self, too_long: bool) -> Afterwards {
        let recording = self.recording.take()?;
        Some(Box::new(move || recording.give_up(too_long)))
    }
}

/// The origin's body while one reader polls it. Dropped by a panic, it is gone, and the others are told.
struct Borrowed<'a> {
    stream: &'a Stream,
    source: Option<Pin<Box<dyn Source>>>,
}

impl Borrowed<'_> {
    fn give_back(&mut self) {
        if let Some(source) = self.source.take() {
            let mut state = self.stream.state();
            // Nobody is left, and nobody will come.
            if state.end.is_none() {
                state.source = Place::Here(source);
            }
        }
    }

    fn received(&mut self, frame: Frame<Bytes>) {
        let Some(source) = self.source.take() else { return };
        self.stream.settle(|state| {
            let mut afterwards = state.receive(frame);
            // A body that says it has ended need not be polled for that.
            if source.is_end_stream() {
                let ended = state.complete();
                afterwards = match (afterwards, ended) {
                    (Some(first), Some(then)) => Some(Box::new(move || {
                        first();
                        then();
                    })),
                    (first, then) => first.or(then),
                };
            } else {
                state.source = Place::Here(source);
            }
            afterwards
        });
    }

    fn ended(&mut self) {
        self.source = None;
        self.stream.settle(State::complete);
    }

    fn failed(&mut self) {
        self.source = None;
        self.stream.settle(State::fail);
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if self.source.is_some() {
            self.failed();
        }
    }
}

enum Next {
    Chunk(Bytes),
    Failed(BoxError),
    End(Option<HeaderMap>),
}

/// One client's way through the body.
pub(super) struct Reader {
    stream: Arc<Stream>,
    number: usize,
    consumed: u64,
    trailers_read: bool,
    /// It reads for nobody, in the background.
    drains: bool,
}

impl Reader {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
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

    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.stream.state();
        let read = state.readers.get(self.number).copied().flatten() == Some(state.passed + state.chunks.len());
        state.end == Some(End::Complete) && read && (state.trailers.is_none() || self.trailers_read)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
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
        state.readers[self.number] = None;
        self.stream.wakers.unregister(self.number);
        if state.end.is_some() {
            return;
        }
        if state.readers.iter().any(Option::is_some) {
            state.pass();
            drop(state);
            // Whoever was to poll the source next may have been this one.
            self.stream.wakers.wake_all();
            return;
        }
        // A runtime that shuts down drops what it runs: that is not taken up again.
        let finishes = self.stream.when_abandoned == WhenAbandoned::Finish && state.recording.is_some() && !self.drains;
        if finishes && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            state.readers[self.number] = Some(state.passed + state.chunks.len());
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

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("consumed", &self.consumed).finish_non_exhaustive()
    }
}
