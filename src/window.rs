//! Two counts over the time just past: calls and failures, requests and retries.

use crate::atomic::{AtomicU64, Ordering};

/// How many parts a window has: it slides by one of them.
pub(crate) const BUCKETS: u64 = 10;

/// Places for them: as many as fit, since a power of two needs no division to find one's own.
const PLACES: u64 = 16;

const COUNT_BITS: u32 = 22;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const TICK_BITS: u32 = 20;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

/// A ring of buckets, each of them one word: when it was begun, and what was counted since. The last part of the window is
/// the one that is filled now, so it covers nine tenths of its length and up to all of it.
///
/// Counting is one `fetch_add` in a ring that few threads share, and lock-free in any case. A bucket counts to two million and
/// stays there.
#[derive(Debug)]
pub(crate) struct Window {
    rings: [Ring; RINGS],
    tick_millis: u64,
    /// 2^64 divided by that, rounded up: what it is divided by is known, and multiplying takes a tenth of the time.
    reciprocal: u64,
}

/// On cache lines of its own: two threads that count at once would each wait for the other's.
#[derive(Debug)]
#[repr(align(128))]
struct Ring([AtomicU64; PLACES as usize]);

const RINGS: usize = 8;

impl Window {
    /// A window of `millis`, and of 20 ms at least.
    pub(crate) fn new(millis: u64) -> Self {
        let ring = |_| Ring(std::array::from_fn(|_| AtomicU64::new(0)));
        let tick_millis = tick_of(millis);
        Self { rings: std::array::from_fn(ring), tick_millis, reciprocal: (u64::MAX / tick_millis) + 1 }
    }

    /// Counts so many of both at the time `now`, in milliseconds since any moment that stays the same.
    #[inline]
    pub(crate) fn add(&self, now: u64, first: u64, second: u64) {
        let tick = self.tick(now);
        let bucket = &self.rings[own_ring()].0[place_of(tick)];
        let counts = first << COUNT_BITS | second;
        let mut word = bucket.load(Ordering::Relaxed);
        while word >> (2 * COUNT_BITS) != tick & TICK_MASK {
            // What it held is older than the window. One of those who come now begins it anew; the others add to that.
            let fresh = (tick & TICK_MASK) << (2 * COUNT_BITS) | counts;
            match bucket.compare_exchange_weak(word, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
        // Half of what fits, so that those who look at the same time do not make it overflow into its neighbour.
        if first_of(word) <= COUNT_MASK / 2 && second_of(word) <= COUNT_MASK / 2 {
            bucket.fetch_add(counts, Ordering::Relaxed);
        }
    }

    /// Takes back one of the second count, which this thread has added at the same time.
    pub(crate) fn take_back_second(&self, now: u64) {
        let tick = self.tick(now);
        let bucket = &self.rings[own_ring()].0[place_of(tick)];
        let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let current = word >> (2 * COUNT_BITS) == tick & TICK_MASK;
            (current && second_of(word) > 0).then(|| word - 1)
        });
    }

    /// Both counts of the whole window that ends at `now`.
    pub(crate) fn totals(&self, now: u64) -> (u64, u64) {
        let last = self.tick(now);
        let (mut firsts, mut seconds) = (0, 0);
        for ring in &self.rings {
            for tick in last.saturating_sub(BUCKETS - 1)..=last {
                let word = ring.0[place_of(tick)].load(Ordering::Relaxed);
                if word >> (2 * COUNT_BITS) == tick & TICK_MASK {
                    firsts += first_of(word);
                    seconds += second_of(word);
                }
            }
        }
        (firsts, seconds)
    }

    pub(crate) fn clear(&self) {
        self.rings.iter().flat_map(|ring| &ring.0).for_each(|bucket| bucket.store(0, Ordering::Relaxed));
    }

    /// True when a window of `millis` has the same buckets.
    pub(crate) fn is_as_long_as(&self, millis: u64) -> bool {
        self.tick_millis == tick_of(millis)
    }

    #[inline]
    fn tick(&self, now: u64) -> u64 {
        ((u128::from(now) * u128::from(self.reciprocal)) >> 64) as u64
    }
}

fn tick_of(millis: u64) -> u64 {
    (millis / BUCKETS).max(2)
}

/// Where the bucket of a tick is. It moves on by one whenever the ticks that are written begin anew, so that one that nobody has
/// touched since is found in no place of its own sixteen times as long.
#[inline]
fn place_of(tick: u64) -> usize {
    ((tick + (tick >> TICK_BITS)) % PLACES) as usize
}

/// The ring that this thread counts in: threads take them in turn.
#[inline]
fn own_ring() -> usize {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Known when it is compiled, so that nothing has to be asked before it is read: none yet.
        static OWN: Cell<usize> = const { Cell::new(RINGS) };
    }
    OWN.with(|own| {
        if own.get() == RINGS {
            own.set(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % RINGS);
        }
        own.get() % RINGS
    })
}

fn first_of(word: u64) -> u64 {
    word >> COUNT_BITS & COUNT_MASK
}

fn second_of(word: u64) -> u64 {
    word & COUNT_MASK
}

#[cfg(all(test, not(tower_gateway_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let window = Window::new(1_000);
        window.add(50, 1, 1);
        window.add(950, 1, 0);
        assert_eq!(window.totals(999), (2, 1));
        assert_eq!(window.totals(1_000), (1, 0));
        assert_eq!(window.totals(100_000), (0, 0));
    }

    #[test]
    fn a_bucket_that_is_full_stays_full() {
        let window = Window::new(20);
        for _ in 0..5 {
            window.add(3, 1 << 20, 1 << 20);
        }
        let (calls, failures) = window.totals(3);
        assert!(calls == failures && calls > COUNT_MASK / 2, "{calls} {failures}");
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let window = Window::new(60_000);
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| (0..10_000).for_each(|n| window.add(n / 100, 1, n % 2)))));
        });
        assert_eq!(window.totals(100), (80_000, 40_000));
    }

    proptest! {
        #[test]
        fn a_tick_is_what_division_makes_it(millis in 20u64..1 << 40, now in 0u64..1 << 40) {
            prop_assert_eq!(Window::new(millis).tick(now), now / tick_of(millis));
        }

        #[test]
        fn it_counts_as_a_list_of_all_that_happened_would(
            length in 20u64..5_000,
            wraps in 0u64..40,
            steps in prop::collection::vec((0u64..2_000, any::<bool>()), 0..200),
        ) {
            let (window, tick) = (Window::new(length), length / BUCKETS);
            // Shortly before the ticks as they are written begin anew, so many times.
            let (mut now, mut all) = ((wraps << TICK_BITS).saturating_sub(5) * tick, Vec::new());
            for (step, fails) in steps {
                now += step;
                window.add(now, 1, u64::from(fails));
                all.push((now / tick, fails));
                let counted = all.iter().filter(|(at, _)| at + BUCKETS > now / tick);
                let failures = counted.clone().filter(|(_, fails)| *fails).count() as u64;
                prop_assert_eq!(window.totals(now), (counted.count() as u64, failures));
            }
        }
    }
}
