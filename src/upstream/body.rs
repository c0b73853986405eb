//! Bodies at a client's edges.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;

use super::connect::Connection;
use super::pool::Pool;
use super::server::{InFlight, Server};
use crate::{BoxError, UpstreamError};

/// Any request's body: connections are shared by routes whose bodies are of different types.
pub(super) type SendBody = UnsyncBoxBody<Bytes, BoxError>;

pub(super) fn send_body<B>(body: B) -> SendBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    body.map_err(Into::into).boxed_unsync()
}

/// The body of an origin's answer. When it ends the connection is kept for the next request; when it is dropped before,
/// the connection is closed, and the origin learns that nobody listens.
pub struct OriginBody {
    body: Incoming,
    lease: Option<Lease>,
}

/// A connection in use, and a request in flight.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
    pub(super) server: Arc<Server>,
    pub(super) index: usize,
    pub(super) in_flight: InFlight,
}

impl OriginBody {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        let mut body = Self { body, lease: Some(lease) };
        if body.body.is_end_stream() {
            body.finish();
        }
        body
    }

    fn finish(&mut self) {
        let Some(Lease { mut connection, pool, server, index, in_flight }) = self.lease.take() else { return };
        drop(in_flight);
        let wanted = move || server.waiting.load(std::sync::atomic::Ordering::Acquire) > 0;
        if connection.is_ready() {
            return pool.put(index, connection, wanted());
        }
        // The answer came before the request was sent whole, or hyper is not back from it: until it is, nobody may have
        // the connection. If the request never ends, its sender gives up, and the connection with it.
        tokio::spawn(async move {
            if connection.ready().await {
                pool.put(index, connection, wanted());
            }
        });
    }
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
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.finish(),
            Some(Ok(_)) if self.body.is_end_stream() => self.finish(),
            Some(Ok(_)) => {}
            Some(Err(_)) => drop(self.lease.take()),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UpstreamError::classify)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
