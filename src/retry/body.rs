//! Request bodies that can be had more than once.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use thiserror::Error;

use crate::{BoxError, RequestBodyFailed};

pin_project! {
    /// The body of a request on one of its tries: what earlier tries took, and then the rest.
    ///
    /// There is one at a time. A try that is given up loses what is left of the body to the next.
    pub struct ReplayBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        /// The request has one try.
        Once { #[pin] body: B },
        /// The body has ended before it began.
        Empty,
        Shared { source: Arc<Source<B>>, turn: u32, replayed: usize },
    }
}

/// What the tries of one request share.
pub(super) struct Source<B> {
    /// How many bytes may be kept.
    cap: u64,
    state: Mutex<State<B>>,
}

struct State<B> {
    /// What is left. `None` once it has ended or failed.
    rest: Option<Pin<Box<B>>>,
    kept: VecDeque<Bytes>,
    kept_bytes: u64,
    trailers: Option<HeaderMap>,
    /// Whose turn it is.
    turn: u32,
    /// More came than may be kept, or it failed.
    lost: bool,
    /// It was asked for more, and the client has not sent it.
    waits_for_client: bool,
}

/// In place of a number of pieces: the trailers as well.
const ALL: usize = usize::MAX;

/// Another try has the body now.
#[derive(Debug, Error)]
#[error("the request is tried elsewhere")]
struct Superseded;

impl<B: Body<Data = Bytes>> ReplayBody<B> {
    /// For a request that is sent once.
    pub(super) fn once(body: B) -> Self {
        Self { kind: Kind::Once { body } }
    }

    /// The body of the first try, and what the next is made from, of which up to `cap` bytes are kept. `None` in place of
    /// that for a body without a byte, which needs nothing to be had again.
    pub(super) fn first(body: B, cap: u64) -> (Self, Option<Arc<Source<B>>>) {
        if body.is_end_stream() {
            return (Self { kind: Kind::Empty }, None);
        }
        let state = State {
            rest: Some(Box::pin(body)),
            kept: VecDeque::new(),
            kept_bytes: 0,
            trailers: None,
            turn: 0,
            lost: false,
            waits_for_client: false,
        };
        let source = Arc::new(Source { cap, state: Mutex::new(state) });
        (Self { kind: Kind::Shared { source: source.clone(), turn: 0, replayed: 0 } }, Some(source))
    }

    /// Again the body of a request that has none.
    pub(super) fn empty() -> Self {
        Self { kind: Kind::Empty }
    }
}

impl<B> Source<B> {
    /// The body of the next try. Whoever had it before has it no more. It has to be asked before whether it
    /// [is lost](Self::is_lost).
    pub(super) fn again(self: &Arc<Self>) -> ReplayBody<B> {
        let mut state = self.state();
        state.turn += 1;
        ReplayBody { kind: Kind::Shared { source: self.clone(), turn: state.turn, replayed: 0 } }
    }

    /// True while a try waits for the client to send more of it.
    pub(super) fn waits_for_client(&self) -> bool {
        self.state().waits_for_client
    }

    /// True when it cannot be had again: more of it is gone than may be kept, or it has failed.
    pub(super) fn is_lost(&self) -> bool {
        self.state().lost
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Body<Data = Bytes>> State<B> {
    /// How much is left for who has replayed so many of the pieces that were kept.
    fn left_after(&self, replayed: usize) -> SizeHint {
        let kept: u64 = self.kept.iter().skip(replayed).map(|data| data.len() as u64).sum();
        let mut left = self.rest.as_ref().map_or(SizeHint::with_exact(0), |rest| rest.size_hint());
        if let Some(upper) = left.upper() {
            left.set_upper(upper.saturating_add(kept));
        }
        left.set_lower(left.lower().saturating_add(kept));
        left
    }

    fn keep(&mut self, data: &Bytes, cap: u64) {
        if self.lost {
            return;
        }
        self.kept_bytes += data.len() as u64;
        match self.kept_bytes <= cap {
            true => self.kept.push_back(data.clone()),
            false => {
                self.kept.clear();
                self.lost = true;
            }
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = RequestBodyFailed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        match self.project().kind.project() {
            KindProj::Once { body } => body.poll_frame(cx).map_err(RequestBodyFailed::passed_on),
            KindProj::Empty => Poll::Ready(None),
            KindProj::Shared { source, turn, replayed } => {
                let mut state = source.state();
                if state.turn != *turn {
                    return Poll::Ready(Some(Err(RequestBodyFailed::new(Superseded))));
                }
                if let Some(data) = state.kept.get(*replayed) {
                    *replayed += 1;
                    return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
                }
                let Some(rest) = &mut state.rest else {
                    let trailers = state.trailers.clone().filter(|_| *replayed != ALL);
                    *replayed = ALL;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                };
                let polled = rest.as_mut().poll_frame(cx);
                let has_ended = rest.is_end_stream();
                state.waits_for_client = polled.is_pending();
                let frame = ready!(polled);
                if frame.is_none() || has_ended {
                    state.rest = None;
                }
                Poll::Ready(match frame {
                    None => None,
                    Some(Err(error)) => {
                        state.rest = None;
                        state.lost = true;
                        Some(Err(RequestBodyFailed::passed_on(error)))
                    }
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            state.keep(data, source.cap);
                            *replayed = state.kept.len();
                        } else if let Some(trailers) = frame.trailers_ref() {
                            state.trailers = Some(trailers.clone());
                            *replayed = ALL;
                        }
                        Some(Ok(frame))
                    }
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Once { body } => body.is_end_stream(),
            Kind::Empty => true,
            Kind::Shared { source, replayed, .. } => {
                let state = source.state();
                let all_replayed = *replayed >= state.kept.len();
                let no_trailers_left = state.trailers.is_none() || *replayed == ALL;
                state.rest.is_none() && all_replayed && no_trailers_left
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Once { body } => body.size_hint(),
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Shared { source, replayed, .. } => source.state().left_after(*replayed),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Once { .. } => "ReplayBody::Once",
            Kind::Empty => "ReplayBody::Empty",
            Kind::Shared { .. } => "ReplayBody::Shared",
        })
    }
}

#[cfg(test)]
mod tests;
