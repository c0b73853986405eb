use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use crate::BoxError;

/// An origin's body, whatever its type: readers of several types share it.
pub(in crate::cache) trait Source: Send {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;

    fn is_end_stream(&self) -> bool;
}

pin_project! {
    /// A body as a source. Data that is `Bytes` already is not copied.
    pub(in crate::cache) struct FromBody<B> {
        #[pin]
        body: B,
    }
}

impl<B> FromBody<B> {
    pub(in crate::cache) fn new(body: B) -> Self {
        Self { body }
    }
}

impl<B> Source for FromBody<B>
where
    B: Body + Send,
    B::Error: Into<BoxError>,
{
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = self.project().body.poll_frame(cx);
        frame.map(|frame| {
            frame.map(|frame| match frame {
                Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
                Err(error) => Err(error.into()),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
