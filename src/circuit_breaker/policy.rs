use std::time::Duration;

use super::state::MOST_PROBES;
use crate::{Share, random};

/// When it opens, for how long, and what closes it again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy {
    pub(super) failure_rate: Option<Share>,
    pub(super) slow: Option<SlowCalls>,
    pub(super) consecutive_failures: Option<u32>,
    pub(super) min_requests: u64,
    pub(super) span: Span,
    pub(super) open_for: Duration,
    pub(super) longest_open: Option<Duration>,
    pub(super) half_open_requests: u32,
}

/// What the window slides over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Time(Duration),
    Calls(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlowCalls {
    pub(super) after: Duration,
    pub(super) rate: Share,
}

/// In which of its states a breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BreakerState {
    /// Every request passes.
    Closed,
    /// Probes pass.
    HalfOpen,
    /// No request passes.
    Open,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failure_rate: Some(Share::percent(50)),
            slow: None,
            consecutive_failures: None,
            min_requests: 20,
            span: Span::Time(Duration::from_secs(30)),
            open_for: Duration::from_secs(30),
            longest_open: None,
            half_open_requests: 1,
        }
    }
}

impl Policy {
    /// How long it stays open after so many trips before this one, in milliseconds. The first time is as it is set; what is
    /// added to it later is partly left to chance, so that not all gateways probe an origin at once.
    pub(super) fn open_millis(&self, trips: u8) -> u64 {
        let first = millis(self.open_for).max(1);
        let longest = self.longest_open.map_or(first.saturating_mul(10), millis).max(first);
        let grown = first.saturating_mul(1 << trips.min(15)).min(longest);
        let added = grown - first;
        first + added - random::scale(random::random() as u32, added / 2 + 1)
    }

    /// After how long a time closed, in milliseconds, former trips are forgotten.
    pub(super) fn calm_millis(&self) -> u64 {
        match self.span {
            Span::Time(window) => millis(window).max(millis(self.open_for)),
            Span::Calls(_) => millis(self.open_for),
        }
    }

    pub(super) fn probes(&self) -> u32 {
        self.half_open_requests.clamp(1, MOST_PROBES)
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(1 << 39)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn open_time_grows_to_its_cap_and_is_never_shorter_than_set(open in 1u64..100_000, trips in 0u8..16) {
            let policy = Policy { open_for: Duration::from_millis(open), ..Policy::default() };
            let millis = policy.open_millis(trips);
            let grown = open.saturating_mul(1 << trips).min(open * 10);
            prop_assert!(millis >= open + (grown - open) / 2 - 1 && millis <= grown, "{} of {}", millis, grown);
            prop_assert_eq!(policy.open_millis(0), open);
        }
    }
}
