//! Ways to poll: a bounded number of times, and with panics caught.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// How many more polls there are before whatever is polled is given up and dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polls {
    left: usize,
    /// Polls again without being woken: for something that waits for what only happens after it was given up.
    unasked: bool,
}

impl Polls {
    pub(super) const UNLIMITED: Self = Self { left: usize::MAX, unasked: false };

    pub(super) fn only(left: usize) -> Self {
        Self { left, unasked: false }
    }

    pub(super) fn unasked(left: usize) -> Self {
        Self { left, unasked: true }
    }

    /// Drives `future` until it is done or the polls are used up, and drops it. None of them left: it is not polled.
    pub(super) async fn spend_on<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
            if self.unasked {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    }
}

/// Catches a panic in any poll of `future`.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// None, when `future` wakes itself so often that it can only be spinning.
pub(super) async fn unless_spinning<F: Future>(future: F) -> Option<F::Output> {
    Polls::only(1_000_000).spend_on(future).await
}

/// Lets everything that is ready to run do so, without letting time pass.
pub(super) async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// What a panic said.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
