use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::exchange::Exchange;
use super::request::has_valid_values;
use crate::BoxError;

/// The body of a request over HTTP/2 as it comes. Of each piece the client learns when the service has taken it: one that is
/// not read holds its sender back.
#[derive(Debug)]
pub(in crate::serve) struct Upload {
    stream: RecvStream,
    /// What is left of the length that was announced.
    length: Option<u64>,
    data_ended: bool,
    /// The client waits to be told to send it.
    waits_for: Option<Arc<Exchange>>,
}

impl Upload {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, waits_for: Option<Arc<Exchange>>) -> Self {
        Self { stream, length, data_ended: false, waits_for }
    }

    pub(in crate::serve) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(in crate::serve) fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    pub(in crate::serve) fn poll_frame(
        &mut self,
        is_too_slow: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if is_too_slow {
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
        }
        if !self.data_ended {
            let Poll::Ready(data) = self.stream.poll_data(cx) else {
                if let Some(exchange) = self.waits_for.take() {
                    exchange.go_on();
                }
                return Poll::Pending;
            };
            match data {
                Some(Ok(data)) => {
                    self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
                    // It fails for a stream that has ended meanwhile, and then matters to nobody.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) if has_valid_values(&trailers) => Some(Ok(Frame::trailers(trailers))),
            Ok(Some(_)) => Some(Err("a trailer field begins or ends in white space".into())),
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        })
    }
}
