//! Random bits without a system call each.
//!
//! Each thread has a generator of its own (ChaCha with twelve rounds, RFC 8439's cipher as the `rand` crates have it), seeded
//! by the operating system once. So who sees some of these values cannot guess the others, or the ids made by another thread.
//! That is what a request id and a trace id need. It is not a promise fit for a secret: nothing that grants access may be made
//! of it.
//!
//! A process that forks and goes on in both halves, without an exec, has the same state in both.

use std::cell::RefCell;
use std::num::{NonZeroU64, NonZeroU128};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

thread_local! {
    static RANDOM: RefCell<ChaCha12Rng> = RefCell::new(ChaCha12Rng::from_os_rng());
}

/// 64 random bits.
pub(super) fn bits() -> u64 {
    // What is kept here has no destructor, so it is there for as long as the thread is.
    RANDOM.with_borrow_mut(RngCore::next_u64)
}

/// 128 random bits, not all of them zero.
pub(super) fn trace_id() -> NonZeroU128 {
    let bits = u128::from(bits()) << 64 | u128::from(bits());
    NonZeroU128::new(bits).unwrap_or(NonZeroU128::MIN)
}

/// 64 random bits, not all of them zero.
pub(super) fn parent_id() -> NonZeroU64 {
    NonZeroU64::new(bits()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_bit_is_set_half_of_the_time() {
        const DRAWS: u32 = 20_000;
        let mut ones = [0_u32; 64];
        for _ in 0..DRAWS {
            let bits = bits();
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += u32::from(bits >> bit & 1 == 1);
            }
        }
        // Eight standard deviations of sqrt(DRAWS) / 2: a fair generator fails once in 10^13 runs.
        let deviation = ones.iter().map(|&ones| ones.abs_diff(DRAWS / 2)).max().unwrap();
        assert!(deviation < 566, "a bit is off by {deviation}");
    }

    #[test]
    fn threads_draw_different_bits() {
        let draw = || (0..100).map(|_| bits()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(draw)).collect();
        let all: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.len(), 800);
    }
}
