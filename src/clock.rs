//! The time, real or set by a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Where a layer reads the time: the system's clocks, or one that a test moves by hand.
///
/// There are two readings, and each has its use: [`now`](Self::now) never steps backwards and measures durations,
/// [`wall`](Self::wall) is the date, and may step when the machine's clock is set.
///
/// ```
/// use std::time::Duration;
/// use tower_gateway::Clock;
///
/// let (clock, hand) = Clock::manual();
/// let before = clock.now();
/// hand.advance(Duration::from_secs(5));
/// assert_eq!(clock.now() - before, Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<ManualClock>),
    #[cfg(any(feature = "circuit-breaker", feature = "retry", feature = "upstream"))]
    Runtime,
}

impl Clock {
    /// The system's clocks.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until its hand is moved. It starts at the real time.
    pub fn manual() -> (Self, Arc<ManualClock>) {
        let hand = Arc::new(ManualClock {
            start: Instant::now(),
            start_wall: SystemTime::now(),
            elapsed: AtomicU64::new(0),
            wall_shift: AtomicI64::new(0),
        });
        (Self(Source::Manual(hand.clone())), hand)
    }

    /// tokio's clock: the system's, unless the runtime has been paused for a test, where it is the runtime's.
    #[cfg(any(feature = "circuit-breaker", feature = "retry", feature = "upstream"))]
    pub const fn runtime() -> Self {
        Self(Source::Runtime)
    }

    /// True where [`now`](Self::now) is the system's, which there are other ways to ask for.
    #[cfg(any(feature = "auth-core", feature = "circuit-breaker", feature = "rate-limit", feature = "request-id"))]
    pub(crate) const fn is_the_systems(&self) -> bool {
        matches!(self.0, Source::System)
    }

    /// Monotonic time.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(hand) => hand.now(),
            #[cfg(any(feature = "circuit-breaker", feature = "retry", feature = "upstream"))]
            Source::Runtime => tokio::time::Instant::now().into_std(),
        }
    }

    /// The date. It may step in either direction when the machine's clock is set.
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Manual(hand) => hand.wall(),
            #[cfg(any(feature = "circuit-breaker", feature = "retry", feature = "upstream"))]
            Source::Runtime => SystemTime::now(),
        }
    }

    /// The date, to a tick of the kernel: no more than 10 ms ago. For what is told or judged in seconds, or is to be about
    /// right. To read it takes a fifth of the time of [`wall`](Self::wall).
    #[cfg(any(feature = "auth-core", feature = "rate-limit", feature = "request-id"))]
    pub(crate) fn wall_to_a_tick(&self) -> SystemTime {
        if self.is_the_systems() { wall_to_a_tick() } else { self.wall() }
    }

    /// The date since 1970, or one that is ahead of it by no more than a tick of the kernel: for what is told in seconds, rounded up.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn date_or_a_tick_ahead(&self) -> Duration {
        #[cfg(target_os = "linux")]
        if self.is_the_systems() {
            return coarse_date() + TICK;
        }
        self.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Of the slowest kernel, which has a hundred a second.
#[cfg(all(target_os = "linux", feature = "rate-limit"))]
const TICK: Duration = Duration::from_millis(10);

/// The date at the kernel's last tick.
#[cfg(any(
    feature = "auth-core",
    feature = "proxy",
    feature = "rate-limit",
    feature = "request-id",
    feature = "serve"
))]
pub(crate) fn wall_to_a_tick() -> SystemTime {
    #[cfg(target_os = "linux")]
    return SystemTime::UNIX_EPOCH + coarse_date();
    #[cfg(not(target_os = "linux"))]
    SystemTime::now()
}

/// The same since 1970.
#[cfg(all(
    target_os = "linux",
    any(feature = "auth-core", feature = "proxy", feature = "rate-limit", feature = "request-id", feature = "serve")
))]
fn coarse_date() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    // A clock that is set to before 1970 is none.
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec as u32)
}

/// The hand of a [`Clock::manual`].
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    start_wall: SystemTime,
    elapsed: AtomicU64,
    wall_shift: AtomicI64,
}

impl ManualClock {
    /// Moves both readings forward.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Moves the date alone, in milliseconds, as an operator or NTP does. Negative is into the past.
    pub fn step_wall(&self, millis: i64) {
        self.wall_shift.fetch_add(millis, Ordering::Relaxed);
    }

    #[cold]
    fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed.load(Ordering::Relaxed))
    }

    #[cold]
    fn wall(&self) -> SystemTime {
        let at = self.start_wall + self.elapsed();
        let shift = self.wall_shift.load(Ordering::Relaxed);
        let step = Duration::from_millis(shift.unsigned_abs());
        if shift < 0 { at.checked_sub(step).unwrap_or(SystemTime::UNIX_EPOCH) } else { at + step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved() {
        let (clock, hand) = Clock::manual();
        let (now, wall) = (clock.now(), clock.wall());
        assert_eq!((clock.now(), clock.wall()), (now, wall));

        hand.advance(Duration::from_millis(1500));
        assert_eq!(clock.now(), now + Duration::from_millis(1500));
        assert_eq!(clock.wall(), wall + Duration::from_millis(1500));
    }

    #[cfg(feature = "rate-limit")]
    #[test]
    fn a_tick_ahead_is_never_behind_and_ahead_by_no_more() {
        let clock = Clock::system();
        for _ in 0..1000 {
            let date = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let (before, ahead, after) = (date(clock.wall()), clock.date_or_a_tick_ahead(), date(clock.wall()));
            assert!(ahead >= before && ahead <= after + Duration::from_millis(10), "{before:?} {ahead:?} {after:?}");
        }
    }

    #[test]
    fn stepping_the_date_leaves_monotonic_time_alone() {
        let (clock, hand) = Clock::manual();
        let (now, wall) = (clock.now(), clock.wall());
        hand.step_wall(-60_000);
        assert_eq!(clock.now(), now);
        assert_eq!(clock.wall(), wall - Duration::from_secs(60));
    }
}
