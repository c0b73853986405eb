use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;

use super::reader::Next;
use super::state::{Place, State};
use super::{Source, Stream};

/// The origin's body while one reader polls it. Dropped by a panic, it is gone, and the others are told.
pub(super) struct Borrowed<'a> {
    stream: &'a Stream,
    source: Option<Pin<Box<dyn Source>>>,
}

impl<'a> Borrowed<'a> {
    pub(super) fn new(stream: &'a Stream, source: Pin<Box<dyn Source>>) -> Self {
        Self { stream, source: Some(source) }
    }

    /// Polls the origin's body without holding the lock: it may take its time, wake its reader at once, or panic. `None` when
    /// there is something to look at.
    pub(super) fn poll(mut self) -> Option<Poll<Next>> {
        let wakers = &self.stream.wakers;
        wakers.forget_calls();
        let waker = Waker::from(wakers.clone());
        let polled = self.source.as_mut()?.as_mut().poll_frame(&mut Context::from_waker(&waker));
        match polled {
            Poll::Pending => {
                self.give_back();
                // Who was woken while the source was away has found nothing, and will not come again for it.
                return if wakers.were_called() { None } else { Some(Poll::Pending) };
            }
            Poll::Ready(Some(Ok(frame))) => self.received(frame),
            Poll::Ready(Some(Err(error))) => {
                self.failed();
                return Some(Poll::Ready(Next::Failed(error)));
            }
            Poll::Ready(None) => self.ended(),
        }
        None
    }

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
