//! A request body on its way from the connection's task to the service, which may have moved it to another.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::BoxError;

/// The service's end. One piece waits here at most, and the next is read from the socket when somebody asks for it.
#[derive(Debug)]
pub(in crate::serve) struct Upload(Arc<Place>);

/// The connection's end.
#[derive(Debug)]
pub(super) struct Feed(Arc<Place>);

#[derive(Debug, Default)]
struct Place(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    piece: Option<Frame<Bytes>>,
    /// What is left of the length that was announced.
    left: Option<u64>,
    end: Option<Result<(), BoxError>>,
    /// Who waits for a piece.
    reader: Option<Waker>,
    is_wanted: bool,
    is_given_up: bool,
}

/// What the service makes of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nothing right now.
    None,
    /// It waits for a piece.
    Piece,
    /// It will never ask again.
    GivenUp,
}

impl Place {
    /// A panic elsewhere leaves nothing half done here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends for a body of this length.
pub(super) fn upload(length: Option<u64>) -> (Feed, Upload) {
    let place = Arc::new(Place(Mutex::new(State { left: length, ..State::default() })));
    (Feed(place.clone()), Upload(place))
}

impl Upload {
    pub(in crate::serve) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.0.state();
        if let Some(piece) = state.piece.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        match &mut state.end {
            Some(Ok(())) => return Poll::Ready(None),
            Some(end) => return Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err)),
            None => {}
        }
        state.is_wanted = true;
        if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(in crate::serve) fn is_end_stream(&self) -> bool {
        let state = self.0.state();
        state.piece.is_none() && matches!(state.end, Some(Ok(())))
    }

    pub(in crate::serve) fn size_hint(&self) -> SizeHint {
        let state = self.0.state();
        let waiting = state.piece.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        match (state.left, &state.end) {
            (Some(left), _) => SizeHint::with_exact(left + waiting),
            (None, Some(Ok(()))) => SizeHint::with_exact(waiting),
            (None, _) => SizeHint::default(),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_given_up = true;
        (state.piece, state.reader) = (None, None);
    }
}

impl Feed {
    pub(super) fn demand(&self) -> Demand {
        let state = self.0.state();
        match state.is_given_up {
            true => Demand::GivenUp,
            false if state.is_wanted => Demand::Piece,
            false => Demand::None,
        }
    }

    /// Gives the piece that was asked for, which is the last when `ended`. Whoever waits is woken, but for `task`, which is
    /// about to look.
    pub(super) fn give(&self, piece: Option<Frame<Bytes>>, ended: bool, task: &Waker) {
        let mut state = self.0.state();
        let length = piece.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        state.left = state.left.map(|left| left.saturating_sub(length));
        state.piece = piece;
        if ended {
            state.end = Some(Ok(()));
        }
        state.tell(task);
    }

    /// The body fails: what remains of it never comes.
    pub(super) fn fail(&self, error: impl Into<BoxError>, task: &Waker) {
        let mut state = self.0.state();
        state.end = Some(Err(error.into()));
        state.tell(task);
    }
}

impl Drop for Feed {
    /// The connection has ended, and the body has not.
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.end.is_none() {
            state.end = Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()));
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
    }
}

impl State {
    fn tell(&mut self, task: &Waker) {
        self.is_wanted = false;
        if let Some(reader) = &self.reader
            && !reader.will_wake(task)
        {
            reader.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;

    fn poll(upload: &mut Upload) -> Poll<Option<Result<Bytes, String>>> {
        let polled = upload.poll_frame(&mut Context::from_waker(&noop_waker()));
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()).map_err(|e| e.to_string())))
    }

    fn data(bytes: &'static [u8]) -> Option<Frame<Bytes>> {
        Some(Frame::data(Bytes::from_static(bytes)))
    }

    #[test]
    fn pieces_come_one_by_one_as_they_are_asked_for() {
        let task = noop_waker();
        let (feed, mut upload) = upload(Some(5));
        assert_eq!((feed.demand(), upload.size_hint().exact()), (Demand::None, Some(5)));
        assert!(poll(&mut upload).is_pending());
        assert_eq!(feed.demand(), Demand::Piece);
        feed.give(data(b"abc"), false, &task);
        assert_eq!((feed.demand(), upload.size_hint().exact()), (Demand::None, Some(5)));
        assert_eq!(poll(&mut upload), Poll::Ready(Some(Ok(Bytes::from_static(b"abc")))));
        assert_eq!(upload.size_hint().exact(), Some(2));
        assert!(poll(&mut upload).is_pending());
        feed.give(data(b"de"), true, &task);
        assert!(!upload.is_end_stream());
        assert_eq!(poll(&mut upload), Poll::Ready(Some(Ok(Bytes::from_static(b"de")))));
        assert!(upload.is_end_stream());
        assert_eq!(poll(&mut upload), Poll::Ready(None));
    }

    #[test]
    fn a_body_that_fails_does_so_once_and_never_ends_well_before() {
        let (feed, mut upload) = upload(None);
        assert!(poll(&mut upload).is_pending());
        feed.fail("broken", &noop_waker());
        assert!(!upload.is_end_stream());
        assert_eq!(poll(&mut upload), Poll::Ready(Some(Err("broken".to_owned()))));
        assert_eq!(poll(&mut upload), Poll::Ready(None));
    }

    #[test]
    fn a_connection_that_ends_fails_what_it_owes_and_wakes_who_waits() {
        let (waker, woken) = flag_waker();
        let (feed, mut body) = upload(Some(5));
        assert!(body.poll_frame(&mut Context::from_waker(&waker)).is_pending());
        drop(feed);
        assert!(woken.load(std::sync::atomic::Ordering::SeqCst));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));

        let (feed, mut whole) = upload(Some(2));
        feed.give(data(b"ok"), true, &noop_waker());
        drop(feed);
        assert_eq!(poll(&mut whole), Poll::Ready(Some(Ok(Bytes::from_static(b"ok")))));
        assert_eq!(poll(&mut whole), Poll::Ready(None));
    }

    /// A waker, and whether it was used.
    fn flag_waker() -> (Waker, Arc<std::sync::atomic::AtomicBool>) {
        struct Flag(Arc<std::sync::atomic::AtomicBool>);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let woken = Arc::default();
        (Waker::from(Arc::new(Flag(Arc::clone(&woken)))), woken)
    }

    #[test]
    fn one_that_was_dropped_is_given_up() {
        let (feed, upload) = upload(None);
        drop(upload);
        assert_eq!(feed.demand(), Demand::GivenUp);
        feed.give(data(b"x"), false, &noop_waker());
        feed.fail("late", &noop_waker());
        assert_eq!(feed.demand(), Demand::GivenUp);
    }
}
