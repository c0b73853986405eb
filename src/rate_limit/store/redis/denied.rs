//! Who is out of quota, and until when: known here, no trip tells it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::memory::table::{Cell, Table};
use crate::rate_limit::digest::secret;
use crate::rate_limit::{Algorithm, Charge, Decision};

/// As many as are remembered. Who is forgotten costs a trip.
const MOST: usize = 100_000;

/// So long after its last answer the server is taken to be there still. While it is not, others may count, from zero, and what
/// it said is not theirs; and to ask it is how that is found out.
const BELIEVED: Duration = Duration::from_millis(100);

pub(super) struct Denied {
    born: Instant,
    /// When the server answered last, in nanoseconds since then.
    heard: AtomicU64,
    secret: u128,
    until: Table<1>,
}

impl Denied {
    pub(super) fn new() -> Self {
        let (born, heard) = (Instant::now(), AtomicU64::new(0));
        Self { born, heard, secret: secret() | 1, until: Table::new(MOST, |_, [until]| until) }
    }

    /// The refusal of a charge that is known to be out of quota. One that costs nothing is asked about.
    pub(super) fn refusal(&self, charge: &Charge) -> Option<Decision> {
        let until = self.until.update(self.cell(charge), |until| (None, until))?;
        let now = self.nanos(Instant::now());
        let wait = Duration::from_nanos(until.checked_sub(now)?);
        let silence = Duration::from_nanos(now.saturating_sub(self.heard.load(Ordering::Relaxed)));
        if wait.is_zero() || charge.cost == 0 || silence > BELIEVED {
            return None;
        }
        Some(Decision::refuse(0, reset_after(charge, wait), wait))
    }

    /// The server has answered.
    pub(super) fn hear(&self) {
        self.heard.fetch_max(self.nanos(Instant::now()), Ordering::Relaxed);
    }

    /// Not even a cost of 1 is admitted until `wait` after it was `asked`, unless something is given back.
    pub(super) fn deny(&self, charge: &Charge, asked: Instant, wait: Duration) {
        let (now, cell) = (self.nanos(Instant::now()), self.cell(charge));
        let until = self.nanos(asked).saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let mut slots = self.until.write(self.until.shard_of(cell));
        if slots.put(cell, [until], now).is_err() {
            slots.forget_soonest();
            let _ = slots.put(cell, [until], now);
        }
    }

    pub(super) fn forgive(&self, charge: &Charge) {
        let cell = self.cell(charge);
        self.until.write(self.until.shard_of(cell)).remove_cell(cell);
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The same key under other terms may not be out of quota.
    fn cell(&self, charge: &Charge) -> Cell {
        let quota = &charge.quota;
        let terms = [quota.limit(), quota.window_nanos(), quota.burst_size(), quota.counted_by() as u64];
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

    /// However long the test takes.
    fn of_a_server_that_answers() -> Denied {
        Denied { heard: AtomicU64::new(u64::MAX), ..Denied::new() }
    }

    #[test]
    fn nobody_is_refused_for_another() {
        let (denied, charge) =
            (of_a_server_that_answers(), |key| Charge::new(Digest::from_bits(key), Quota::per_minute(60)));
        denied.deny(&charge(1), Instant::now(), Duration::from_secs(3600));
        // Neighbours in the bits that a cell does not keep.
        assert!((2..5_000).all(|other| denied.refusal(&charge(other)).is_none()));
    }

    #[test]
    fn who_is_out_of_quota_is_refused_until_it_may_try_again_or_is_forgiven() {
        let denied = of_a_server_that_answers();
        let charge = Charge::new(Digest::from_bits(1), Quota::per_minute(60));
        let hour = Duration::from_secs(3600);
        assert_eq!(denied.refusal(&charge), None);
        denied.deny(&charge, Instant::now(), hour);
        let refusal = denied.refusal(&charge).unwrap();
        assert!(!refusal.admitted && refusal.retry_after <= hour && refusal.retry_after > hour / 2);
        assert_eq!(refusal.reset_after - refusal.retry_after, Duration::from_secs(59));
        assert_eq!(denied.refusal(&charge.cost(0)), None);
        assert_eq!(denied.refusal(&Charge::new(Digest::from_bits(1), Quota::per_minute(61))), None);
        denied.forgive(&charge);
        assert_eq!(denied.refusal(&charge), None);
        denied.deny(&charge, Instant::now(), Duration::ZERO);
        assert_eq!(denied.refusal(&charge), None, "its time has come");
    }

    #[test]
    fn a_server_that_has_not_answered_for_a_while_is_asked_again() {
        let mut denied = Denied::new();
        // What was heard then is an hour ago.
        denied.born -= Duration::from_secs(3600);
        let charge = Charge::new(Digest::from_bits(1), Quota::per_minute(60));
        denied.deny(&charge, Instant::now(), Duration::from_secs(3600));
        assert_eq!(denied.refusal(&charge), None);
        denied.hear();
        assert!(denied.refusal(&charge).is_some());
    }
}
