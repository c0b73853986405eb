//! What became of the calls just past: by time, or of the last so many.

use std::sync::atomic::Ordering;

use super::policy::{Span, millis};
use crate::atomic::{AtomicI64, AtomicU8, AtomicU64};
use crate::window::Window;

/// How many of the calls in the window there were, failed, and were slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

#[derive(Debug)]
pub(super) enum Outcomes {
    /// Two rings of buckets. The second counts slow calls, and is not touched while there are none.
    Time {
        failures: Box<Window>,
        slow: Box<Window>,
    },
    Calls(Box<LastCalls>),
}

/// The most calls that are remembered one by one, with a byte each.
const MOST_CALLS: u32 = 1 << 20;

impl Outcomes {
    pub(super) fn new(span: Span) -> Self {
        match span {
            Span::Time(window) => {
                let ring = || Box::new(Window::new(millis(window)));
                Self::Time { failures: ring(), slow: ring() }
            }
            Span::Calls(calls) => Self::Calls(Box::new(LastCalls::new(calls.clamp(1, MOST_CALLS) as usize))),
        }
    }

    /// True when a new one for `span` would be made the same.
    pub(super) fn fits(&self, span: Span) -> bool {
        match (self, span) {
            (Self::Time { failures, .. }, Span::Time(window)) => failures.is_as_long_as(millis(window)),
            (Self::Calls(last), Span::Calls(calls)) => last.ring.len() == calls.clamp(1, MOST_CALLS) as usize,
            _ => false,
        }
    }

    /// Counts one call. Only a window of time asks when that is.
    #[inline]
    pub(super) fn record(&self, now: impl FnOnce() -> u64, failed: bool, was_slow: bool) {
        match self {
            Self::Time { failures, slow } => {
                let now = now();
                failures.add(now, 1, u64::from(failed));
                if was_slow {
                    slow.add(now, 1, 0);
                }
            }
            Self::Calls(last) => last.record(failed, was_slow),
        }
    }

    pub(super) fn totals(&self, now: u64) -> Totals {
        match self {
            Self::Time { failures, slow } => {
                let (calls, failures) = failures.totals(now);
                Totals { calls, failures, slow: slow.totals(now).0 }
            }
            Self::Calls(last) => last.totals(),
        }
    }

    pub(super) fn clear(&self) {
        match self {
            Self::Time { failures, slow } => {
                failures.clear();
                slow.clear();
            }
            Self::Calls(last) => last.clear(),
        }
    }
}

/// The last calls, one byte each, in a ring.
///
/// Whoever writes a byte adds to the sums what the byte has changed, so the sums are those of the ring whenever nobody is
/// writing, in whatever order they came.
///
/// What all calls have to share is whose turn it is. A call like the one that it replaces changes nothing else, and so, of an
/// origin that is well, threads share one cache line and only read the others.
#[derive(Debug)]
pub(super) struct LastCalls {
    next: Turn,
    ring: Box<[AtomicU8]>,
    /// 2^64 - 1 divided by the ring's length.
    reciprocal: u64,
    calls: AtomicI64,
    failures: AtomicI64,
    slow: AtomicI64,
}

/// On a cache line of its own, which every call takes for itself.
#[derive(Debug)]
#[repr(align(128))]
struct Turn(AtomicU64);

const CALLED: u8 = 1;
const FAILED: u8 = 2;
const SLOW: u8 = 4;

impl LastCalls {
    fn new(calls: usize) -> Self {
        let sum = || AtomicI64::new(0);
        let ring = (0..calls).map(|_| AtomicU8::new(0)).collect();
        let reciprocal = u64::MAX / calls as u64;
        Self { ring, next: Turn(AtomicU64::new(0)), reciprocal, calls: sum(), failures: sum(), slow: sum() }
    }

    #[inline]
    fn record(&self, failed: bool, slow: bool) {
        let place = self.place(self.next.0.fetch_add(1, Ordering::Relaxed));
        let call = CALLED | if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 };
        self.write(&self.ring[place], call);
    }

    /// The remainder by the ring's length. The quotient by its reciprocal is right, or one too small.
    #[inline]
    fn place(&self, turn: u64) -> usize {
        let length = self.ring.len() as u64;
        let quotient = ((u128::from(turn) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = turn - quotient * length;
        (if rest < length { rest } else { rest - length }) as usize
    }

    fn clear(&self) {
        self.ring.iter().for_each(|place| self.write(place, 0));
    }

    #[inline]
    fn write(&self, place: &AtomicU8, new: u8) {
        // To write what is there already would change neither it nor the sums.
        if place.load(Ordering::Relaxed) == new {
            return;
        }
        let old = place.swap(new, Ordering::Relaxed);
        for (sum, bit) in [(&self.calls, CALLED), (&self.failures, FAILED), (&self.slow, SLOW)] {
            match (old & bit != 0, new & bit != 0) {
                (false, true) => drop(sum.fetch_add(1, Ordering::Relaxed)),
                (true, false) => drop(sum.fetch_sub(1, Ordering::Relaxed)),
                _ => {}
            }
        }
    }

    fn totals(&self) -> Totals {
        // Below zero only while others are between their two steps.
        let [calls, failures, slow] = [&self.calls, &self.failures, &self.slow]
            .map(|sum| u64::try_from(sum.load(Ordering::Relaxed)).unwrap_or(0));
        Totals { calls, failures, slow }
    }
}

#[cfg(all(test, not(tower_gateway_loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_calls_are_counted_whoever_makes_them() {
        let outcomes = Outcomes::new(Span::Calls(100));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let outcomes = &outcomes;
                scope.spawn(move || (0..5_000).for_each(|call| outcomes.record(|| 0, call % 3 == 0, thread % 2 == 0)));
            }
        });
        (0..100).for_each(|call| outcomes.record(|| 0, call < 30, call < 20));
        assert_eq!(outcomes.totals(0), Totals { calls: 100, failures: 30, slow: 20 });
        outcomes.clear();
        assert_eq!(outcomes.totals(0), Totals::default());
    }

    proptest! {
        #[test]
        fn a_turn_has_the_place_that_division_gives_it(length in 1..=MOST_CALLS, turn in any::<u64>()) {
            let last = LastCalls::new(length as usize);
            for turn in [turn, turn - turn % u64::from(length), turn | 0xffff_ffff_0000_0000, u64::MAX, 0] {
                prop_assert_eq!(last.place(turn) as u64, turn % u64::from(length));
            }
        }

        #[test]
        fn the_last_calls_are_those_of_a_queue(
            length in 1u32..50,
            calls in prop::collection::vec((any::<bool>(), any::<bool>()), 0..200),
        ) {
            let outcomes = Outcomes::new(Span::Calls(length));
            let mut queue = VecDeque::new();
            for (failed, slow) in calls {
                outcomes.record(|| 0, failed, slow);
                queue.push_back((failed, slow));
                if queue.len() > length as usize {
                    queue.pop_front();
                }
                let count = |is: fn(&(bool, bool)) -> bool| queue.iter().filter(|call| is(call)).count() as u64;
                let totals = Totals { calls: count(|_| true), failures: count(|call| call.0), slow: count(|call| call.1) };
                prop_assert_eq!(outcomes.totals(0), totals);
            }
        }
    }
}
