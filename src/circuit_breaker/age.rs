//! How long a breaker has been there, in milliseconds.

use std::time::Instant;

use super::policy::{Span, millis};
use crate::Clock;

/// A clock, and when a breaker was made by it.
#[derive(Clone, Debug)]
pub(super) struct Age {
    clock: Clock,
    born: Instant,
    /// The same by the clock that ticks, where that is exact enough.
    #[cfg(target_os = "linux")]
    born_by_ticks: Option<u64>,
    #[cfg(target_os = "linux")]
    born_exactly: u64,
}

/// The shortest window, in milliseconds, for which a tick is little: its tenths are ten of a slow kernel's.
const LONG: u64 = 1_000;

impl Age {
    pub(super) fn new(clock: Clock, span: Span) -> Self {
        let age = Self {
            born: clock.now(),
            #[cfg(target_os = "linux")]
            born_by_ticks: None,
            // Rounded up, and not by ticks itself, so that the age by ticks is never ahead.
            #[cfg(target_os = "linux")]
            born_exactly: read(rustix::time::ClockId::Monotonic) + 1,
            clock,
        };
        age.for_window(span)
    }

    /// The same for another window.
    pub(super) fn for_window(mut self, span: Span) -> Self {
        #[cfg(target_os = "linux")]
        {
            let is_long = matches!(span, Span::Time(window) if millis(window) >= LONG);
            self.born_by_ticks = (is_long && self.clock.is_the_systems()).then_some(self.born_exactly);
        }
        self
    }

    /// The clock's own time.
    pub(super) fn time(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn millis(&self) -> u64 {
        let age = self.clock.now().saturating_duration_since(self.born);
        age.as_secs() * 1_000 + u64::from(age.subsec_millis())
    }

    /// The same by the kernel's last tick (CLOCK_MONOTONIC_COARSE), for windows of a second and more: never ahead, and some ten
    /// milliseconds behind at most. To read the processor's counter takes half the time of a whole call of a breaker.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(super) fn about_millis(&self) -> u64 {
        match self.born_by_ticks {
            Some(born) => read(rustix::time::ClockId::MonotonicCoarse).saturating_sub(born),
            None => self.millis(),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn about_millis(&self) -> u64 {
        self.millis()
    }
}

/// Milliseconds by one of the clocks that began with the machine, so that none of its numbers is negative.
#[cfg(target_os = "linux")]
#[inline]
fn read(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(all(test, not(tower_gateway_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn about_the_time_is_never_ahead_and_behind_by_no_more_than_a_tick() {
        let age = Age::new(Clock::system(), Span::Time(Duration::from_secs(1)));
        let mut last = 0;
        while age.millis() < 50 {
            let (before, about, after) = (age.millis(), age.about_millis(), age.millis());
            assert!(about >= last, "it never steps back");
            assert!(about + 13 >= before && about <= after, "{before} {about} {after}");
            last = about;
        }
    }

    #[test]
    fn a_clock_that_a_test_moves_and_a_short_window_are_exact() {
        let (clock, hand) = Clock::manual();
        let age = Age::new(clock, Span::Time(Duration::from_secs(30)));
        hand.advance(Duration::from_millis(1234));
        assert_eq!((age.millis(), age.about_millis()), (1234, 1234));
        let age = Age::new(Clock::system(), Span::Time(Duration::from_secs(30)))
            .for_window(Span::Time(Duration::from_millis(999)));
        let (before, about, after) = (age.millis(), age.about_millis(), age.millis());
        assert!((before..=after).contains(&about));
    }
}
