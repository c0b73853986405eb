//! One breaker: its state, and what its calls came to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::age::Age;
use super::outcomes::{Outcomes, Totals};
use super::policy::{BreakerState, Policy, Span};
use super::state::{Admission, Phase, Probed, Refused, Snapshot, State, Transition};
use crate::classify::Outcome;
use crate::{Clock, Share};

#[derive(Debug)]
pub(super) struct Breaker {
    pub(super) key: Arc<str>,
    state: State,
    outcomes: Outcomes,
    /// Failures since the last success.
    in_a_row: AtomicU32,
    pub(super) refused: AtomicU64,
    pub(super) opened: AtomicU64,
    age: Age,
}

impl Breaker {
    pub(super) fn new(key: Arc<str>, span: Span, clock: Clock) -> Self {
        Self {
            key,
            state: State::new(),
            outcomes: Outcomes::new(span),
            in_a_row: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            age: Age::new(clock, span),
        }
    }

    /// The same breaker with another window, which is empty. Probes under way report to the old one, so what was half-open
    /// is open, and its time over.
    pub(super) fn with_span(&self, span: Span) -> Self {
        let mut snapshot = self.state.snapshot();
        if let Phase::HalfOpen { .. } = snapshot.phase {
            snapshot.phase = Phase::Open { until: 0 };
        }
        Self {
            key: self.key.clone(),
            state: State::from(snapshot),
            outcomes: Outcomes::new(span),
            in_a_row: AtomicU32::new(self.in_a_row.load(Ordering::Relaxed)),
            refused: AtomicU64::new(self.refused.load(Ordering::Relaxed)),
            opened: AtomicU64::new(self.opened.load(Ordering::Relaxed)),
            age: self.age.clone().for_window(span),
        }
    }

    /// Milliseconds since it was made.
    pub(super) fn now(&self) -> u64 {
        self.age.millis()
    }

    pub(super) fn time(&self) -> Instant {
        self.age.time()
    }

    #[inline]
    pub(super) fn admit(&self, policy: &Policy) -> (Result<Admission, Refused>, Option<Transition>) {
        let (admitted, transition) = self.state.admit(policy.probes(), || self.now());
        if admitted.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        (admitted, transition)
    }

    /// What became of a call that was admitted.
    #[inline]
    pub(super) fn record(
        &self,
        policy: &Policy,
        admission: Admission,
        outcome: Outcome,
        slow: bool,
    ) -> Option<Transition> {
        match admission {
            Admission::Unwatched => None,
            Admission::Counted { epoch } => self.count(policy, epoch, outcome, slow),
            Admission::Probe { epoch } => self.probe_ended(policy, epoch, outcome, slow),
        }
    }

    #[cold]
    fn probe_ended(&self, policy: &Policy, epoch: u32, outcome: Outcome, slow: bool) -> Option<Transition> {
        let what = match outcome {
            Outcome::Success if !slow => Probed::Succeeded,
            Outcome::Success | Outcome::Failure => Probed::Failed,
            Outcome::Throttled | Outcome::Ignored if slow => Probed::Failed,
            Outcome::Throttled | Outcome::Ignored => Probed::Nothing,
        };
        // A probe that comes back too late has nothing to say of what was counted since.
        if what == Probed::Succeeded && self.state.snapshot().epoch == epoch {
            // Nobody counts in this state. Should this be the probe that closes it, the window is empty then.
            self.outcomes.clear();
            self.in_a_row.store(0, Ordering::Relaxed);
        }
        let open_millis = |trips| policy.open_millis(trips);
        self.note(self.state.probed(epoch, what, policy.probes(), self.now(), open_millis))
    }

    #[inline]
    fn count(&self, policy: &Policy, epoch: u32, outcome: Outcome, slow: bool) -> Option<Transition> {
        let failed = outcome == Outcome::Failure;
        if outcome == Outcome::Ignored && !slow {
            return None;
        }
        let seen = self.state.snapshot();
        if seen.epoch != epoch {
            return None;
        }
        self.outcomes.record(|| self.age.about_millis(), failed, slow);
        if failed || slow {
            return self.trip_if_over(policy, epoch, failed);
        }
        if outcome == Outcome::Success && self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
        None
    }

    /// Opens it where a call that has just been counted is one too many.
    #[cold]
    fn trip_if_over(&self, policy: &Policy, epoch: u32, failed: bool) -> Option<Transition> {
        let in_a_row = if failed { self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1) } else { 0 };
        let row_is_full = policy.consecutive_failures.is_some_and(|limit| in_a_row >= limit.max(1));
        let now = self.now();
        if !row_is_full && !self.is_over(policy, now) {
            return None;
        }
        let tripped = self.state.trip(epoch, now, policy.calm_millis(), |trips| policy.open_millis(trips));
        if tripped.is_some() {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
        self.note(tripped)
    }

    fn is_over(&self, policy: &Policy, now: u64) -> bool {
        let Totals { calls, failures, slow } = self.outcomes.totals(now);
        if calls < policy.min_requests {
            return false;
        }
        let over = |rate: Share, part: u64| part > 0 && rate.is_reached(part, calls);
        policy.failure_rate.is_some_and(|rate| over(rate, failures))
            || policy.slow.is_some_and(|limit| over(limit.rate, slow))
    }

    pub(super) fn force(&self, phase: Phase) -> Option<Transition> {
        self.outcomes.clear();
        self.in_a_row.store(0, Ordering::Relaxed);
        self.note(self.state.force(phase))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.state.snapshot()
    }

    pub(super) fn totals(&self) -> Totals {
        self.outcomes.totals(self.now())
    }

    pub(super) fn fits(&self, span: Span) -> bool {
        self.outcomes.fits(span)
    }

    /// True when there is nothing to remember of it.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.snapshot().phase, Phase::Closed { .. }) && self.totals().calls == 0
    }

    /// How long it stays open yet.
    pub(super) fn left(&self) -> Option<Duration> {
        match self.snapshot().phase {
            Phase::Open { until } => Some(Duration::from_millis(until.saturating_sub(self.now()))),
            _ => None,
        }
    }

    fn note(&self, transition: Option<Transition>) -> Option<Transition> {
        if transition.is_some_and(|transition| matches!(transition.to, Phase::Open { .. } | Phase::ForcedOpen)) {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        transition
    }
}

impl Phase {
    pub(super) fn state(self) -> BreakerState {
        match self {
            Self::Closed { .. } | Self::ForcedClosed => BreakerState::Closed,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
            Self::Open { .. } | Self::ForcedOpen => BreakerState::Open,
        }
    }
}

#[cfg(all(test, not(tower_gateway_loom)))]
mod tests;
