//! Counting in this process.

mod ledger;
mod locked;
mod sync;
pub(super) mod table;
mod time;

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use self::ledger::Ledger;
use super::{Store, StoreError};
use crate::Clock;
use crate::rate_limit::{Algorithm, Charge, Decision, Digests, meter};

/// Counts in this process, exactly, however many threads ask: N of them hammering one key are admitted the quota and not
/// one more.
///
/// A key costs 24 bytes of a table that is at least half full, 32 for windows: at most 64 with all that is around it. There
/// is no background task. What has ended is swept by those who bring new keys, a few slots each.
///
/// Most quotas of GCRA are charged as of the kernel's next tick, some milliseconds ahead, and only where that leaves room for doubt
/// by the exact time: never more is admitted than by that, and a key that was idle begins to be refilled up to a tick later.
///
/// GCRA and the sliding window go by a clock that never steps; the fixed window goes by the date, to which it is aligned,
/// and neither forgives nor locks out when that steps back.
///
/// As cheap to clone as an `Arc`; clones are the same store.
#[derive(Clone)]
pub struct MemoryStore(Arc<Ledger>);

/// Makes a [`MemoryStore`].
#[derive(Clone, Debug)]
pub struct MemoryStoreBuilder {
    max_keys: usize,
    when_full: WhenFull,
    clock: Clock,
}

/// What becomes of a key that is not known when there is no room for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// It takes the place of the one that would be forgotten soonest among a few: of the one that has used least. A flood
    /// of keys that come once each drives out its own, and not those who are near their limit.
    #[default]
    ForgetSoonest,
    /// It is admitted and not counted.
    Admit,
    /// It is refused, until there is room.
    Refuse,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// For at most a million keys.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Begins with a million keys, of which the one that has used least makes room.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { max_keys: 1_000_000, when_full: WhenFull::default(), clock: Clock::system() }
    }

    /// How many keys are held, those that have ended and were not swept yet included.
    pub fn len(&self) -> usize {
        let Ledger { buckets, sliding, fixed, .. } = &*self.0;
        buckets.len() + sliding.len() + fixed.len()
    }

    /// True when no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the keys are held in.
    pub fn bytes(&self) -> usize {
        let Ledger { buckets, sliding, fixed, .. } = &*self.0;
        buckets.bytes() + sliding.bytes() + fixed.bytes()
    }

    /// Charges all of them if each has room, and none otherwise.
    pub fn acquire_now(&self, charges: &[Charge]) -> Decision {
        match charges {
            [] => Decision::admit(u64::MAX, Duration::ZERO),
            // The quick way for the one that nearly all requests take.
            [charge] if charge.quota.counted_by() == Algorithm::Gcra => self.0.acquire_from_a_bucket(charge),
            charges => self.0.acquire_all(charges),
        }
    }
}

impl MemoryStoreBuilder {
    /// How many keys there may be of each algorithm, divided evenly over shards of about a thousand. At least one.
    #[must_use]
    pub fn max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    /// What becomes of a new key when there is no room.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Where the time is read.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The store. It takes memory as keys come.
    pub fn build(self) -> MemoryStore {
        let Self { max_keys, when_full, clock } = self;
        MemoryStore(Arc::new(Ledger::new(max_keys, when_full, clock)))
    }
}

impl Store for MemoryStore {
    type Future = Ready<Result<Decision, StoreError>>;

    fn digests(&self) -> Digests {
        self.0.digests.clone()
    }

    fn now(&self, charges: &[Charge]) -> Option<Decision> {
        Some(self.acquire_now(charges))
    }

    fn acquire(&self, charges: &[Charge]) -> Self::Future {
        ready(Ok(self.acquire_now(charges)))
    }

    fn debit(&self, charges: &[Charge]) -> Self::Future {
        ready(Ok(self.0.each(charges, |charge, state, now| {
            let (state, verdict) = meter::debit(&charge.quota, state, now, charge.cost);
            (Some(state), verdict)
        })))
    }

    fn refund(&self, charges: &[Charge]) -> Self::Future {
        ready(Ok(self.0.each(charges, |charge, state, now| {
            let known = state != [0, 0];
            let (state, verdict) = meter::refund(&charge.quota, state, now, charge.cost);
            // What is not known has nothing to be given back.
            (known.then_some(state), verdict)
        })))
    }

    fn peek(&self, charges: &[Charge]) -> Self::Future {
        ready(Ok(self.0.each(charges, |charge, state, now| (None, meter::peek(&charge.quota, state, now)))))
    }

    fn reset(&self, charges: &[Charge]) -> Self::Future {
        ready(Ok(self.0.each(charges, |charge, state, now| {
            let known = state != [0, 0];
            (known.then_some([0, 0]), meter::peek(&charge.quota, [0, 0], now))
        })))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.len()).field("when_full", &self.0.when_full).finish()
    }
}

#[cfg(all(test, tower_gateway_loom))]
mod loom;
#[cfg(all(test, not(tower_gateway_loom)))]
mod tests;
