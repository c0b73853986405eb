//! How much is allowed, and how it is counted.

use std::fmt;
use std::time::Duration;

use super::gcra::Pace;

/// How many requests, or units of cost, a key may use in a window of time, and by which [`Algorithm`] that is counted.
///
/// ```
/// use std::time::Duration;
/// use tower_gateway::rate_limit::{Algorithm, Quota};
///
/// let steady = Quota::per_second(10);
/// let bursty = Quota::per_minute(600).burst(50)?;
/// let odd = Quota::new(7, Duration::from_secs(90))?.algorithm(Algorithm::SlidingWindow)?;
/// assert_eq!((steady.limit(), bursty.burst_size(), odd.window().as_secs()), (10, 50, 90));
/// # Ok::<_, tower_gateway::rate_limit::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: u64,
    window: u64,
    burst: u64,
    algorithm: Algorithm,
    pace: Pace,
}

/// How use is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// The generic cell rate algorithm (ITU-T I.371): a bucket of [`burst`](Quota::burst) that is refilled steadily, at
    /// the limit in each window. It is the token bucket, kept as one time instead of a level and a time. Whoever keeps
    /// to the rate is never refused, and no window of any alignment sees more than the burst and what was refilled.
    #[default]
    Gcra,
    /// Two counters, the last window's weighted by the part of it that still overlaps: as many as the limit in any
    /// window where use is even, and twice as many at the very most where it is not.
    SlidingWindow,
    /// One counter, which begins anew with each window. Windows are aligned to 1 January 1970 UTC, so that a window of
    /// a day begins at midnight. Around the end of a window twice the limit can pass.
    FixedWindow,
}

/// Why there is no such quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// A limit or a burst of nothing.
    #[error("a limit and a burst have to be at least 1")]
    Zero,
    /// A window shorter than a microsecond, which is how finely a shared store reads the time.
    #[error("a window has to be at least 1 µs")]
    WindowTooShort,
    /// More than two in a nanosecond.
    #[error("a limit may be at most 2 for each nanosecond of its window")]
    TooFast,
    /// A window, or the time in which a burst is refilled, of more than 73 years.
    #[error("a window, and the time to refill a burst, may be at most 73 years")]
    TooLong,
    /// More than the counters of a window hold.
    #[error("the limit of a sliding or fixed window may be at most 4294967295")]
    TooManyForAWindow,
    /// Windows have no burst: each admits as many as its limit.
    #[error("a burst is for gcra only")]
    BurstOfAWindow,
}

/// 73 years in nanoseconds, so that two of them fit into 63 bits.
const LONGEST: u64 = 1 << 61;

const SECOND: u64 = 1_000_000_000;

impl Quota {
    /// `limit` in each second, all of them at once if need be.
    ///
    /// # Panics
    ///
    /// When `limit` is 0, as the others do. [`new`](Self::new) does not, for limits that come from elsewhere.
    pub const fn per_second(limit: u32) -> Self {
        Self::preset(limit, SECOND)
    }

    /// `limit` in each minute.
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    pub const fn per_minute(limit: u32) -> Self {
        Self::preset(limit, 60 * SECOND)
    }

    /// `limit` in each hour.
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    pub const fn per_hour(limit: u32) -> Self {
        Self::preset(limit, 3600 * SECOND)
    }

    /// `limit` in each day of 24 hours.
    ///
    /// # Panics
    ///
    /// When `limit` is 0.
    pub const fn per_day(limit: u32) -> Self {
        Self::preset(limit, 86_400 * SECOND)
    }

    const fn preset(limit: u32, window: u64) -> Self {
        match Self::of(limit as u64, window, limit as u64) {
            Ok(quota) => quota,
            Err(_) => panic!("a quota has to be at least 1"),
        }
    }

    /// `limit` in each `window`, with a burst of the same size, by [`Algorithm::Gcra`].
    pub fn new(limit: u64, window: Duration) -> Result<Self, QuotaError> {
        let window = u64::try_from(window.as_nanos()).map_err(|_| QuotaError::TooLong)?;
        Self::of(limit, window, limit)
    }

    /// How many may come at once after a pause: 1 spaces them evenly. It is the limit unless set.
    pub fn burst(self, burst: u64) -> Result<Self, QuotaError> {
        match self.algorithm {
            Algorithm::Gcra => Self::of(self.limit, self.window, burst),
            _ if burst == self.limit => Ok(self),
            _ => Err(QuotaError::BurstOfAWindow),
        }
    }

    /// Counts by another algorithm.
    pub fn algorithm(self, algorithm: Algorithm) -> Result<Self, QuotaError> {
        match algorithm {
            Algorithm::Gcra => {}
            _ if self.burst != self.limit => return Err(QuotaError::BurstOfAWindow),
            _ if self.limit > u64::from(u32::MAX) => return Err(QuotaError::TooManyForAWindow),
            _ => {}
        }
        Ok(Self { algorithm, ..self })
    }

    /// The same rate and burst for another limit: what the plan or the key of an identity says.
    pub fn with_limit(self, limit: u64) -> Result<Self, QuotaError> {
        let burst = if self.burst == self.limit { limit } else { self.burst };
        Self::of(limit, self.window, burst)?.algorithm(self.algorithm)
    }

    /// [`with_limit`](Self::with_limit), or the nearest there is: 0 counts as 1.
    pub(super) fn nearest_limit(self, limit: u64) -> Self {
        let most = match self.algorithm {
            Algorithm::Gcra => self.window.saturating_mul(2),
            Algorithm::SlidingWindow | Algorithm::FixedWindow => u32::MAX.into(),
        };
        self.with_limit(limit.clamp(1, most)).unwrap_or(self)
    }

    /// This share of the limit and of the burst, at least 1 of each: what one of several that do not know of each other
    /// may give out.
    #[must_use]
    pub fn share(self, numerator: u32, denominator: u32) -> Self {
        let part = |whole: u64| {
            let part = u128::from(whole) * u128::from(numerator) / u128::from(denominator.max(1));
            u64::try_from(part).unwrap_or(u64::MAX).clamp(1, whole)
        };
        Self::of(part(self.limit), self.window, part(self.burst))
            .map(|quota| Self { algorithm: self.algorithm, ..quota })
            .unwrap_or(self)
    }

    const fn of(limit: u64, window: u64, burst: u64) -> Result<Self, QuotaError> {
        if limit == 0 || burst == 0 {
            return Err(QuotaError::Zero);
        }
        if window < 1000 {
            return Err(QuotaError::WindowTooShort);
        }
        if window > LONGEST {
            return Err(QuotaError::TooLong);
        }
        if limit / 2 > window {
            return Err(QuotaError::TooFast);
        }
        // In units of the pace, of which a nanosecond has between one and two.
        let pace = match Pace::new(limit, window, burst) {
            Some(pace) if pace.tolerance() <= LONGEST => pace,
            _ => return Err(QuotaError::TooLong),
        };
        Ok(Self { limit, window, burst, algorithm: Algorithm::Gcra, pace })
    }

    /// How much in each window.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The window.
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.window)
    }

    /// How much at once after a pause.
    pub fn burst_size(&self) -> u64 {
        self.burst
    }

    /// How use is counted.
    pub fn counted_by(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(super) fn window_nanos(&self) -> u64 {
        self.window
    }
}

/// `100 in 60 s`.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in ", self.limit)?;
        match self.window {
            whole if whole % SECOND == 0 => write!(f, "{} s", whole / SECOND),
            _ => write!(f, "{:?}", self.window()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_is_refused_when_it_is_made() {
        let second = Duration::from_secs(1);
        assert_eq!(Quota::new(0, second), Err(QuotaError::Zero));
        assert_eq!(Quota::per_second(1).burst(0), Err(QuotaError::Zero));
        assert_eq!(Quota::new(1, Duration::ZERO), Err(QuotaError::WindowTooShort));
        assert_eq!(Quota::new(3_000_000_000, second), Err(QuotaError::TooFast));
        assert_eq!(Quota::new(1, Duration::MAX), Err(QuotaError::TooLong));
        assert_eq!(Quota::per_day(1).burst(30_000), Err(QuotaError::TooLong));
        assert_eq!(Quota::new(u64::MAX, second), Err(QuotaError::TooFast));
        assert_eq!(Quota::per_second(1).burst(u64::MAX), Err(QuotaError::TooLong));
        let huge = Quota::new(1 << 33, Duration::from_secs(60)).unwrap();
        assert_eq!(huge.algorithm(Algorithm::FixedWindow), Err(QuotaError::TooManyForAWindow));
        let bursty = Quota::per_second(5).burst(10).unwrap();
        assert_eq!(bursty.algorithm(Algorithm::SlidingWindow), Err(QuotaError::BurstOfAWindow));
    }

    #[test]
    fn the_largest_presets_are_quotas() {
        for quota in [Quota::per_second(1_000_000_000), Quota::per_day(u32::MAX), Quota::per_hour(1)] {
            assert_eq!(quota.burst_size(), quota.limit());
        }
    }

    #[test]
    fn another_limit_keeps_the_burst_that_was_set_and_moves_the_one_that_was_not() {
        assert_eq!(Quota::per_minute(100).with_limit(1000).unwrap().burst_size(), 1000);
        assert_eq!(Quota::per_minute(100).burst(10).unwrap().with_limit(1000).unwrap().burst_size(), 10);
    }

    #[test]
    fn a_share_is_never_nothing() {
        assert_eq!(Quota::per_minute(100).share(1, 4).limit(), 25);
        assert_eq!(Quota::per_minute(3).share(1, 4).limit(), 1);
        assert_eq!(Quota::per_minute(3).share(9, 4).limit(), 3);
    }
}
