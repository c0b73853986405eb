//! Who is out of quota, and until when: known here, no trip tells it again.

use std::time::{Duration, Instant};

use super::super::memory::table::{Cell, Table};
use super::pulse::Pulse;
use crate::rate_limit::digest::secret;
use crate::rate_limit::{Algorithm, Charge, Decision};

/// As many as are remembered. Who is forgotten costs a trip.
const MOST: usize = 100_000;

/// What the server has refused, and is believed for as long as it is known to be there. While it is not, others may count, from
/// zero, and what it said is not theirs.
///
/// All that it said belongs to an era, which ends when the server is lost: the next one knows nothing of it.
pub(super) struct Denied {
    pub(super) pulse: Pulse,
    secret: u128,
    until: Table<1>,
}

impl Denied {
    /// Of a server that has so long for each answer.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { pulse: Pulse::new(deadline), secret: secret() | 1, until: Table::new(MOST, |_, [until]| until) }
    }

    /// The refusal of a charge that is known to be out of quota. One that costs nothing is asked about.
    pub(super) fn refusal(&self, charge: &Charge, era: u64) -> Option<Decision> {
        let until = self.until.update(self.cell(charge, era), |until| (None, until))?;
        let now = self.pulse.nanos(Instant::now());
        let wait = Duration::from_nanos(until.checked_sub(now)?);
        if wait.is_zero() || charge.cost == 0 || !self.pulse.is_felt(now) {
            return None;
        }
        Some(Decision::refuse(0, reset_after(charge, wait), wait))
    }

    /// Not even a cost of 1 is admitted until `wait` after it was `asked` in this era, unless something is given back.
    pub(super) fn deny(&self, charge: &Charge, era: u64, asked: Instant, wait: Duration) {
        let (now, cell) = (self.pulse.nanos(Instant::now()), self.cell(charge, era));
        let until = self.pulse.nanos(asked).saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let mut slots = self.until.write(self.until.shard_of(cell));
        if slots.put(cell, [until], now).is_err() {
            slots.forget_soonest();
            let _ = slots.put(cell, [until], now);
        }
    }

    pub(super) fn forgive(&self, charge: &Charge, era: u64) {
        let cell = self.cell(charge, era);
        self.until.write(self.until.shard_of(cell)).remove_cell(cell);
    }

    /// Makes room: what the server said before it was lost is asked for by nobody.
    pub(super) fn forget_all(&self) {
        self.until.clear();
    }

    pub(super) fn is_any_refused(&self) -> bool {
        self.until.lasts_any(self.pulse.nanos(Instant::now()))
    }

    /// The same key under other terms may not be out of quota.
    fn cell(&self, charge: &Charge, era: u64) -> Cell {
        let quota = &charge.quota;
        let terms = [era, quota.limit(), quota.window_nanos(), quota.burst_size(), quota.counted_by() as u64];
        let units = terms
            .into_iter()
            .fold(0u64, |hash, term| (hash.rotate_left(23) ^ term).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Cell::new(charge.key.bits(), units, self.secret, 0)
    }
}

/// How long until all of it is there, for a key whose next unit is `wait` away.
fn reset_after(charge: &Charge, wait: Duration) -> Duration {
    let quota = &charge.quota;
    match quota.counted_by() {
        Algorithm::Gcra => {
            let others =
                u128::from(quota.window_nanos()) * u128::from(quota.burst_size() - 1) / u128::from(quota.limit());
            wait.saturating_add(Duration::from_nanos(u64::try_from(others).unwrap_or(u64::MAX)))
        }
        Algorithm::SlidingWindow | Algorithm::FixedWindow => wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::{Digest, Quota};

    const HOUR: Duration = Duration::from_secs(3600);

    /// Of a server that has just answered, and has longer for the next than any test takes.
    fn denied() -> Denied {
        let denied = Denied::new(HOUR);
        denied.pulse.hear();
        denied
    }

    #[test]
    fn nobody_is_refused_for_another() {
        let (denied, charge) = (denied(), |key| Charge::new(Digest::from_bits(key), Quota::per_minute(60)));
        denied.deny(&charge(1), 0, Instant::now(), HOUR);
        // Neighbours in the bits that a cell does not keep.
        assert!((2..5_000).all(|other| denied.refusal(&charge(other), 0).is_none()));
    }

    #[test]
    fn who_is_out_of_quota_is_refused_until_it_may_try_again_or_is_forgiven() {
        let denied = denied();
        let charge = Charge::new(Digest::from_bits(1), Quota::per_minute(60));
        assert_eq!(denied.refusal(&charge, 0), None);
        denied.deny(&charge, 0, Instant::now(), HOUR);
        let refusal = denied.refusal(&charge, 0).unwrap();
        assert!(!refusal.admitted && refusal.retry_after <= HOUR && refusal.retry_after > HOUR / 2);
        assert_eq!(refusal.reset_after - refusal.retry_after, Duration::from_secs(59));
        assert_eq!(denied.refusal(&charge.cost(0), 0), None);
        assert_eq!(denied.refusal(&Charge::new(Digest::from_bits(1), Quota::per_minute(61)), 0), None);
        denied.forgive(&charge, 0);
        assert_eq!(denied.refusal(&charge, 0), None);
        denied.deny(&charge, 0, Instant::now(), Duration::ZERO);
        assert_eq!(denied.refusal(&charge, 0), None, "its time has come");
    }

    #[test]
    fn what_was_said_in_one_era_is_not_believed_in_the_next() {
        let denied = denied();
        let charge = Charge::new(Digest::from_bits(1), Quota::per_minute(60));
        assert!(!denied.is_any_refused());
        denied.deny(&charge, 7, Instant::now(), HOUR);
        assert!(denied.is_any_refused());
        assert!(denied.refusal(&charge, 7).is_some());
        assert_eq!(denied.refusal(&charge, 8), None);
        denied.forget_all();
        assert!(!denied.is_any_refused());
        assert_eq!(denied.refusal(&charge, 7), None);
        denied.deny(&charge, 8, Instant::now(), HOUR);
        assert!(denied.refusal(&charge, 8).is_some(), "and there is room for others");
    }

    #[test]
    fn a_server_that_has_not_answered_for_too_long_is_not_believed() {
        let denied = Denied { pulse: Pulse::silent(), ..Denied::new(HOUR) };
        let charge = Charge::new(Digest::from_bits(1), Quota::per_minute(60));
        denied.deny(&charge, 0, Instant::now(), HOUR);
        assert_eq!(denied.refusal(&charge, 0), None);
        denied.pulse.hear();
        assert!(denied.refusal(&charge, 0).is_some());
    }
}
