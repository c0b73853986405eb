//! The tables, and how charges are entered in them.

use std::time::Duration;

use smallvec::SmallVec;

use super::WhenFull;
use super::locked::{Locked, Which};
use super::table::{Cell, Full, Table};
use super::time::{TICK, Time};
use crate::Clock;
use crate::rate_limit::digest::secret;
use crate::rate_limit::gcra::Verdict;
use crate::rate_limit::meter::{self, State};
use crate::rate_limit::{Algorithm, Charge, Decision, Digests};

/// What a [`MemoryStore`](super::MemoryStore) is in common with its clones.
pub(super) struct Ledger {
    time: Time,
    pub(super) digests: Digests,
    /// Digests that are the same everywhere can be chosen; where they are kept cannot.
    secret: u128,
    pub(super) when_full: WhenFull,
    pub(super) buckets: Table<1>,
    /// By a clock that never steps.
    pub(super) sliding: Table<2>,
    /// By the date.
    pub(super) fixed: Table<2>,
}

/// What is written once all quotas have been asked.
struct Change {
    /// Among those that are held.
    lock: usize,
    cell: Cell,
    state: State,
    now: u64,
    /// Not so for a count that a refusal has put right.
    charges: bool,
}

impl Ledger {
    pub(super) fn new(max_keys: usize, when_full: WhenFull, clock: Clock) -> Self {
        Self {
            time: Time::new(clock),
            secret: secret() | 1,
            digests: Digests::random(),
            when_full,
            buckets: Table::new(max_keys, bucket_ends),
            sliding: Table::new(max_keys, window_ends),
            fixed: Table::new(max_keys, window_ends),
        }
    }

    /// Nanoseconds by the clock that the algorithm goes by.
    fn time(&self, which: Which) -> u64 {
        match which {
            Which::Buckets | Which::Sliding => self.time.now(),
            Which::Fixed => self.time.date(),
        }
    }

    pub(super) fn acquire_from_a_bucket(&self, charge: &Charge) -> Decision {
        let (cell, pace) = (self.cell(charge), charge.quota.pace());
        if pace.is_slower_than(TICK)
            && let Some(ahead) = self.time.ahead()
        {
            let known =
                self.buckets.update(cell, |arrival| match pace.charge_ahead(arrival, ahead, TICK, charge.cost) {
                    Some((arrival, verdict)) => (Some(arrival), Some(verdict)),
                    None => (None, None),
                });
            match known {
                Some(Some(verdict)) => return decision(verdict),
                // Whether there is room is for the exact time to say.
                Some(None) => {}
                None => return self.begin_a_bucket(cell, self.time.now(), charge),
            }
        }
        let now = self.time.now();
        let known = self.buckets.update(cell, |arrival| pace.charge(arrival, now, charge.cost));
        match known {
            Some(verdict) => decision(verdict),
            None => self.begin_a_bucket(cell, now, charge),
        }
    }

    /// The same for a key that is not known, or that somebody else has begun by now. Not a part of the way of known keys, which
    /// it would make longer.
    #[cold]
    #[inline(never)]
    fn begin_a_bucket(&self, cell: Cell, now: u64, charge: &Charge) -> Decision {
        let begin = |[arrival]: [u64; 1]| {
            let (arrival, verdict) = charge.quota.pace().charge(arrival, now, charge.cost);
            (arrival.map(|arrival| [arrival]), verdict)
        };
        let mut slots = self.buckets.write(self.buckets.shard_of(cell));
        let mut verdict = slots.change(cell, now, begin);
        if verdict.is_none() && self.when_full == WhenFull::ForgetSoonest {
            slots.forget_soonest();
            verdict = slots.change(cell, now, begin);
        }
        drop(slots);
        match verdict {
            Some(verdict) => decision(verdict),
            // There is no room, and none is to be made.
            None => self.acquire_all(std::slice::from_ref(charge)),
        }
    }

    /// With all that is concerned locked, in one order that everybody keeps to, so that nobody waits in a circle.
    pub(super) fn acquire_all(&self, charges: &[Charge]) -> Decision {
        let mut places: SmallVec<[(Which, usize); 4]> = charges.iter().map(|charge| self.place(charge)).collect();
        places.sort_unstable();
        places.dedup();
        let mut locks: SmallVec<[Locked<'_>; 4]> = places.iter().map(|&place| self.lock(place)).collect();
        let lock_of = |charge: &Charge| {
            let place = self.place(charge);
            places.binary_search(&place).unwrap_or_default()
        };

        let mut tightest: Option<Decision> = None;
        let mut changes: SmallVec<[Change; 4]> = SmallVec::new();
        for (n, charge) in charges.iter().enumerate() {
            let (lock, cell, now) = (lock_of(charge), self.cell(charge), self.time(Which::of(&charge.quota)));
            let (state, verdict) = meter::charge(&charge.quota, locks[lock].get(cell), now, charge.cost);
            let decision = match state {
                Some(_) if self.when_full == WhenFull::Refuse && locks[lock].is_full_for(cell, now) => {
                    Decision::refuse(0, charge.quota.window(), charge.quota.window())
                }
                _ => decision(verdict),
            };
            changes.extend(state.map(|state| Change { lock, cell, state, now, charges: verdict.admitted }));
            let decision = decision.of_charge(n);
            tightest = Some(tightest.map_or(decision, |tightest| tightest.tightest(decision)));
        }
        let Some(tightest) = tightest else { return Decision::admit(u64::MAX, Duration::ZERO) };
        for Change { lock, cell, state, now, charges } in changes {
            if tightest.admitted || !charges {
                self.put(&mut locks[lock], cell, state, now);
            }
        }
        tightest
    }

    /// One after the other: what each of these does can be done to one key without the others.
    pub(super) fn each(
        &self,
        charges: &[Charge],
        change: impl Fn(&Charge, State, u64) -> (Option<State>, Verdict),
    ) -> Decision {
        let decisions = charges.iter().enumerate().map(|(n, charge)| {
            let (cell, now) = (self.cell(charge), self.time(Which::of(&charge.quota)));
            let mut lock = self.lock(self.place(charge));
            let (state, verdict) = change(charge, lock.get(cell), now);
            if let Some(state) = state {
                self.put(&mut lock, cell, state, now);
            }
            decision(verdict).of_charge(n)
        });
        decisions.reduce(Decision::tightest).unwrap_or(Decision::admit(u64::MAX, Duration::ZERO))
    }

    /// Quotas that count in different units count the same key in different cells; those that count in nanoseconds share one,
    /// so that what a key owes stays when its plan changes.
    fn cell(&self, charge: &Charge) -> Cell {
        let (bits, quota) = (charge.key.bits(), &charge.quota);
        match quota.counted_by() {
            Algorithm::Gcra => Cell::new(bits, quota.pace().unit(), self.secret, quota.pace().scale()),
            _ => Cell::new(bits, quota.window_nanos(), self.secret, 0),
        }
    }

    fn put(&self, lock: &mut Locked<'_>, cell: Cell, state: State, now: u64) {
        if state == [0, 0] {
            return lock.remove(cell);
        }
        if lock.put(cell, state, now) == Err(Full) && self.when_full == WhenFull::ForgetSoonest {
            lock.forget_soonest();
            let _ = lock.put(cell, state, now);
        }
    }

    fn place(&self, charge: &Charge) -> (Which, usize) {
        let (which, cell) = (Which::of(&charge.quota), self.cell(charge));
        let shard = match which {
            Which::Buckets => self.buckets.shard_of(cell),
            Which::Sliding => self.sliding.shard_of(cell),
            Which::Fixed => self.fixed.shard_of(cell),
        };
        (which, shard)
    }

    fn lock(&self, (which, shard): (Which, usize)) -> Locked<'_> {
        match which {
            Which::Buckets => Locked::One(self.buckets.write(shard)),
            Which::Sliding => Locked::Two(self.sliding.write(shard)),
            Which::Fixed => Locked::Two(self.fixed.write(shard)),
        }
    }
}

/// An arrival time is kept in units of its quota, of which the cell says how many a nanosecond has. Rounded up: what has
/// not ended is never swept.
fn bucket_ends(cell: Cell, [arrival]: [u64; 1]) -> u64 {
    match u64::from(cell.scale()) {
        0 => arrival,
        scale => arrival.div_ceil((1 << 14) + scale).saturating_mul(1 << 14),
    }
}

fn window_ends(_: Cell, [ends, _]: [u64; 2]) -> u64 {
    ends
}

fn decision(verdict: Verdict) -> Decision {
    let (reset, retry) = (Duration::from_nanos(verdict.reset_after), Duration::from_nanos(verdict.retry_after));
    if verdict.admitted {
        return Decision::admit(verdict.remaining, reset);
    }
    Decision::refuse(verdict.remaining, reset, retry)
}
