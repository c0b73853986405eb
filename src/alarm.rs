//! Deadlines within a task: who drives it keeps one timer for all that wait in it.
//!
//! A timer that each request registers with the runtime, and takes back when its answer comes, costs more than most layers
//! do. Whoever drives a connection's requests has a timer for the connection, which need not be touched while it stands
//! earlier than any deadline. So a future that is polled by the very task of such a driver asks it to be polled again in time,
//! and needs a timer of its own in any other place.

use std::cell::Cell;
use std::ptr;
use std::task::{Context, Poll, RawWakerVTable, Waker};

use tokio::time::Instant;

use crate::aside::aside;

/// The driver that polls in this thread, if one does.
struct Driver {
    task: Cell<Option<Task>>,
    time_is_up: Cell<bool>,
    earliest: Cell<Option<Instant>>,
}

/// Whom a waker wakes.
type Task = (*const (), *const RawWakerVTable);

thread_local! {
    static DRIVER: Driver =
        const { Driver { task: Cell::new(None), time_is_up: Cell::new(false), earliest: Cell::new(None) } };
}

fn task(waker: &Waker) -> Task {
    (waker.data(), ptr::from_ref(waker.vtable()))
}

/// Ready once `deadline` has passed, and kept by the task's driver until then; `None` when nobody keeps it.
#[cfg(feature = "proxy")]
pub(crate) fn poll_until(cx: &Context<'_>, deadline: Instant) -> Option<Poll<()>> {
    DRIVER.with(|driver| {
        // A waker between this and the driver's stands for a place that a poll of the task need not reach.
        if driver.task.get() != Some(task(cx.waker())) {
            aside();
            return None;
        }
        if driver.time_is_up.get() && Instant::now() >= deadline {
            aside();
            return Some(Poll::Ready(()));
        }
        let earliest = driver.earliest.get().map_or(deadline, |earliest| earliest.min(deadline));
        driver.earliest.set(Some(earliest));
        Some(Poll::Pending)
    })
}

/// Runs `poll`, and gives the earliest deadline that was asked for within: by then all of it is to be polled again, with
/// `time_is_up`.
#[cfg(feature = "serve")]
pub(crate) fn kept<T>(
    cx: &mut Context<'_>,
    time_is_up: bool,
    poll: impl FnOnce(&mut Context<'_>) -> T,
) -> (T, Option<Instant>) {
    /// Also when `poll` panics: what has this task's waker is not driven by it for ever.
    struct Reset((Option<Task>, bool, Option<Instant>));
    impl Drop for Reset {
        fn drop(&mut self) {
            DRIVER.with(|driver| {
                driver.task.set(self.0.0);
                driver.time_is_up.set(self.0.1);
                driver.earliest.set(self.0.2);
            });
        }
    }
    let _reset = DRIVER.with(|driver| {
        let task = driver.task.replace(Some(task(cx.waker())));
        Reset((task, driver.time_is_up.replace(time_is_up), driver.earliest.replace(None)))
    });
    let polled = poll(cx);
    (polled, DRIVER.with(|driver| driver.earliest.get()))
}

#[cfg(all(test, feature = "proxy", feature = "serve"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    struct Nothing(u8);

    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {
            assert_eq!(self.0, 0);
        }
    }

    fn waker() -> Waker {
        Arc::new(Nothing(0)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn the_driver_of_a_task_learns_the_earliest_deadline_within_it() {
        let (waker, now) = (waker(), Instant::now());
        let cx = &mut Context::from_waker(&waker);
        let [early, late] = [now + Duration::from_secs(1), now + Duration::from_secs(2)];
        let ((), asked) = kept(cx, false, |cx| {
            assert_eq!(poll_until(cx, late), Some(Poll::Pending));
            assert_eq!(poll_until(cx, early), Some(Poll::Pending));
            assert_eq!(poll_until(cx, late), Some(Poll::Pending));
        });
        assert_eq!(asked, Some(early));
        assert_eq!(kept(cx, false, |_| ()).1, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_has_passed_when_the_driver_says_that_it_is_time_and_the_clock_agrees() {
        let (waker, now) = (waker(), Instant::now());
        let cx = &mut Context::from_waker(&waker);
        let deadline = now + Duration::from_secs(1);
        assert_eq!(kept(cx, true, |cx| poll_until(cx, deadline)), (Some(Poll::Pending), Some(deadline)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(kept(cx, true, |cx| poll_until(cx, deadline)), (Some(Poll::Ready(())), None));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_keeps_a_deadline_for_another_waker() {
        let (driven, other, now) = (waker(), waker(), Instant::now());
        let (driven, other) = (&mut Context::from_waker(&driven), &mut Context::from_waker(&other));
        assert_eq!(poll_until(driven, now), None);
        kept(driven, false, |driven| {
            assert_eq!(poll_until(other, now), None);
            kept(other, false, |_| assert_eq!(poll_until(driven, now), None));
            assert_eq!(poll_until(driven, now), Some(Poll::Pending));
        });
        assert_eq!(poll_until(driven, now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_that_panics_keeps_nothing() {
        let waker = waker();
        let cx = &mut Context::from_waker(&waker);
        let panicked = catch_unwind(AssertUnwindSafe(|| kept::<()>(cx, false, |_| panic!("for the test"))));
        assert!(panicked.is_err());
        assert_eq!(poll_until(cx, Instant::now()), None);
    }
}
