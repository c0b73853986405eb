//! How many retries there may be: a share of the requests, and a floor a second for those with little traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::window::Window;
use crate::{Clock, Share};

/// The last ten seconds decide on the share.
const WINDOW_MILLIS: u64 = 10_000;

/// A budget of retries, to be shared by all that load the same origin.
///
/// Over any time, there are at most `ratio` times as many retries as requests, and `min_per_second` more for each second
/// that has begun. Deciding is a few atomic operations; nothing is locked.
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    ratio: Share,
    min_per_second: u32,
    /// Requests, and retries on their account.
    window: Window,
    /// A second, and the retries that the floor has paid for in it: 32 bits each.
    floor: AtomicU64,
    clock: Clock,
    start: Instant,
}

impl RetryBudget {
    /// For each request `ratio` of a retry, and `min_per_second` in any case.
    pub fn new(ratio: Share, min_per_second: u32) -> Self {
        Self::with_clock(ratio, min_per_second, Clock::system())
    }

    /// The same, by another clock.
    pub fn with_clock(ratio: Share, min_per_second: u32, clock: Clock) -> Self {
        let (window, floor) = (Window::new(WINDOW_MILLIS), AtomicU64::new(0));
        Self(Arc::new(Budget { ratio, min_per_second, window, floor, start: clock.now(), clock }))
    }

    /// One more request.
    pub(super) fn deposit(&self) {
        self.0.window.add(self.0.now(), 1, 0);
    }

    /// One retry, if there is one left.
    pub(super) fn withdraw(&self) -> bool {
        let (budget, now) = (&*self.0, self.0.now());
        // Taken first and looked at then: those who come at once cannot all see the last one.
        budget.window.add(now, 0, 1);
        let (requests, retries) = budget.window.totals(now);
        if retries <= budget.ratio.of(requests) {
            return true;
        }
        budget.window.take_back_second(now);
        budget.withdraw_from_floor(now / 1_000)
    }

    /// True when another would be made the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.0.ratio, self.0.min_per_second) == (other.0.ratio, other.0.min_per_second)
    }
}

impl Budget {
    fn now(&self) -> u64 {
        self.clock.now().saturating_duration_since(self.start).as_millis() as u64
    }

    fn withdraw_from_floor(&self, second: u64) -> bool {
        let second = second & u64::from(u32::MAX);
        let paid = self.floor.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let used = if word >> 32 == second { word & u64::from(u32::MAX) } else { 0 };
            (used < u64::from(self.min_per_second)).then_some(second << 32 | (used + 1))
        });
        paid.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn retries_are_a_share_of_requests_and_a_floor_each_second() {
        let (clock, hand) = Clock::manual();
        let budget = RetryBudget::with_clock(Share::percent(20), 2, clock);
        assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 2);
        (0..100).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 20);
        hand.advance(Duration::from_secs(1));
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 2);
        hand.advance(Duration::from_secs(10));
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 2, "what is long past pays for nothing");
    }

    #[test]
    fn threads_that_ask_at_once_get_no_more() {
        let (clock, _hand) = Clock::manual();
        let budget = RetryBudget::with_clock(Share::percent(10), 5, clock);
        (0..1_000).for_each(|_| budget.deposit());
        let granted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let got = (0..1_000).filter(|_| budget.withdraw()).count();
                    granted.fetch_add(got, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(granted.into_inner(), 105);
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_it_says(
            percent in 0u8..=100,
            floor in 0u32..20,
            steps in prop::collection::vec((0u64..3_000, 0u64..50, 0u64..50), 1..60),
        ) {
            let (clock, hand) = Clock::manual();
            let budget = RetryBudget::with_clock(Share::percent(percent), floor, clock);
            let (mut now, mut requests, mut retries) = (0, 0, 0);
            for (wait, asked, wanted) in steps {
                hand.advance(Duration::from_millis(wait));
                now += wait;
                (0..asked).for_each(|_| budget.deposit());
                requests += asked;
                retries += (0..wanted).filter(|_| budget.withdraw()).count() as u64;
                let seconds = now / 1_000 + 1;
                let most = f64::from(percent) / 100.0 * requests as f64 + (u64::from(floor) * seconds) as f64;
                prop_assert!(retries as f64 <= most + 1e-9, "{} of {}", retries, most);
            }
        }
    }
}
