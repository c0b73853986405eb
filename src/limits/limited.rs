use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::BoxError;
use crate::body::RequestBodyError;

pin_project! {
    /// A request's body that fails with [`RequestBodyError::TooLarge`] when it is longer than it may be.
    pub struct LimitedBody<B> {
        #[pin]
        body: B,
        // Boxed, since most requests have no body, and all of them are moved about.
        limit: Option<Box<Limit>>,
    }
}

#[derive(Debug)]
struct Limit {
    most: u64,
    left: u64,
    broken: Option<Broken>,
}

/// Whether a body broke its limit, told to who waits for the answer. They may live in different tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken(Arc<AtomicBool>);

impl Broken {
    pub(super) fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> LimitedBody<B> {
    pub(super) fn new(body: B, most: u64, broken: Option<Broken>) -> Self {
        Self { body, limit: Some(Box::new(Limit { most, left: most, broken })) }
    }

    pub(super) fn unlimited(body: B) -> Self {
        Self { body, limit: None }
    }
}

impl<B> fmt::Debug for LimitedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedBody").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        let Some(frame) = ready!(this.body.poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame.map_err(Into::into)?;
        let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        if let Some(limit) = this.limit {
            match limit.left.checked_sub(length) {
                Some(left) => limit.left = left,
                None => {
                    limit.left = 0;
                    if let Some(broken) = &limit.broken {
                        broken.0.store(true, Ordering::Relaxed);
                    }
                    return Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit: limit.most }.into())));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
