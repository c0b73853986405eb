//! Watches one call from its beginning to the end of its answer's body, and says once what became of it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{CallError, Classifier, Outcome, Verdict};
use crate::RequestContext;

/// Whoever wants to know what becomes of a call.
pub trait Judge {
    fn classifier(&self) -> &dyn Classifier;

    /// The head of an answer is there.
    fn answered(&mut self) {}

    /// What became of it. It is said once.
    fn judged(self, outcome: Outcome);
}

/// A call under way. Dropping it is giving the call up.
pub(crate) struct Watch<J: Judge> {
    judge: Option<J>,
    context: Option<RequestContext>,
    answers_head: bool,
    verdict: Option<Verdict>,
}

impl<J: Judge> Watch<J> {
    /// A call with this method begins.
    pub(crate) fn new(judge: J, method: &Method, context: Option<RequestContext>) -> Self {
        Self { judge: Some(judge), context, answers_head: method == Method::HEAD, verdict: None }
    }

    /// The head is there; `has_ended` tells that no body follows.
    pub(crate) fn head(&mut self, status: StatusCode, headers: &HeaderMap, has_ended: bool) {
        let Some(judge) = &mut self.judge else { return };
        judge.answered();
        let verdict = judge.classifier().head(status, headers);
        self.verdict = Some(verdict);
        // Nobody reads a body of these: dropping it is its completion.
        let unread = self.answers_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match verdict {
            Verdict::Now(outcome) => self.judge(outcome),
            _ if has_ended || unread => self.ended(),
            _ => {}
        }
    }

    pub(crate) fn failed<E: 'static>(&mut self, error: &E) {
        if let Some(judge) = &self.judge {
            let outcome = judge.classifier().error(&CallError::new(error));
            self.judge(outcome);
        }
    }

    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if let (Some(judge), Some(Verdict::InTrailers)) = (&self.judge, self.verdict) {
            let outcome = judge.classifier().trailers(Some(trailers));
            self.judge(outcome);
        }
    }

    pub(crate) fn ended(&mut self) {
        let Some(judge) = &self.judge else { return };
        let outcome = match self.verdict {
            Some(Verdict::Now(outcome) | Verdict::AtEnd(outcome)) => outcome,
            Some(Verdict::InTrailers) => judge.classifier().trailers(None),
            None => Outcome::Ignored,
        };
        self.judge(outcome);
    }

    /// What a frame of the body tells, and whether it was the last.
    pub(crate) fn frame<D, E: 'static>(&mut self, frame: Option<&Result<Frame<D>, E>>, is_last: bool) {
        match frame {
            None => self.ended(),
            Some(Err(error)) => self.failed(error),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.trailers(trailers);
                }
                if is_last {
                    self.ended();
                }
            }
        }
    }

    fn judge(&mut self, outcome: Outcome) {
        if let Some(judge) = self.judge.take() {
            judge.judged(outcome);
        }
    }
}

impl<J: Judge> Drop for Watch<J> {
    fn drop(&mut self) {
        let Some(judge) = &self.judge else { return };
        let outcome = match self.context.as_ref().and_then(RequestContext::upstream_error) {
            // Whoever gives a call up for a reason says so before it is dropped.
            Some(error) => judge.classifier().error(&CallError::new(&error)),
            None => judge.classifier().dropped(match self.verdict {
                Some(Verdict::Now(outcome) | Verdict::AtEnd(outcome)) => Some(outcome),
                Some(Verdict::InTrailers) | None => None,
            }),
        };
        self.judge(outcome);
    }
}

impl<J: Judge> fmt::Debug for Watch<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("judged", &self.judge.is_none()).finish_non_exhaustive()
    }
}

pin_project! {
    /// The body of an answer whose end is waited for, to tell what became of the call. It passes everything on.
    pub struct WatchedBody<B, J: Judge> {
        #[pin]
        body: B,
        watch: Option<Watch<J>>,
    }
}

impl<B, J: Judge> WatchedBody<B, J> {
    pub(crate) fn new(body: B, watch: Option<Watch<J>>) -> Self {
        Self { body, watch }
    }
}

impl<B, J: Judge> fmt::Debug for WatchedBody<B, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBody").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl<B, J> Body for WatchedBody<B, J>
where
    B: Body,
    B::Error: 'static,
    J: Judge,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(watch) = this.watch {
            // Nobody polls again after the last frame.
            watch.frame(frame.as_ref(), this.body.is_end_stream());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
