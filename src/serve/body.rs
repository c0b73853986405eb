use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::signals::Signals;
use super::{ServeBodyError, http1, http2};
use crate::body::RequestBodyError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a request that a [`Server`](super::Server) received.
///
/// It is read from the socket as the service asks for it, and fails with [`RequestBodyError::TooLarge`] or
/// [`RequestBodyError::TooSlow`] in its error's sources when the client breaks the server's limits. A client that sent
/// `Expect: 100-continue` is told to go on when the body is first polled.
#[derive(Debug)]
pub struct ServeBody(Option<Box<Open>>);

/// A body that has something to it; most requests have none. In a box: a request that is small is moved for less, and every
/// layer moves it.
#[derive(Debug)]
struct Open {
    source: Source,
    signals: Arc<Signals>,
    limit: u64,
    received: u64,
}

/// Where the pieces come from.
#[derive(Debug)]
enum Source {
    Http1(http1::Upload),
    Http2(http2::Upload),
}

impl ServeBody {
    /// Of a request over HTTP/1.1 that has one.
    pub(super) fn of_http1(upload: http1::Upload, limit: Option<u64>, signals: Arc<Signals>) -> Self {
        Self::open(Source::Http1(upload), limit, signals)
    }

    /// Of a request over HTTP/2 that has one.
    pub(super) fn of_http2(upload: http2::Upload, limit: Option<u64>, signals: Arc<Signals>) -> Self {
        signals.body_end_is_awaited();
        Self::open(Source::Http2(upload), limit, signals)
    }

    fn open(source: Source, limit: Option<u64>, signals: Arc<Signals>) -> Self {
        signals.body_began();
        Self(Some(Box::new(Open { source, signals, limit: limit.unwrap_or(u64::MAX), received: 0 })))
    }

    /// Of a request that has none.
    pub(super) fn none() -> Self {
        Self(None)
    }

    fn end(&mut self) {
        if let Some(open) = self.0.take() {
            let Open { source, signals, .. } = *open;
            // Whoever is told looks whether it was given up.
            drop(source);
            signals.body_ended();
        }
    }

    /// Ends the body on an error. Where the next request would begin is unknown from now on.
    fn fail(&mut self, error: ServeBodyError) -> Poll<Option<Result<Frame<Bytes>, ServeBodyError>>> {
        if let Some(open) = &self.0 {
            open.signals.close_after_answer();
        }
        self.end();
        Poll::Ready(Some(Err(error)))
    }
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(upload) => upload.is_end_stream(),
            Self::Http2(upload) => upload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(upload) => upload.size_hint(),
            Self::Http2(upload) => upload.size_hint(),
        }
    }
}

impl Body for ServeBody {
    type Data = Bytes;
    type Error = ServeBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ServeBodyError>>> {
        let this = &mut *self;
        let Some(open) = &mut this.0 else { return Poll::Ready(None) };
        let polled = match &mut open.source {
            Source::Http1(upload) => upload.poll_frame(cx),
            Source::Http2(upload) => {
                open.signals.register_body(cx.waker());
                upload.poll_frame(open.signals.body_is_too_slow(), cx)
            }
        };
        let frame = match polled {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                open.signals.body_waits(cx.waker());
                return Poll::Pending;
            }
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(_)) if open.signals.body_is_too_slow() => {
                return this.fail(ServeBodyError::Refused(RequestBodyError::TooSlow));
            }
            Some(Err(error)) => return this.fail(ServeBodyError::Connection(error)),
            None => {
                this.end();
                return Poll::Ready(None);
            }
        };
        open.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        if open.received > open.limit {
            let limit = open.limit;
            return this.fail(ServeBodyError::Refused(RequestBodyError::TooLarge { limit }));
        }
        open.signals.body_arrived(open.received);
        // Trailers end a body, and whoever sees the end announced does not poll for it.
        if frame.is_trailers() || open.source.is_end_stream() {
            this.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |open| open.source.size_hint())
    }
}

impl Drop for ServeBody {
    fn drop(&mut self) {
        self.end();
    }
}
