//! The bodies on both ways: streamed, filtered and timed, never collected.

use std::error::Error as _;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::fields::strip_forbidden_trailers;
use super::timeouts::{Timer, UploadProgress};
use crate::aside::aside;
use crate::{BoxError, NameSet, RequestBodyFailed, RequestContext, UpstreamError, UpstreamErrorKind};
use std::sync::Arc;

pin_project! {
    /// The body of a request on its way to the origin: the client's, with its trailers filtered.
    ///
    /// Its error is [`RequestBodyFailed`], so that a client that fails because of it can be told from an origin that fails.
    pub struct ForwardBody<B> {
        #[pin]
        body: B,
        progress: Option<UploadProgress>,
        stripped: Option<Arc<NameSet>>,
        // Knows of further names that its trailers must not have.
        context: Option<RequestContext>,
    }
}

impl<B> ForwardBody<B> {
    pub(super) fn new(
        body: B,
        progress: Option<UploadProgress>,
        stripped: Option<Arc<NameSet>>,
        context: Option<RequestContext>,
    ) -> Self {
        Self { body, progress, stripped, context }
    }
}

impl<B> fmt::Debug for ForwardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardBody").finish_non_exhaustive()
    }
}

impl<B> Body for ForwardBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = RequestBodyFailed;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, RequestBodyFailed>>> {
        let mut this = self.project();
        let progress = this.progress.as_ref();
        let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
            progress.inspect(|progress| progress.waits_for_client());
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(_)) if !this.body.is_end_stream() => progress.inspect(|progress| progress.gave_a_piece()),
            _ => progress.inspect(|progress| progress.ended()),
        };
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(filter_trailers(frame, || {
                let context = this.context.as_ref();
                let of_request = [
                    context.and_then(RequestContext::credential_headers),
                    context.and_then(RequestContext::identity_headers),
                ];
                [this.stripped.as_ref()].into_iter().chain(of_request).flatten().map(|names| &**names)
            })),
            Err(error) => Err(RequestBodyFailed::new(error)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn filter_trailers<'a, D, I>(frame: Frame<D>, stripped: impl FnOnce() -> I) -> Frame<D>
where
    I: IntoIterator<Item = &'a NameSet>,
{
    match frame.into_trailers() {
        Ok(mut trailers) => {
            aside();
            strip_forbidden_trailers(&mut trailers);
            for names in stripped() {
                names.remove_from(&mut trailers);
            }
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

pin_project! {
    /// The body of an origin's answer: with its trailers filtered, and its pauses and whole duration bounded.
    pub struct ProxyBody<B> {
        #[pin]
        body: B,
        idle: Option<Duration>,
        // Made when the body first has to wait: most are there at once, and a small body is moved often.
        pause: Option<Box<Pause>>,
        total_deadline: Option<Instant>,
        context: Option<RequestContext>,
        failed: bool,
    }
}

#[derive(Default)]
struct Pause {
    since: Option<Instant>,
    timer: Timer,
}

impl<B> ProxyBody<B> {
    pub(super) fn new(
        body: B,
        idle: Option<Duration>,
        total_deadline: Option<Instant>,
        context: Option<RequestContext>,
    ) -> Self {
        Self { body, idle, pause: None, total_deadline, context, failed: false }
    }
}

impl<B> fmt::Debug for ProxyBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyBody").field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl<B> Body for ProxyBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, UpstreamError>>> {
        let this = self.project();
        if *this.failed {
            aside();
            return Poll::Ready(None);
        }
        // The clock and not the timer: a body that always has more never waits, and a timer fires for those who wait.
        let out_of_time = this.total_deadline.is_some_and(|total| Instant::now() >= total);
        let error = match this.body.poll_frame(cx) {
            _ if out_of_time => UpstreamError::new(UpstreamErrorKind::TotalTimeout),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(pause) = this.pause {
                    aside();
                    pause.since = None;
                }
                return Poll::Ready(Some(Ok(filter_trailers(frame, || None))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => body_error(error),
            Poll::Pending => {
                aside();
                if this.idle.is_none() && this.total_deadline.is_none() {
                    return Poll::Pending;
                }
                let pause = this.pause.get_or_insert_default();
                let idle_deadline = match *this.idle {
                    Some(idle) => pause.since.get_or_insert_with(Instant::now).checked_add(idle),
                    None => None,
                };
                let (deadline, kind) = match (idle_deadline, *this.total_deadline) {
                    (None, None) => return Poll::Pending,
                    (Some(idle), Some(total)) if total < idle => (total, UpstreamErrorKind::TotalTimeout),
                    (Some(idle), _) => (idle, UpstreamErrorKind::BodyTimeout),
                    (None, Some(total)) => (total, UpstreamErrorKind::TotalTimeout),
                };
                ready!(pause.timer.poll_until(cx, deadline));
                UpstreamError::new(kind)
            }
        };
        aside();
        *this.failed = true;
        if let Some(context) = this.context {
            context.set_upstream_error(error.clone());
        }
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer that breaks off after its head is truncated, whatever the client calls it.
fn body_error(error: impl Into<BoxError>) -> UpstreamError {
    let error = UpstreamError::classify(error);
    match error.kind() {
        UpstreamErrorKind::Reset | UpstreamErrorKind::ConnectTimeout => match error.source() {
            None => UpstreamError::new(UpstreamErrorKind::Truncated),
            Some(_) => UpstreamError::with_source(UpstreamErrorKind::Truncated, error),
        },
        _ => error,
    }
}
