//! UUIDs that sort by time (RFC 9562 section 5.7).
//!
//! 48 bits of Unix time in milliseconds, then 74 bits that are here split in two: an 18-bit counter and 56 random bits,
//! fresh for each id. The counter (RFC 9562 section 6.2, method 1) makes the ids of one thread sort in the order they were
//! made. It starts each millisecond at a random value below half its range, so there is room for 131,072 ids in a
//! millisecond, more than a thread can make; a clock that stands still that long has its millisecond moved on by one.
//!
//! Ids of different threads sort by the millisecond, and differ by their random bits.

use crate::hex;

const COUNTER_BITS: u32 = 18;
const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;
const TIME_MASK: u64 = (1 << 48) - 1;

/// A clock set back by less keeps the last time until the clock has caught up, so that ids go on to sort. One set back
/// further is believed, since the time before was wrong. Neither repeats an id: the random bits do not come again.
const TOLERATED_STEP_BACK_MILLIS: u64 = 10_000;

/// A UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct UuidV7(u128);

impl UuidV7 {
    fn new(unix_millis: u64, counter: u64, random: u64) -> Self {
        let version_and_rand_a = 7 << 12 | counter >> 6;
        let variant_and_rand_b = 0b10 << 62 | (counter & 0x3f) << 56 | random >> 8;
        let high = (unix_millis & TIME_MASK) << 16 | version_and_rand_a;
        Self(u128::from(high) << 64 | u128::from(variant_and_rand_b))
    }

    /// 32 digits and 4 dashes (RFC 9562 section 4).
    pub(super) fn text(self) -> [u8; 36] {
        let bytes = self.0.to_be_bytes();
        let mut text = [b'-'; 36];
        for (group, at) in [(0..4, 0), (4..6, 9), (6..8, 14), (8..10, 19), (10..16, 24)] {
            let digits = at..at + group.len() * 2;
            hex::write(&bytes[group], &mut text[digits]);
        }
        text
    }
}

/// The ids of one thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    unix_millis: u64,
    counter: u64,
}

impl Sequence {
    /// The next id at `now`, in milliseconds of Unix time, with bits from `random`.
    pub(super) fn next(&mut self, now: u64, random: impl Fn() -> u64) -> UuidV7 {
        let is_later = now > self.unix_millis;
        let is_set_back = self.unix_millis.saturating_sub(now) > TOLERATED_STEP_BACK_MILLIS;
        if is_later || is_set_back {
            self.start_millisecond(now, &random);
        } else if self.counter < COUNTER_MAX {
            self.counter += 1;
        } else {
            self.start_millisecond(self.unix_millis.wrapping_add(1), &random);
        }
        UuidV7::new(self.unix_millis, self.counter, random())
    }

    fn start_millisecond(&mut self, unix_millis: u64, random: impl Fn() -> u64) {
        self.unix_millis = unix_millis;
        self.counter = random() & (COUNTER_MAX >> 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_id::random;
    use std::collections::HashSet;

    #[test]
    fn an_id_is_laid_out_as_the_rfc_says() {
        // The example of RFC 9562 appendix A.6: time 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
        let rand_b: u64 = 0x18C4_DC0C_0C07_398F;
        let counter = 0xCC3 << 6 | rand_b >> 56;
        let uuid = UuidV7::new(0x017F_22E2_79B0, counter, rand_b << 8);
        assert_eq!(std::str::from_utf8(&uuid.text()).unwrap(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    }

    #[test]
    fn whatever_the_bits_version_and_variant_are_right() {
        for (time, bits) in [(0, 0), (u64::MAX, u64::MAX), (1 << 47, 1 << 63)] {
            let text = UuidV7::new(time, bits & COUNTER_MAX, bits).text();
            assert_eq!(text[14], b'7');
            assert!(b"89ab".contains(&text[19]));
        }
    }

    #[test]
    fn ids_of_a_thread_sort_in_the_order_they_were_made() {
        let mut sequence = Sequence::default();
        let ids: Vec<_> = (0..300_000).map(|n| sequence.next(1_000 + n / 200_000, random::bits).text()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "300,000 ids in two milliseconds");
    }

    #[test]
    fn a_full_millisecond_moves_on_to_the_next() {
        let mut sequence = Sequence { unix_millis: 1_000, counter: COUNTER_MAX };
        let before = UuidV7::new(1_000, COUNTER_MAX, u64::MAX);
        assert!(sequence.next(1_000, random::bits) > before);
        assert_eq!(sequence.unix_millis, 1_001);
        assert!(sequence.counter <= COUNTER_MAX / 2);
    }

    #[test]
    fn a_clock_set_back_a_little_does_not_disturb_the_order() {
        let mut sequence = Sequence::default();
        let before = sequence.next(1_000_000, random::bits);
        assert!(sequence.next(1_000_000 - TOLERATED_STEP_BACK_MILLIS, random::bits) > before);
        assert_eq!(sequence.unix_millis, 1_000_000);
    }

    #[test]
    fn a_clock_set_back_far_is_believed_and_no_id_comes_again() {
        let mut sequence = Sequence::default();
        let mut ids = HashSet::new();
        for round in 0..100 {
            for millis in [9_000_000, 9_000_001, 1_000_000, 1_000_001] {
                assert!(ids.insert(sequence.next(millis, random::bits)), "round {round}");
                assert_eq!(sequence.unix_millis, millis);
            }
        }
    }
}
