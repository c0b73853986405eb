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
pub struct ServeBody {
    incoming: Source,
    watched: Option<Watched>,
}

/// Where the pieces come from.
#[derive(Debug)]
enum Source {
    Http1(http1::Upload),
    Http2(Box<http2::Upload>),
    None,
}

/// Kept for a body that has something to it; most requests have none.
#[derive(Debug)]
struct Watched {
    signals: Arc<Signals>,
    limit: u64,
    received: u64,
}

impl ServeBody {
    /// Of a request over HTTP/1.1 that has one.
    pub(super) fn of_http1(upload: http1::Upload, limit: Option<u64>, signals: Arc<Signals>) -> Self {
        Self::watched(Source::Http1(upload), limit, signals)
    }

    /// Of a request over HTTP/2 that has one.
    pub(super) fn of_http2(upload: http2::Upload, limit: Option<u64>, signals: Arc<Signals>) -> Self {
        signals.body_end_is_awaited();
        Self::watched(Source::Http2(Box::new(upload)), limit, signals)
    }

    fn watched(incoming: Source, limit: Option<u64>, signals: Arc<Signals>) -> Self {
        signals.body_began();
        let watched = Watched { signals, limit: limit.unwrap_or(u64::MAX), received: 0 };
        Self { incoming, watched: Some(watched) }
    }

    /// Of a request that has none.
    pub(super) fn none() -> Self {
        Self { incoming: Source::None, watched: None }
    }

    fn end(&mut self) {
        if let Some(watched) = self.watched.take() {
            // Whoever is told looks whether it was given up.
            self.incoming = Source::None;
            watched.signals.body_ended();
        }
    }

    /// Ends the body on an error. Where the next request would begin is unknown from now on.
    fn fail(&mut self, error: ServeBodyError) -> Poll<Option<Result<Frame<Bytes>, ServeBodyError>>> {
        if let Some(watched) = &self.watched {
            watched.signals.close_after_answer();
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
            Self::None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(upload) => upload.size_hint(),
            Self::Http2(upload) => upload.size_hint(),
            Self::None => SizeHint::with_exact(0),
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
        let Some(watched) = &mut this.watched else { return Poll::Ready(None) };
        let polled = match &mut this.incoming {
            Source::Http1(upload) => upload.poll_frame(cx),
            Source::Http2(upload) => {
                watched.signals.register_body(cx.waker());
                upload.poll_frame(watched.signals.body_is_too_slow(), cx)
            }
            Source::None => Poll::Ready(None),
        };
        let frame = match polled {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                watched.signals.body_waits(cx.waker());
                return Poll::Pending;
            }
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(_)) if watched.signals.body_is_too_slow() => {
                return this.fail(ServeBodyError::Refused(RequestBodyError::TooSlow));
            }
            Some(Err(error)) => return this.fail(ServeBodyError::Connection(error)),
            None => {
                this.end();
                return Poll::Ready(None);
            }
        };
        watched.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        if watched.received > watched.limit {
            let limit = watched.limit;
            return this.fail(ServeBodyError::Refused(RequestBodyError::TooLarge { limit }));
        }
        watched.signals.body_arrived(watched.received);
        // Trailers end a body, and whoever sees the end announced does not poll for it.
        if frame.is_trailers() || this.incoming.is_end_stream() {
            this.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.watched.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.watched.is_none() { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}

impl Drop for ServeBody {
    fn drop(&mut self) {
        self.end();
    }
}
