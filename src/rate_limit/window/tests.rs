use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60;

fn fixed(limit: u64) -> Windows {
    Windows { limit, length: MINUTE, sliding: false }
}

fn sliding(limit: u64) -> Windows {
    Windows { limit, length: MINUTE, sliding: true }
}

/// One key over time.
struct Key {
    windows: Windows,
    count: Count,
}

impl Key {
    fn new(windows: Windows) -> Self {
        Self { windows, count: Count::default() }
    }

    fn charge(&mut self, now: u64, cost: u64) -> Verdict {
        let (count, verdict) = self.windows.charge(self.count, now, cost);
        self.count = count.unwrap_or(self.count);
        verdict
    }

    fn flood(&mut self, now: u64) -> u64 {
        (0..).find(|_| !self.charge(now, 1).admitted).unwrap()
    }
}

#[test]
fn a_fixed_window_begins_anew_with_the_epochs_minutes() {
    let mut key = Key::new(fixed(5));
    assert_eq!(key.flood(119), 5);
    let refused = key.charge(119, 1);
    assert_eq!((refused.retry_after, refused.reset_after, refused.remaining), (1, 1, 0));
    assert_eq!(key.flood(120), 5);
    assert_eq!(key.flood(179), 0);
}

#[test]
fn a_sliding_window_lets_go_of_the_last_one_bit_by_bit() {
    let mut key = Key::new(sliding(60));
    assert_eq!(key.flood(119), 60);
    assert_eq!(key.flood(120), 0, "all of the last minute still counts");
    assert_eq!(key.flood(150), 30);
    assert_eq!(key.flood(180), 30);
    assert_eq!(key.flood(300), 60);
}

#[test]
fn a_date_that_steps_back_admits_nothing_twice_and_refuses_nobody_for_long() {
    for windows in [fixed(5), sliding(5)] {
        let mut key = Key::new(windows);
        assert_eq!(key.flood(100_000), 5);
        assert_eq!(key.flood(1_000), 0, "a day before");
        assert!(key.charge(1_000, 1).retry_after <= 2 * MINUTE);
        assert_eq!(key.flood(1_000 + 2 * MINUTE), 5);
    }
}

#[test]
fn a_refund_is_given_by_the_window_that_counted_it() {
    let mut key = Key::new(fixed(5));
    key.charge(0, 5);
    (key.count, _) = key.windows.refund(key.count, 1, 2);
    assert_eq!(key.flood(1), 2);
    (key.count, _) = key.windows.refund(key.count, MINUTE, u64::MAX);
    assert_eq!(key.flood(MINUTE), 5);
}

#[test]
fn what_was_known_too_late_is_counted_beyond_the_limit() {
    let mut key = Key::new(sliding(10));
    (key.count, _) = key.windows.debit(key.count, 0, 20);
    assert_eq!(key.flood(MINUTE), 0);
    assert_eq!(key.flood(MINUTE + 30), 0);
    assert_eq!(key.flood(MINUTE + 45), 5);
    (key.count, _) = key.windows.debit(key.count, 0, u64::MAX);
    assert_eq!(key.count.current, u32::MAX);
}

proptest! {
    /// Against one that keeps every request and counts them anew each time.
    #[test]
    fn windows_count_as_one_that_remembers_everything_does(
        is_sliding: bool,
        limit in 1..20u64,
        length in 1..100u64,
        steps in proptest::collection::vec((0..40u64, 1..4u64), 1..200),
    ) {
        let windows = Windows { limit, length, sliding: is_sliding };
        let mut key = Key::new(windows);
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        let mut now = 0;
        for (step, cost) in steps {
            now += step;
            let counted = |window: u64| admitted.iter().filter(|(at, _)| at / length == window).map(|(_, cost)| cost).sum::<u64>();
            let current = counted(now / length);
            let last = if is_sliding && now >= length { counted(now / length - 1) } else { 0 };
            // last * overlap / length + current + cost <= limit
            let passes = last * (length - now % length) + (current + cost) * length <= limit * length;
            let verdict = key.charge(now, cost);
            prop_assert_eq!(verdict.admitted, passes);
            if passes {
                admitted.push((now, cost));
                let used = last * (length - now % length) + (current + cost) * length;
                prop_assert_eq!(verdict.remaining, (limit * length - used) / length);
            } else if cost <= limit {
                let (wait, count) = (verdict.retry_after, key.count);
                prop_assert!(!windows.charge(count, now + wait - 1, cost).1.admitted);
                prop_assert!(windows.charge(count, now + wait, cost).1.admitted);
            }
            let full = windows.peek(key.count, now + verdict.reset_after);
            prop_assert_eq!((full.remaining, full.reset_after), (limit, 0));
        }
    }

    #[test]
    fn no_number_is_too_large(
        sliding: bool, limit in 1..u64::from(u32::MAX), length in 1..1u64 << 61,
        window: u64, current: u32, last: u32, now: u64, cost: u64,
    ) {
        let windows = Windows { limit, length, sliding };
        let count = Count { window, current, last };
        windows.charge(count, now, cost);
        windows.debit(count, now, cost);
        windows.refund(count, now, cost);
        windows.ends(window);
        prop_assert!(windows.peek(count, now).remaining <= limit);
    }
}
