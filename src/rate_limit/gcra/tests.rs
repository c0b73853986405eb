use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota as GovernorQuota, RateLimiter};
use proptest::prelude::*;

use super::super::Quota;
use super::*;

/// As far as the clock may be ahead, in nanoseconds.
const TICK: u64 = 10_000_000;

const SECOND: u64 = 1_000_000_000;

fn pace(limit: u64, window: u64, burst: u64) -> Pace {
    *Quota::new(limit, Duration::from_nanos(window)).unwrap().burst(burst).unwrap().pace()
}

/// One key over time.
struct Bucket {
    pace: Pace,
    arrival: u64,
}

impl Bucket {
    fn new(limit: u64, window: u64, burst: u64) -> Self {
        Self { pace: pace(limit, window, burst), arrival: 0 }
    }

    fn charge(&mut self, now: u64, cost: u64) -> Verdict {
        let (arrival, verdict) = self.pace.charge(self.arrival, now, cost);
        self.arrival = arrival.unwrap_or(self.arrival);
        verdict
    }

    fn admits(&mut self, now: u64) -> bool {
        self.charge(now, 1).admitted
    }

    /// How many of a flood at this moment are admitted.
    fn flood(&mut self, now: u64) -> u64 {
        (0..).find(|_| !self.admits(now)).unwrap()
    }
}

#[test]
fn a_burst_passes_and_then_one_an_interval() {
    let mut bucket = Bucket::new(10, SECOND, 3);
    assert_eq!(bucket.flood(0), 3);
    assert!(!bucket.admits(SECOND / 10 - 1));
    assert!(bucket.admits(SECOND / 10));
    assert!(!bucket.admits(SECOND / 10));
    assert_eq!(bucket.flood(SECOND), 3);
}

#[test]
fn a_refusal_says_what_remains_and_how_long_to_wait() {
    let mut bucket = Bucket::new(10, SECOND, 10);
    let verdict = bucket.charge(0, 7);
    assert_eq!((verdict.remaining, verdict.reset_after), (3, 7 * SECOND / 10));
    let refused = bucket.charge(0, 4);
    assert!(!refused.admitted);
    assert_eq!((refused.remaining, refused.retry_after), (3, SECOND / 10));
    assert!(bucket.charge(SECOND / 10, 4).admitted);
}

#[test]
fn more_than_the_bucket_never_passes_and_never_charges() {
    let mut bucket = Bucket::new(10, SECOND, 10);
    let refused = bucket.charge(0, 11);
    assert!(!refused.admitted && refused.retry_after > 0);
    assert!(!bucket.charge(0, u64::MAX).admitted);
    assert!(bucket.charge(0, 10).admitted);
}

#[test]
fn a_refund_gives_back_what_is_owed_and_no_more() {
    let mut bucket = Bucket::new(10, SECOND, 10);
    bucket.charge(0, 10);
    (bucket.arrival, _) = bucket.pace.refund(bucket.arrival, 0, 4);
    assert_eq!(bucket.flood(0), 4);
    (bucket.arrival, _) = bucket.pace.refund(bucket.arrival, 0, 1_000_000);
    assert_eq!(bucket.flood(0), 10);
}

#[test]
fn what_was_known_too_late_is_owed_beyond_the_burst() {
    let mut bucket = Bucket::new(10, SECOND, 10);
    (bucket.arrival, _) = bucket.pace.debit(bucket.arrival, 0, 25);
    assert_eq!(bucket.charge(0, 1).retry_after, 16 * SECOND / 10);
    assert!(bucket.admits(16 * SECOND / 10));
    let (arrival, _) = bucket.pace.debit(bucket.arrival, 0, u64::MAX);
    assert!(bucket.pace.charge(arrival, u64::MAX, 1).1.admitted, "however much it is, it ends");
}

#[test]
fn a_thousand_million_a_second_are_exact() {
    let mut bucket = Bucket::new(SECOND, SECOND, 1);
    assert_eq!((0..1000).map(|nano| bucket.flood(nano)).sum::<u64>(), 1000);
}

#[test]
fn rates_between_whole_nanoseconds_lose_nothing_over_a_second() {
    for limit in [600_000_000, 999_999_937, 1_999_999_999, 7, 3_000, 44_100] {
        let mut bucket = Bucket::new(limit, SECOND, limit);
        assert!(bucket.charge(0, limit).admitted);
        // All of it comes back in a second, and not before.
        assert_eq!(bucket.pace.peek(bucket.arrival, SECOND - 1).remaining, limit - limit.div_ceil(SECOND), "{limit}");
        assert_eq!(bucket.pace.peek(bucket.arrival, SECOND).remaining, limit, "{limit}");
        // The same after ten years.
        let later = 10 * 365 * 86_400 * SECOND;
        assert!(bucket.charge(later, limit).admitted);
        assert!(bucket.pace.peek(bucket.arrival, later + SECOND).remaining == limit, "{limit}");
    }
}

proptest! {
    /// The promise itself: in no stretch of time are more admitted than the burst and what was refilled.
    #[test]
    fn no_stretch_of_time_sees_more_than_burst_and_rate(
        limit in 1..5_000u64,
        window in 1_000..10 * SECOND,
        burst in 1..50u64,
        start in 0..1u64 << 60,
        steps in proptest::collection::vec((0..SECOND / 2, 1..4u64), 1..100),
    ) {
        prop_assume!(limit / 2 <= window);
        let mut bucket = Bucket::new(limit, window, burst);
        let (mut now, mut admitted) = (start, Vec::new());
        for (step, cost) in steps {
            now += step;
            if bucket.charge(now, cost).admitted {
                admitted.push((now, cost));
            }
        }
        for (first, &(begin, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for &(end, cost) in &admitted[first..] {
                sum += u128::from(cost);
                // sum <= burst + elapsed * limit / window, and a unit of the clock's rounding.
                let refilled = u128::from(end - begin + 1) * u128::from(limit);
                prop_assert!(sum * u128::from(window) <= u128::from(burst) * u128::from(window) + refilled);
            }
        }
    }

    /// Exactly as a bucket of rational numbers does, but for the reading of the clock.
    #[test]
    fn a_bucket_is_as_full_as_one_that_is_never_rounded(
        limit in 1..2_000_000_000u64,
        window in 1_000..100 * SECOND,
        burst in 1..1_000u64,
        steps in proptest::collection::vec((0..SECOND, 1..20u64), 1..100),
    ) {
        prop_assume!(limit / 2 <= window);
        let mut bucket = Bucket::new(limit, window, burst);
        // The debt in nanoseconds times the limit.
        let (mut now, mut debt) = (0, 0u128);
        for (step, cost) in steps {
            now += step;
            debt = debt.saturating_sub(u128::from(step) * u128::from(limit));
            let after = debt + u128::from(cost) * u128::from(window);
            let room = u128::from(burst) * u128::from(window);
            let verdict = bucket.charge(now, cost);
            // A nanosecond is what the clock's rounding may hold back or give.
            let slack = u128::from(limit);
            if verdict.admitted {
                prop_assert!(after <= room + slack);
                debt = after;
            } else {
                prop_assert!(after + slack > room);
            }
        }
    }

    #[test]
    fn who_waits_as_told_is_admitted_and_not_two_nanoseconds_before(
        limit in 1..100_000u64,
        window in 1_000_000..100 * SECOND,
        burst in 1..100u64,
        start in 0..1u64 << 60,
        cost in 1..20u64,
    ) {
        let mut bucket = Bucket::new(limit, window, burst);
        bucket.flood(start);
        let refused = bucket.charge(start, cost);
        prop_assume!(cost <= burst);
        prop_assert!(!bucket.pace.charge(bucket.arrival, (start + refused.retry_after).saturating_sub(2).max(start), cost).1.admitted);
        prop_assert!(bucket.pace.charge(bucket.arrival, start + refused.retry_after, cost).1.admitted);
        let full = bucket.pace.peek(bucket.arrival, start + refused.reset_after);
        prop_assert_eq!((full.remaining, full.reset_after), (burst, 0));
    }

    #[test]
    fn no_number_is_too_large(
        limit in 1..u64::MAX, window in 1..u64::MAX, burst in 1..u64::MAX,
        arrival in any::<u64>(), now in any::<u64>(), cost in any::<u64>(),
    ) {
        let quota = Quota::new(limit, Duration::from_nanos(window)).and_then(|quota| quota.burst(burst));
        if let Ok(quota) = quota {
            let pace = quota.pace();
            // What a time of this size can be: 290 years.
            let (arrival, now) = (arrival >> 1, now >> 1);
            pace.charge(arrival, now, cost);
            pace.debit(arrival, now, cost);
            pace.refund(arrival, now, cost);
            prop_assert!(pace.peek(arrival, now).remaining <= burst);
        }
    }

    /// governor rounds its interval down to whole nanoseconds, so it is asked where there is nothing to round.
    #[test]
    fn governor_gives_the_same_verdicts(
        interval in 1..10_000_000u64,
        burst in 1..50u32,
        steps in proptest::collection::vec((0..20_000_000u64, 1..5u32), 1..200),
    ) {
        let clock = FakeRelativeClock::default();
        let quota = GovernorQuota::with_period(Duration::from_nanos(interval)).unwrap();
        let governor = RateLimiter::direct_with_clock(quota.allow_burst(burst.try_into().unwrap()), clock.clone());
        // A window of a thousand intervals.
        let mut bucket = Bucket::new(1_000, interval * 1_000, burst.into());
        let mut now = 0;
        for (step, cost) in steps {
            now += step;
            clock.advance(Duration::from_nanos(step));
            let theirs = matches!(governor.check_n(cost.try_into().unwrap()), Ok(Ok(())));
            prop_assert_eq!(bucket.charge(now, cost.into()).admitted, theirs);
        }
    }
}

proptest! {
    /// Of two that see the same requests, one by a clock that is ahead where that will do.
    #[test]
    fn a_clock_that_is_ahead_admits_nothing_that_the_exact_one_would_not(
        limit in 1_u64..50, burst in 2_u64..20, requests in prop::collection::vec((0_u64..200_000_000, 0_u64..=TICK, 1_u64..3), 1..200),
    ) {
        let pace = Pace::new(limit, 10 * limit * TICK, burst).unwrap();
        prop_assert!(pace.is_slower_than(TICK));
        let (mut now, mut exact, mut ours) = (0, 0, 0);
        for (pause, ahead, cost) in requests {
            now += pause;
            let (next, verdict) = match pace.charge_ahead(ours, now + ahead, TICK, cost) {
                Some((next, verdict)) => (Some(next), verdict),
                None => pace.charge(ours, now, cost),
            };
            if verdict.admitted {
                // The exact one is charged for what was admitted, and has to have room for it.
                let (charged, of_exact) = pace.charge(exact, now, cost);
                prop_assert!(of_exact.admitted);
                exact = charged.unwrap();
            }
            ours = next.unwrap_or(ours);
            prop_assert!(ours >= exact && ours <= exact.max(now) + TICK);
        }
    }
}

#[test]
fn whoever_keeps_to_the_rate_is_admitted_by_a_clock_that_is_ahead_now_and_then() {
    let pace = Pace::new(10, 1_000_000_000, 2).unwrap();
    let mut arrival = 0;
    for n in 1..1000_u64 {
        let (now, ahead) = (n * 100_000_000, n * 7_919 % TICK);
        let next = pace.charge_ahead(arrival, now + ahead, TICK, 1).map(|(next, _)| next);
        arrival = next.or_else(|| pace.charge(arrival, now, 1).0).expect("it is admitted");
    }
}
