use std::cell::Cell;
use std::fmt;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::books::Live;
use super::origin::{TestError, planned_panic};

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Pending once, woken at once.
    Pending,
    Data(&'static str),
    Trailer(&'static str, &'static str),
    Fail(TestError),
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hint {
    Exact,
    Bounds,
    Unknown,
}

/// What a body does, poll by poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) steps: &'static [Step],
    pub(super) hint: Hint,
    /// Says so as soon as its last frame is out, rather than only by an end of frames.
    pub(super) knows_its_end: bool,
}

impl Plan {
    pub(super) const EMPTY: Self = Self::exact(&[]);

    pub(super) const fn exact(steps: &'static [Step]) -> Self {
        Self { steps, hint: Hint::Exact, knows_its_end: true }
    }

    pub(super) const fn bounded(steps: &'static [Step]) -> Self {
        Self { steps, hint: Hint::Bounds, knows_its_end: true }
    }

    pub(super) const fn unknown(steps: &'static [Step]) -> Self {
        Self { steps, hint: Hint::Unknown, knows_its_end: false }
    }
}

pin_project! {
    /// The body of the harness's requests and answers: `Send` and nothing more. It is not `Sync`, not `Unpin`, and has
    /// neither `Default` nor `Clone`, so a layer that asks for one of these does not compile in the harness.
    pub struct TestBody {
        plan: Plan,
        done: usize,
        live: Option<Live>,
        #[pin]
        pinned: PhantomPinned,
        unsync: PhantomData<Cell<()>>,
    }
}

impl TestBody {
    pub(super) fn new(plan: Plan, live: Option<Live>) -> Self {
        Self { plan, done: 0, live, pinned: PhantomPinned, unsync: PhantomData }
    }

    fn remaining(&self) -> &'static [Step] {
        &self.plan.steps[self.done..]
    }
}

impl fmt::Debug for TestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestBody").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = TestError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TestError>>> {
        let Some(step) = self.remaining().first() else { return Poll::Ready(None) };
        *self.project().done += 1;
        Poll::Ready(Some(Ok(match *step {
            Step::Pending => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Step::Data(data) => Frame::data(Bytes::from_static(data.as_bytes())),
            Step::Trailer(name, value) => Frame::trailers(HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )])),
            Step::Fail(error) => return Poll::Ready(Some(Err(error))),
            Step::Panic => planned_panic(),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.plan.knows_its_end && self.remaining().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        let left: u64 = self.remaining().iter().map(length).sum();
        match self.plan.hint {
            Hint::Exact => SizeHint::with_exact(left),
            Hint::Unknown => SizeHint::default(),
            Hint::Bounds => {
                let mut hint = SizeHint::new();
                hint.set_lower(left / 2);
                hint.set_upper(left * 2 + 1);
                hint
            }
        }
    }
}
