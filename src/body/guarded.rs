use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// How a body came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It was read to its end, or had none to read.
    Complete,
    /// It failed: the connection broke, or a layer gave it up.
    Failed,
    /// It was dropped before its end: the client left, or the server stopped.
    Dropped,
}

/// What a [`GuardedBody`] holds: a permit, a gauge, a record that is written when the answer has ended.
///
/// It is told once, and consumed. A closure that takes a [`BodyEnd`] is a guard.
pub trait BodyGuard {
    /// The body has ended.
    fn ended(self, end: BodyEnd);
}

impl<F: FnOnce(BodyEnd)> BodyGuard for F {
    fn ended(self, end: BodyEnd) {
        self(end);
    }
}

pin_project! {
    /// A body that holds a guard until it ends, fails or is dropped, whichever comes first.
    ///
    /// hyper does not poll a body that says it has ended, and reads none at all for a HEAD, a 204 or a 304: dropping such
    /// a body is its completion, not a client that left.
    pub struct GuardedBody<B, G>
    where
        B: Body,
        G: BodyGuard,
    {
        #[pin]
        body: B,
        guard: Option<G>,
        unread: bool,
    }

    impl<B: Body, G: BodyGuard> PinnedDrop for GuardedBody<B, G> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let complete = *this.unread || this.body.is_end_stream();
            finish(this.guard, if complete { BodyEnd::Complete } else { BodyEnd::Dropped });
        }
    }
}

impl<B: Body, G: BodyGuard> GuardedBody<B, G> {
    /// Holds `guard` for as long as `body` lives.
    pub fn new(body: B, guard: G) -> Self {
        Self { body, guard: Some(guard), unread: false }
    }

    /// The same for the answer to a HEAD, or a 204 or 304: the server reads no byte of it, and dropping it completes it.
    pub fn unread(body: B, guard: G) -> Self {
        Self { body, guard: Some(guard), unread: true }
    }
}

fn finish<G: BodyGuard>(guard: &mut Option<G>, end: BodyEnd) {
    if let Some(guard) = guard.take() {
        guard.ended(end);
    }
}

impl<B: Body, G: BodyGuard> fmt::Debug for GuardedBody<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBody").field("held", &self.guard.is_some()).finish_non_exhaustive()
    }
}

impl<B: Body, G: BodyGuard> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        match &frame {
            None => finish(this.guard, BodyEnd::Complete),
            Some(Err(_)) => finish(this.guard, BodyEnd::Failed),
            // Nobody polls again after this frame, so the guard is told now rather than at a drop that may come late.
            Some(Ok(_)) if this.body.is_end_stream() => finish(this.guard, BodyEnd::Complete),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full, StreamBody};

    type Ends = Arc<Mutex<Vec<BodyEnd>>>;

    fn recorder() -> (Ends, impl FnOnce(BodyEnd)) {
        let ends = Ends::default();
        let record = ends.clone();
        (ends, move |end| record.lock().unwrap().push(end))
    }

    fn failing() -> impl Body<Data = Bytes, Error = std::io::Error> {
        StreamBody::new(futures_util::stream::iter([
            Ok(Frame::data(Bytes::from_static(b"a"))),
            Err(std::io::Error::other("gone")),
        ]))
    }

    #[tokio::test]
    async fn a_body_read_to_its_end_is_complete_once() {
        let (ends, guard) = recorder();
        let body = GuardedBody::new(Full::new(Bytes::from_static(b"all")), guard);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
        assert_eq!(*ends.lock().unwrap(), [BodyEnd::Complete]);
    }

    #[tokio::test]
    async fn the_guard_is_told_with_the_last_frame_and_not_at_the_drop() {
        let (ends, guard) = recorder();
        let mut body = GuardedBody::new(Full::new(Bytes::from_static(b"all")), guard);
        body.frame().await.unwrap().unwrap();
        assert_eq!(*ends.lock().unwrap(), [BodyEnd::Complete]);
    }

    #[tokio::test]
    async fn a_body_that_fails_is_failed() {
        let (ends, guard) = recorder();
        let body = GuardedBody::new(failing(), guard);
        assert!(body.collect().await.is_err());
        assert_eq!(*ends.lock().unwrap(), [BodyEnd::Failed]);
    }

    #[test]
    fn a_body_dropped_before_its_end_is_dropped() {
        let (ends, guard) = recorder();
        drop(GuardedBody::new(Full::new(Bytes::from_static(b"all")), guard));
        assert_eq!(*ends.lock().unwrap(), [BodyEnd::Dropped]);
    }

    #[test]
    fn an_empty_body_and_one_that_is_never_read_are_complete_when_dropped() {
        let (ends, guard) = recorder();
        drop(GuardedBody::new(Empty::<Bytes>::new(), guard));
        let (unread, guard) = recorder();
        drop(GuardedBody::unread(Full::<Bytes>::from("a GET's"), guard));
        assert_eq!(*ends.lock().unwrap(), [BodyEnd::Complete]);
        assert_eq!(*unread.lock().unwrap(), [BodyEnd::Complete]);
    }

    #[test]
    fn the_size_hint_passes_through() {
        let body = GuardedBody::new(Full::<Bytes>::from("1234").map_err(|never: Infallible| never), |_| ());
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());
    }
}
