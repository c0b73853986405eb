//! Counting in windows: fixed ones, and the sliding window counter.
//!
//! A window is known by its number since the clock's zero. The sliding window counter adds to the count of the window
//! that runs the count of the last one, weighted by the part of it that a window ending now would still overlap: it holds
//! two numbers instead of a time for each request, on the assumption that the last window's use was even.
//!
//! Windows go by the date, which may step back. A count that is dated later than now is then taken for the window that
//! runs now: nothing is admitted twice, and nobody waits longer than for the end of that window.

use super::gcra::Verdict;

/// What is kept of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// The number of the window that `current` counts.
    pub(super) window: u64,
    pub(super) current: u32,
    /// The count of the window before.
    pub(super) last: u32,
}

/// Windows of one quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) limit: u64,
    /// Nanoseconds.
    pub(super) length: u64,
    /// Whether the last window still counts.
    pub(super) sliding: bool,
}

impl Windows {
    /// Charges `cost` at `now` nanoseconds. The new state, where there is one: a refusal changes nothing but a count whose
    /// date was later than now.
    pub(super) fn charge(&self, before: Count, now: u64, cost: u64) -> (Option<Count>, Verdict) {
        let count = self.at(before, now);
        if self.used(count, now, cost) <= self.room() {
            let count = Count { current: add(count.current, cost), ..count };
            return (Some(count), self.verdict(count, now, true, 0));
        }
        let redated = (before.window > count.window).then_some(count);
        (redated, self.verdict(count, now, false, self.retry_after(count, now, cost)))
    }

    /// Charges `cost` whether or not there is room for it.
    pub(super) fn debit(&self, count: Count, now: u64, cost: u64) -> (Count, Verdict) {
        let count = self.at(count, now);
        let count = Count { current: add(count.current, cost), ..count };
        (count, self.verdict(count, now, true, 0))
    }

    /// Gives back `cost`, as far as the window that runs has counted it.
    pub(super) fn refund(&self, count: Count, now: u64, cost: u64) -> (Count, Verdict) {
        let count = self.at(count, now);
        let count = Count { current: count.current.saturating_sub(u32::try_from(cost).unwrap_or(u32::MAX)), ..count };
        (count, self.peek(count, now))
    }

    /// How things stand.
    pub(super) fn peek(&self, count: Count, now: u64) -> Verdict {
        let count = self.at(count, now);
        let admitted = self.used(count, now, 1) <= self.room();
        let retry_after = if admitted { 0 } else { self.retry_after(count, now, 1) };
        self.verdict(count, now, admitted, retry_after)
    }

    /// When a count says nothing any more, in nanoseconds.
    pub(super) fn ends(&self, window: u64) -> u64 {
        window.saturating_add(2).saturating_mul(self.length)
    }

    /// The count as of the window that runs now.
    fn at(&self, count: Count, now: u64) -> Count {
        let window = now / self.length;
        match window.checked_sub(count.window) {
            // The same one, or the date has stepped back.
            Some(0) | None => Count { window, ..count },
            Some(1) => Count { window, current: 0, last: count.current },
            Some(_) => Count { window, current: 0, last: 0 },
        }
    }

    fn room(&self) -> u128 {
        u128::from(self.limit) * u128::from(self.length)
    }

    /// What is used once `cost` is added, times the length of a window, so that no weight is rounded.
    fn used(&self, count: Count, now: u64, cost: u64) -> u128 {
        let overlap = if self.sliding { self.length - now % self.length } else { 0 };
        u128::from(count.last) * u128::from(overlap)
            + (u128::from(count.current) + u128::from(cost)) * u128::from(self.length)
    }

    /// Until `cost` would be admitted, were nothing else charged.
    fn retry_after(&self, count: Count, now: u64, cost: u64) -> u64 {
        let to_the_end = self.length - now % self.length;
        if !self.sliding || cost > self.limit {
            return to_the_end;
        }
        let free = self.limit - cost;
        match free.checked_sub(count.current.into()) {
            // The last window's part becomes small enough while this one runs.
            Some(for_last) if count.last > 0 => to_the_end - self.overlap_for(for_last, count.last),
            // This one's does when it is the last. A current count of 0 is not refused without a last one.
            _ => to_the_end + (self.length - self.overlap_for(free, count.current.max(1))),
        }
    }

    /// The longest overlap by which a count of `last` weighs no more than `room`.
    fn overlap_for(&self, room: u64, last: u32) -> u64 {
        let overlap = u128::from(room) * u128::from(self.length) / u128::from(last);
        u64::try_from(overlap).unwrap_or(u64::MAX).min(self.length)
    }

    fn verdict(&self, count: Count, now: u64, admitted: bool, retry_after: u64) -> Verdict {
        let remaining = self.room().saturating_sub(self.used(count, now, 0)) / u128::from(self.length);
        let to_the_end = self.length - now % self.length;
        let reset_after = match (count.current, count.last) {
            (0, 0) => 0,
            (0, _) if !self.sliding => 0,
            (0, _) => to_the_end,
            _ if self.sliding => to_the_end.saturating_add(self.length),
            _ => to_the_end,
        };
        Verdict { admitted, remaining: remaining as u64, reset_after, retry_after }
    }
}

fn add(count: u32, cost: u64) -> u32 {
    u32::try_from(u64::from(count).saturating_add(cost)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
