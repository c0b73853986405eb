//! Bodies at a client's edges.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::client::Shared;
use super::server::InFlight;
use super::watch::SentWatch;
use super::{h1, h2};
use crate::aside::aside;
use crate::{BoxError, UpstreamError};

/// Any request's body: connections are shared by routes whose bodies are of different types.
pub(super) type SendBody = UnsyncBoxBody<Bytes, BoxError>;

/// `None` for a body that has ended already, as most have.
pub(super) fn send_body<B>(body: B) -> Option<SendBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    (!body.is_end_stream()).then(|| body.map_err(Into::into).boxed_unsync())
}

/// The body of an origin's answer. When it ends the connection is kept for the next request; when it is dropped before,
/// the connection is closed, and the origin learns that nobody listens.
pub struct OriginBody {
    download: Download,
    lease: Option<Lease>,
    watch: Option<SentWatch>,
}

/// The body as its protocol receives it.
#[derive(Debug)]
pub(super) enum Download {
    Http1(h1::download::Download),
    Http2(Box<h2::download::Download>),
}

impl Download {
    fn has_ended(&self) -> bool {
        match self {
            Self::Http1(download) => download.has_ended(),
            Self::Http2(download) => download.has_ended(),
        }
    }

    /// The connection, where another request may be sent over it and none is yet.
    fn take_connection(&mut self) -> Option<Box<h1::connection::Connection>> {
        match self {
            Self::Http1(download) => download.take_connection(),
            Self::Http2(_) => None,
        }
    }
}

/// What an exchange holds until its end.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) shared: Arc<Shared>,
    pub(super) in_flight: InFlight,
}

impl OriginBody {
    pub(super) fn new(download: Download, lease: Lease) -> Self {
        let mut body = Self { download, lease: Some(lease), watch: None };
        if body.download.has_ended() {
            body.finish();
        }
        body
    }

    pub(super) fn empty() -> Self {
        Self { download: Download::Http1(h1::download::Download::ended()), lease: None, watch: None }
    }

    /// Lets `watch` see how it ends.
    pub(super) fn watch(&mut self, watch: SentWatch) {
        self.watch = self.lease.is_some().then_some(watch);
    }

    fn finish(&mut self) {
        let Some(Lease { shared, in_flight }) = self.lease.take() else {
            aside();
            return;
        };
        let server = in_flight.server();
        match self.download.take_connection() {
            Some(connection) => shared.give_back(server, connection),
            None => {
                aside();
                shared.give_room(server);
            }
        }
    }
}

#[inline(never)]
fn tell(watch: &mut SentWatch, frame: Option<&Result<Frame<Bytes>, UpstreamError>>, is_last: bool) {
    watch.frame(frame, is_last);
}

impl fmt::Debug for OriginBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginBody").field("ended", &self.lease.is_none()).finish_non_exhaustive()
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let frame = ready!(match &mut self.download {
            Download::Http1(download) => download.poll_frame(cx),
            Download::Http2(download) => {
                aside();
                download.poll_frame(cx)
            }
        });
        let has_ended = self.download.has_ended();
        if let Some(watch) = &mut self.watch {
            tell(watch, frame.as_ref(), has_ended);
        }
        match &frame {
            Some(Err(_)) => {
                aside();
                drop(self.download.take_connection());
                self.lease = None;
            }
            // Nobody polls again after the last frame.
            _ if has_ended => self.finish(),
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.download {
            Download::Http1(download) => download.size_hint(),
            Download::Http2(download) => download.size_hint(),
        }
    }
}
