//! Counting in this process.

mod sync;
pub(super) mod table;

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use smallvec::SmallVec;

use self::sync::RwLockWriteGuard;
use self::table::{Cell, Full, Slots, Table};
use super::{Store, StoreError};
use crate::Clock;
use crate::rate_limit::digest::secret;
use crate::rate_limit::gcra::Verdict;
use crate::rate_limit::meter::{self, State};
use crate::rate_limit::{Algorithm, Charge, Decision, Digests, Quota};

/// Counts in this process, exactly, however many threads ask: N of them hammering one key are admitted the quota and not
/// one more.
///
/// A key costs 24 bytes of a table that is at least half full, 32 for windows: at most 64 with all that is around it. There
/// is no background task. What has ended is swept by those who bring new keys, a few slots each.
///
/// GCRA and the sliding window go by a clock that never steps; the fixed window goes by the date, to which it is aligned,
/// and neither forgives nor locks out when that steps back.
///
/// As cheap to clone as an `Arc`; clones are the same store.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

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

struct Inner {
    clock: Clock,
    born: Instant,
    digests: Digests,
    /// Digests that are the same everywhere can be chosen; where they are kept cannot.
    secret: u128,
    when_full: WhenFull,
    buckets: Table<1>,
    /// By a clock that never steps.
    sliding: Table<2>,
    /// By the date.
    fixed: Table<2>,
}

/// The tables, in the order in which they are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Buckets,
    Sliding,
    Fixed,
}

/// A shard that nobody else reads or writes.
enum Locked<'a> {
    One(RwLockWriteGuard<'a, Slots<1>>),
    Two(RwLockWriteGuard<'a, Slots<2>>),
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
        let Inner { buckets, sliding, fixed, .. } = &*self.0;
        buckets.len() + sliding.len() + fixed.len()
    }

    /// True when no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the keys are held in.
    pub fn bytes(&self) -> usize {
        let Inner { buckets, sliding, fixed, .. } = &*self.0;
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
        MemoryStore(Arc::new(Inner {
            born: clock.now(),
            clock,
            secret: secret() | 1,
            digests: Digests::random(),
            when_full,
            buckets: Table::new(max_keys, bucket_ends),
            sliding: Table::new(max_keys, window_ends),
            fixed: Table::new(max_keys, window_ends),
        }))
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

impl Inner {
    /// Nanoseconds by the clock that the algorithm goes by.
    fn time(&self, which: Which) -> u64 {
        let since = match which {
            Which::Buckets | Which::Sliding => self.clock.now().saturating_duration_since(self.born),
            Which::Fixed => self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default(),
        };
        since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
    }

    fn acquire_from_a_bucket(&self, charge: &Charge) -> Decision {
        let (now, pace) = (self.time(Which::Buckets), charge.quota.pace());
        let cell = self.cell(charge);
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
    fn acquire_all(&self, charges: &[Charge]) -> Decision {
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
            let (lock, cell, now) = (lock_of(charge), self.cell(charge), self.time(which(&charge.quota)));
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
    fn each(&self, charges: &[Charge], change: impl Fn(&Charge, State, u64) -> (Option<State>, Verdict)) -> Decision {
        let decisions = charges.iter().enumerate().map(|(n, charge)| {
            let (cell, now) = (self.cell(charge), self.time(which(&charge.quota)));
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
        let (which, cell) = (which(&charge.quota), self.cell(charge));
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

impl Locked<'_> {
    fn get(&self, cell: Cell) -> State {
        match self {
            Self::One(slots) => slots.get(cell).map_or([0, 0], |[word]| [word, 0]),
            Self::Two(slots) => slots.get(cell).unwrap_or_default(),
        }
    }

    fn put(&mut self, cell: Cell, state: State, now: u64) -> Result<(), Full> {
        match self {
            Self::One(slots) => slots.put(cell, [state[0]], now),
            Self::Two(slots) => slots.put(cell, state, now),
        }
    }

    fn remove(&mut self, cell: Cell) {
        match self {
            Self::One(slots) => slots.remove_cell(cell),
            Self::Two(slots) => slots.remove_cell(cell),
        }
    }

    fn is_full_for(&mut self, cell: Cell, now: u64) -> bool {
        match self {
            Self::One(slots) => slots.is_full_for(cell, now),
            Self::Two(slots) => slots.is_full_for(cell, now),
        }
    }

    fn forget_soonest(&mut self) {
        match self {
            Self::One(slots) => slots.forget_soonest(),
            Self::Two(slots) => slots.forget_soonest(),
        }
    }
}

fn which(quota: &Quota) -> Which {
    match quota.counted_by() {
        Algorithm::Gcra => Which::Buckets,
        Algorithm::SlidingWindow => Which::Sliding,
        Algorithm::FixedWindow => Which::Fixed,
    }
}

fn decision(verdict: Verdict) -> Decision {
    let (reset, retry) = (Duration::from_nanos(verdict.reset_after), Duration::from_nanos(verdict.retry_after));
    if verdict.admitted {
        return Decision::admit(verdict.remaining, reset);
    }
    Decision::refuse(verdict.remaining, reset, retry)
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
