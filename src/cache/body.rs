use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::entry::StoredBody;
use super::stream::Reader;
use crate::BoxError;

pin_project! {
    /// The body of an answer that came past a cache: the inner service's own, one that is stored, or one that is being
    /// stored while it is read. Its error is the inner body's, boxed, since another client's reading may fail for the same
    /// reason.
    pub struct CacheBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Stored { slice: Slice },
        Arriving { reader: Reader },
    }
}

/// Bytes of a stored body, in the pieces in which they are stored.
struct Slice {
    chunks: Arc<[Bytes]>,
    next: usize,
    /// Bytes to leave out before the first one.
    skip: u64,
    left: u64,
    trailers: Option<Arc<HeaderMap>>,
}

impl<B> CacheBody<B> {
    pub(super) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    /// The whole of a stored body.
    pub(super) fn stored(body: StoredBody) -> Self {
        let slice = Slice { chunks: body.chunks, next: 0, skip: 0, left: body.length, trailers: body.trailers };
        Self { kind: Kind::Stored { slice } }
    }

    pub(super) fn nothing() -> Self {
        Self::stored(StoredBody::default())
    }

    /// Some bytes of a stored body, which lie within it.
    pub(super) fn part(body: &StoredBody, range: Range<u64>) -> Self {
        let mut slice = Slice {
            chunks: body.chunks.clone(),
            next: 0,
            skip: range.start,
            left: range.end - range.start,
            trailers: None,
        };
        while let Some(chunk) = slice.chunks.get(slice.next)
            && slice.skip >= chunk.len() as u64
        {
            slice.skip -= chunk.len() as u64;
            slice.next += 1;
        }
        Self { kind: Kind::Stored { slice } }
    }

    pub(super) fn arriving(reader: Reader) -> Self {
        Self { kind: Kind::Arriving { reader } }
    }
}

impl Slice {
    fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        if self.left == 0 {
            return self.trailers.take().map(|trailers| Frame::trailers(HeaderMap::clone(&trailers)));
        }
        let chunk = self.chunks.get(self.next)?;
        let start = self.skip as usize;
        let length = (chunk.len() - start).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.next += 1;
        self.skip = 0;
        self.left -= length as u64;
        Some(Frame::data(if length == chunk.len() { chunk.clone() } else { chunk.slice(start..start + length) }))
    }
}

impl<B> Body for CacheBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            KindProj::Stored { slice } => Poll::Ready(slice.next_frame().map(|frame| Ok(frame.map_data(Into::into)))),
            KindProj::Arriving { reader } => {
                reader.poll_frame(cx).map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(Into::into))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Stored { slice } => slice.left == 0 && slice.trailers.is_none(),
            Kind::Arriving { reader } => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Stored { slice } => SizeHint::with_exact(slice.left),
            Kind::Arriving { reader } => reader.size_hint(),
        }
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Inner { .. } => "CacheBody::Inner(..)",
            Kind::Stored { .. } => "CacheBody::Stored(..)",
            Kind::Arriving { .. } => "CacheBody::Arriving(..)",
        })
    }
}
