//! The generic cell rate algorithm, as arithmetic on one `u64`.
//!
//! What is kept of a key is its theoretical arrival time: when it would have used all that it was admitted, had it kept
//! to the rate. A key that is ahead of its rate has one in the future, and the distance is what it owes. A request moves
//! it by an emission interval for each unit of cost, and is admitted while the debt stays within the burst. A time that
//! has passed says the same as none at all, so a key that pauses need not be kept.
//!
//! # Exact for every rate
//!
//! An emission interval is `window / limit`, which is mostly no whole number of nanoseconds: 1.67 ns at 600 million a
//! second. Times are therefore not kept in nanoseconds but in units of which an emission interval has a whole number: as
//! many as it has nanoseconds, rounded up. So there are between one and two units in a nanosecond, and exactly one
//! wherever the limit divides the window. Debt is added up without any rounding, and a window refills what it should to the
//! unit. Only the reading of the clock is rounded, by less than a unit.

/// The rate of a quota in units of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    /// Units of one emission interval.
    emission: u64,
    /// The most that may be owed: the burst in units.
    tolerance: u64,
    /// Units of a nanosecond are `whole + fraction / 2^64`.
    whole: u64,
    fraction: u64,
    /// Nanoseconds of a unit are `inverse / 2^64`, a little less. Not used where they are the same.
    inverse: u64,
}

/// What a bucket answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) admitted: bool,
    /// What more is there, after this.
    pub(super) remaining: u64,
    /// Nanoseconds until all of it is there again.
    pub(super) reset_after: u64,
    /// Nanoseconds until the same cost would be admitted. 0 when it was.
    pub(super) retry_after: u64,
}

impl Pace {
    /// `limit` in `window` nanoseconds, at most two a nanosecond. None when the burst is too large for a time.
    pub(super) const fn new(limit: u64, window: u64, burst: u64) -> Option<Self> {
        let emission = window.div_ceil(limit);
        let Some(tolerance) = emission.checked_mul(burst) else { return None };
        // Units of a window.
        let units = limit as u128 * emission as u128;
        let (whole, rest) = (units / window as u128, units % window as u128);
        // The rest is less than a window, which has less than 62 bits. Rounded up, a whole number of windows is a whole
        // number of units and not one less; it takes 292 years until that adds up to a unit.
        let fraction = (rest << 64).div_ceil(window as u128);
        let inverse = u128::MAX / ((whole << 64) + fraction);
        Some(Self { emission, tolerance, whole: whole as u64, fraction: fraction as u64, inverse: inverse as u64 })
    }

    /// The most that may be owed, in units.
    pub(super) const fn tolerance(&self) -> u64 {
        self.tolerance
    }

    /// True when a unit is a nanosecond, as it is for nearly all quotas.
    fn is_plain(&self) -> bool {
        self.whole == 1 && self.fraction == 0
    }

    /// A time in units.
    fn units(&self, nanos: u64) -> u64 {
        if self.is_plain() {
            return nanos;
        }
        let part = (u128::from(nanos) * u128::from(self.fraction)) >> 64;
        nanos.saturating_mul(self.whole).saturating_add(part as u64)
    }

    /// A length of time in nanoseconds, rounded up.
    fn nanos(&self, units: u64) -> u64 {
        if self.is_plain() {
            return units;
        }
        // Short by no more than a few.
        let mut nanos = ((u128::from(units) * u128::from(self.inverse)) >> 64) as u64;
        while self.units(nanos) < units {
            nanos += 1;
        }
        nanos
    }

    /// Units of a nanosecond in 16384ths, less one nanosecond's, rounded down: how far the units of different quotas lie
    /// apart, in 16 bits.
    pub(super) fn scale(&self) -> u16 {
        (((self.whole - 1) << 14) + (self.fraction >> 50)) as u16
    }

    /// What tells quotas of different units apart.
    pub(super) fn unit(&self) -> u64 {
        self.fraction ^ (self.whole - 1)
    }

    /// Charges `cost` to a key whose state is `arrival`, 0 where there is none. The new state, unless it is refused.
    pub(super) fn charge(&self, arrival: u64, now: u64, cost: u64) -> (Option<u64>, Verdict) {
        let now = self.units(now);
        let debt = arrival.saturating_sub(now);
        let tolerance = self.tolerance;
        let price = self.emission.saturating_mul(cost);
        match debt.saturating_add(price) {
            after if after <= tolerance => (Some(now.saturating_add(after)), self.verdict(true, after, 0)),
            // No pause makes room for what is more than the bucket; to come back when it is full is as good as any.
            _ if price > tolerance => (None, self.verdict(false, debt, debt.max(1))),
            after => (None, self.verdict(false, debt, after - tolerance)),
        }
    }

    /// True when `nanos` are little beside an emission interval, and there is room for more than one: whoever keeps to the rate does
    /// not notice them.
    pub(super) fn is_slower_than(&self, nanos: u64) -> bool {
        self.emission / 10 >= nanos && self.tolerance / 2 >= self.emission
    }

    /// [`charge`](Self::charge) by a clock that is ahead, by so many nanoseconds at most. None when the exact time is needed to say
    /// whether there is room.
    ///
    /// What is admitted here is by the exact time as well: the debt is larger by no more than what is kept free. And the arrival is
    /// never earlier than it would be, as it is the later of the old one and a time that is not past.
    #[inline]
    pub(super) fn charge_ahead(&self, arrival: u64, now: u64, by: u64, cost: u64) -> Option<(u64, Verdict)> {
        let now = self.units(now);
        let after = arrival.saturating_sub(now).saturating_add(self.emission.saturating_mul(cost));
        let certain = after.saturating_add(self.units(by)) <= self.tolerance;
        certain.then(|| (now.saturating_add(after), self.verdict(true, after, 0)))
    }

    /// Charges `cost` whether or not there is room for it: what was known too late.
    pub(super) fn debit(&self, arrival: u64, now: u64, cost: u64) -> (u64, Verdict) {
        let now = self.units(now);
        let debt = arrival.saturating_sub(now).saturating_add(self.emission.saturating_mul(cost));
        // As long as a window may be at most, so that no time overflows.
        let debt = debt.min(1 << 62);
        (now.saturating_add(debt), self.verdict(true, debt, 0))
    }

    /// Gives back `cost`, as far as it is still owed.
    pub(super) fn refund(&self, arrival: u64, now: u64, cost: u64) -> (u64, Verdict) {
        let arrival = arrival.saturating_sub(self.emission.saturating_mul(cost));
        (arrival, self.peek(arrival, now))
    }

    /// How things stand.
    pub(super) fn peek(&self, arrival: u64, now: u64) -> Verdict {
        let (_, verdict) = self.charge(arrival, now, 1);
        let debt = arrival.saturating_sub(self.units(now));
        Verdict {
            remaining: self.tolerance.saturating_sub(debt) / self.emission,
            reset_after: self.nanos(debt),
            ..verdict
        }
    }

    fn verdict(&self, admitted: bool, debt: u64, wait: u64) -> Verdict {
        Verdict {
            admitted,
            remaining: self.tolerance.saturating_sub(debt) / self.emission,
            reset_after: self.nanos(debt),
            retry_after: self.nanos(wait),
        }
    }
}

#[cfg(test)]
mod tests;
