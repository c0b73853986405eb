//! The times that keys are counted by.

use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::Clock;

/// Nanoseconds since the store was made, and the date.
pub(super) struct Time {
    clock: Clock,
    born: Instant,
    /// The same by the system's clock, where that is the one.
    #[cfg(target_os = "linux")]
    origin: Option<u64>,
}

/// Of the slowest kernel, which has a hundred a second.
pub(super) const TICK: u64 = 10_000_000;

impl Time {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            born: clock.now(),
            #[cfg(target_os = "linux")]
            origin: clock.is_the_systems().then(|| read(rustix::time::ClockId::Monotonic)),
            clock,
        }
    }

    /// By a clock that never steps.
    pub(super) fn now(&self) -> u64 {
        #[cfg(target_os = "linux")]
        if let Some(origin) = self.origin {
            return read(rustix::time::ClockId::Monotonic).saturating_sub(origin);
        }
        nanos(self.clock.now().saturating_duration_since(self.born))
    }

    /// The same as of the kernel's next tick: ahead by [`TICK`] at most. It is known without asking the processor's counter, which
    /// takes as long as all the rest of a check, and for which the processor waits until whatever it does has arrived.
    #[inline]
    pub(super) fn ahead(&self) -> Option<u64> {
        #[cfg(target_os = "linux")]
        return self.origin.map(|origin| (read(rustix::time::ClockId::MonotonicCoarse) + TICK).saturating_sub(origin));
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// The date, since 1970.
    pub(super) fn date(&self) -> u64 {
        nanos(self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

/// By one of the clocks that began with the machine, so that none of its numbers is negative.
#[cfg(target_os = "linux")]
#[inline]
fn read(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

#[cfg(all(test, target_os = "linux", not(tower_gateway_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_next_tick_is_never_behind_and_ahead_by_no_more_than_a_tick() {
        let time = Time::new(Clock::system());
        for _ in 0..10_000 {
            let (before, ahead, after) = (time.now(), time.ahead().unwrap(), time.now());
            // A machine that is stopped between two of these, or whose ticks are late, says nothing.
            if after - before < TICK / 10 {
                assert!(ahead <= after + TICK, "{before} {ahead} {after}");
            }
        }
    }

    #[test]
    fn a_clock_by_hand_has_no_ticks() {
        let (clock, hand) = Clock::manual();
        let time = Time::new(clock);
        hand.advance(Duration::from_secs(2));
        assert_eq!((time.now(), time.ahead()), (2_000_000_000, None));
    }
}
