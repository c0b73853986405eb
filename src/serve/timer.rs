use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::aside::aside;

pin_project! {
    /// One timer for deadlines that move with every request.
    ///
    /// A deadline that moves away leaves the timer where it is: it goes off at the old time, nothing is due, and it is
    /// set again. So a busy connection touches the runtime's timers once in a timeout, not once a request.
    #[derive(Debug)]
    pub(super) struct LazyTimer {
        #[pin]
        sleep: Sleep,
        set_for: Option<Instant>,
    }
}

impl LazyTimer {
    pub(super) fn new(now: Instant) -> Self {
        Self { sleep: sleep_until(now), set_for: None }
    }

    /// True once for each time it went off.
    pub(super) fn went_off(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        let went_off = this.set_for.is_some() && this.sleep.is_elapsed();
        if went_off {
            aside();
            *this.set_for = None;
        }
        went_off
    }

    /// Wakes the task at `deadline` or before. False when that has passed already.
    pub(super) fn cover(self: Pin<&mut Self>, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        if this.set_for.is_some_and(|set_for| set_for <= deadline) {
            return true;
        }
        aside();
        this.sleep.as_mut().reset(deadline);
        let waits = this.sleep.poll(cx).is_pending();
        *this.set_for = waits.then_some(deadline);
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Waker;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_the_old_deadline_and_again_at_the_new_one() {
        let cx = &mut Context::from_waker(Waker::noop());
        let start = Instant::now();
        let mut timer = pin!(LazyTimer::new(start));
        assert!(timer.as_mut().cover(start + Duration::from_secs(10), cx));
        assert!(timer.as_mut().cover(start + Duration::from_secs(70), cx));
        assert!(!timer.as_mut().went_off());

        tokio::time::sleep(Duration::from_secs(11)).await;
        assert!(timer.as_mut().went_off());
        assert!(!timer.as_mut().went_off());
        assert!(timer.as_mut().cover(start + Duration::from_secs(70), cx));
        assert!(timer.as_mut().cover(start + Duration::from_secs(20), cx));

        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(timer.as_mut().went_off());
        assert!(!timer.as_mut().cover(start, cx));
    }
}
