use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::aside::aside;

pin_project! {
    /// The body of an answer that passed a layer: the inner service's own, or the layer's bytes.
    ///
    /// It asks nothing of the inner body until it is used as one, so layers stack over any response, and it has a
    /// `Default`, which tower-http's `Cors` and `Timeout` need of what they wrap.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Own { bytes: Bytes },
    }
}

impl<B> ResponseBody<B> {
    /// The inner service's body.
    pub fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    /// A body of the layer's own.
    pub fn own(bytes: Bytes) -> Self {
        Self { kind: Kind::Own { bytes } }
    }

    /// The same with another inner body.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> ResponseBody<C> {
        match self.kind {
            Kind::Inner { body } => ResponseBody::inner(change(body)),
            Kind::Own { bytes } => ResponseBody::own(bytes),
        }
    }
}

impl<B> Default for ResponseBody<B> {
    /// No bytes at all.
    fn default() -> Self {
        Self::own(Bytes::new())
    }
}

impl<B> From<Bytes> for ResponseBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::own(bytes)
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Inner { .. } => f.write_str("ResponseBody::Inner(..)"),
            Kind::Own { bytes } => write!(f, "ResponseBody::Own({} bytes)", bytes.len()),
        }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Own { bytes } => {
                aside();
                let whole = std::mem::take(bytes);
                Poll::Ready(if whole.is_empty() { None } else { Some(Ok(Frame::data(whole.into()))) })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http_body_util::{BodyExt, Full, StreamBody};

    #[tokio::test]
    async fn own_bytes_are_one_frame_with_an_exact_size() {
        let body = ResponseBody::<Full<Bytes>>::own(Bytes::from_static(b"refused"));
        assert_eq!(body.size_hint().exact(), Some(7));
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "refused");
    }

    #[tokio::test]
    async fn the_default_is_a_body_that_has_ended() {
        let mut body = ResponseBody::<Full<Bytes>>::default();
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_inner_body_keeps_its_frames_trailers_and_hints() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "7".parse().unwrap());
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"a"))), Ok(Frame::trailers(trailers))];
        let mut body = ResponseBody::inner(StreamBody::new(futures_util::stream::iter(frames)));
        assert_eq!(body.size_hint().upper(), None);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["x-checksum"], "7");
        assert!(body.frame().await.is_none());
    }
}
