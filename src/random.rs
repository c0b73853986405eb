//! Random numbers that nobody gains by guessing: for jitter, and for spreading load.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// 64 random bits from a generator of this thread (SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one("tower-gateway"));
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        mix(next)
    })
}

/// Spreads what differs in a few bits over all of them: the last step of SplitMix64.
pub(crate) fn mix(bits: u64) -> u64 {
    let mixed = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Maps 32 random bits to `0..range` without a division (Lemire, "Fast Random Integer Generation in an Interval", 2019).
pub(crate) fn scale(random: u32, range: u64) -> u64 {
    ((u128::from(random) * u128::from(range)) >> 32) as u64
}

/// Any time up to `limit`, all equally likely: what is called full jitter.
pub(crate) fn up_to(limit: Duration) -> Duration {
    let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(random()) * u128::from(nanos)) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_spreads_over_the_whole_range_and_not_beyond() {
        let limit = Duration::from_millis(100);
        let drawn: Vec<_> = (0..1_000).map(|_| up_to(limit)).collect();
        assert!(drawn.iter().all(|time| *time < limit));
        let late = drawn.iter().filter(|time| **time > limit / 2).count();
        assert!((400..600).contains(&late), "{late}");
    }
}
