//! A table of counters: so many bytes a key, so many keys, and those that have ended are swept as others come.
//!
//! Keys are spread over shards, each with a lock of its own. What is known is changed under the shard's read lock, by
//! compare and swap: no two threads wait for each other there. The write lock is for new keys, and for what has to see
//! several words or keys at once.
//!
//! A shard is one array with open addressing (linear probing, and what is behind a gap moved up), at most three quarters
//! full, which grows by half: between a half and three quarters of its slots are used once it has grown. A shard holds
//! about a thousand keys, so that to grow is no pause that anybody would see.
//!
//! A new key takes the place of one that has ended, where it passes such on its way to a gap, and looks at a few slots behind
//! the gap. That is memory it has touched already: to sweep by a hand that goes round is to wait for memory in no cache.

use smallvec::SmallVec;

use super::sync::{AtomicU64, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Slots behind its own that each new key looks through for such as have ended, in the same line of a cache or the next.
const SWEPT: usize = 4;
/// Slots that are looked through by a hand that goes round, where there is no room.
const SWEPT_WHEN_FULL: usize = 8;
/// Slots that are looked through for the one to forget when there is no room.
const SAMPLED: usize = 16;
const KEYS_OF_A_SHARD: usize = 1024;
const MOST_SHARDS: usize = 4096;

/// Where a key is counted. Never all zero, which is what an empty slot is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limit::store) struct Cell([u64; 2]);

impl Cell {
    const NONE: Self = Self([0, 0]);

    /// Of a key and what tells the units apart in which it is counted.
    ///
    /// Spread by a secret odd number (multiply-shift hashing), so that whoever chooses the bits does not choose the place.
    /// `scale` is kept in the key itself, for whoever reads the words by it.
    pub(in crate::rate_limit::store) fn new(bits: u128, units: u64, secret: u128, scale: u16) -> Self {
        let units = u128::from(units).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let bits = (bits ^ units).wrapping_mul(secret);
        let low = (bits as u64) & !0xffff | u64::from(scale);
        Self([((bits >> 64) as u64).max(1), low])
    }

    pub(in crate::rate_limit::store) fn scale(self) -> u16 {
        self.0[1] as u16
    }
}

/// When what these words of a cell say has ended, in nanoseconds.
pub(in crate::rate_limit::store) type Ends<const W: usize> = fn(Cell, [u64; W]) -> u64;

pub(in crate::rate_limit::store) struct Table<const W: usize> {
    shards: Box<[Shard<W>]>,
}

/// On a cache line of its own, as its lock is written by every look.
#[repr(align(64))]
struct Shard<const W: usize>(RwLock<Slots<W>>);

pub(in crate::rate_limit::store) struct Slots<const W: usize> {
    slots: Box<[Slot<W>]>,
    used: usize,
    most: usize,
    hand: usize,
    ends: Ends<W>,
}

struct Slot<const W: usize> {
    cell: Cell,
    words: [AtomicU64; W],
}

/// Where a cell is, or would be put: between its home and the first gap there is nothing that would hide it.
enum Place {
    Known(usize),
    /// In place of one that has ended.
    Ended(usize),
    Gap(usize),
}

/// There is no room for another key.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rate_limit::store) struct Full;

impl<const W: usize> Table<W> {
    /// At most `most` keys, divided evenly among the shards.
    pub(in crate::rate_limit::store) fn new(most: usize, ends: Ends<W>) -> Self {
        let shards = (most / KEYS_OF_A_SHARD).clamp(1, MOST_SHARDS);
        // The largest power of two that is no more.
        let shards = 1 << shards.ilog2();
        let most = (most / shards).max(1);
        let shard = || Shard(RwLock::new(Slots { slots: Box::default(), used: 0, most, hand: 0, ends }));
        Self { shards: (0..shards).map(|_| shard()).collect() }
    }

    pub(in crate::rate_limit::store) fn shard_of(&self, cell: Cell) -> usize {
        (cell.0[0] >> 40) as usize & (self.shards.len() - 1)
    }

    pub(in crate::rate_limit::store) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Slots<W>> {
        // Nothing panics while a lock is held: words are numbers, and what they mean is computed outside.
        self.shards[shard].0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Slots<W>> {
        self.shards[shard].0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Forgets all of them.
    #[cfg(feature = "redis")]
    pub(in crate::rate_limit::store) fn clear(&self) {
        for shard in 0..self.shards.len() {
            let mut slots = self.write(shard);
            slots.slots = Box::default();
            (slots.used, slots.hand) = (0, 0);
        }
    }

    /// Whether there is any that has not ended by `now`.
    #[cfg(feature = "redis")]
    pub(in crate::rate_limit::store) fn lasts_any(&self, now: u64) -> bool {
        (0..self.shards.len()).any(|shard| {
            let slots = self.read(shard);
            (0..slots.slots.len()).any(|at| slots.slots[at].is_used() && slots.ends_at(at) > now)
        })
    }

    pub(super) fn len(&self) -> usize {
        (0..self.shards.len()).map(|shard| self.read(shard).used).sum()
    }

    /// Bytes of all slots, used or not.
    pub(super) fn bytes(&self) -> usize {
        let slots: usize = (0..self.shards.len()).map(|shard| self.read(shard).slots.len()).sum();
        slots * size_of::<Slot<W>>() + self.shards.len() * size_of::<Shard<W>>()
    }
}

impl Table<1> {
    /// Changes the word of a known cell until nobody else has changed it meanwhile. None when it is not known.
    pub(in crate::rate_limit::store) fn update<T>(
        &self,
        cell: Cell,
        mut change: impl FnMut(u64) -> (Option<u64>, T),
    ) -> Option<T> {
        let slots = self.read(self.shard_of(cell));
        let [word] = &slots.slots[slots.find(cell)?].words;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let (new, result) = change(seen);
            let Some(new) = new else { return Some(result) };
            // One word is all there is to agree on, so no order with others is needed.
            match word.compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(result),
                Err(other) => seen = other,
            }
        }
    }
}

impl<const W: usize> Slots<W> {
    pub(in crate::rate_limit::store) fn get(&self, cell: Cell) -> Option<[u64; W]> {
        self.find(cell).map(|at| self.slots[at].load())
    }

    /// True when there is no room for `cell`, even once a few that have ended by `now` are forgotten.
    pub(in crate::rate_limit::store) fn is_full_for(&mut self, cell: Cell, now: u64) -> bool {
        if self.used < self.most || self.find(cell).is_some() {
            return false;
        }
        self.sweep(now);
        self.used >= self.most
    }

    /// Writes the words of `cell`. Where it is new, a few others are looked through, and forgotten if they have ended by
    /// `now`; if there is no room even so, it is not written.
    pub(in crate::rate_limit::store) fn put(&mut self, cell: Cell, words: [u64; W], now: u64) -> Result<(), Full> {
        self.change(cell, now, |_| (Some(words), ())).ok_or(Full)
    }

    /// Changes the words of `cell`, all zero where it is new, on one way through the slots. None when there is no room for what it
    /// would be changed into, which is not written then.
    pub(in crate::rate_limit::store) fn change<T>(
        &mut self,
        cell: Cell,
        now: u64,
        change: impl FnOnce([u64; W]) -> (Option<[u64; W]>, T),
    ) -> Option<T> {
        let place = self.find_place(cell, now);
        if let Place::Known(at) = place {
            let (words, result) = change(self.slots[at].load());
            if let Some(words) = words {
                self.slots[at].store(words);
            }
            return Some(result);
        }
        let (words, result) = change([0; W]);
        let Some(words) = words else { return Some(result) };
        match place {
            Place::Known(at) | Place::Ended(at) => {
                self.slots[at].cell = cell;
                self.slots[at].store(words);
            }
            Place::Gap(at) => {
                self.sweep_behind(at, now);
                if self.used >= self.most {
                    return None;
                }
                if (self.used + 1) * 4 > self.slots.len() * 3 {
                    self.grow(now);
                    self.place(cell, words);
                } else {
                    self.fill(at, cell, words);
                }
            }
        }
        Some(result)
    }

    /// Forgets the one of a few that would have ended soonest. The next time it is one of the few behind them, so that no place
    /// becomes emptier than the others.
    pub(in crate::rate_limit::store) fn forget_soonest(&mut self) {
        let places = (0..self.slots.len()).map(|n| (self.hand + n) % self.slots.len());
        let sampled: SmallVec<[usize; SAMPLED]> = places.filter(|&at| self.slots[at].is_used()).take(SAMPLED).collect();
        if let Some(&at) = sampled.iter().min_by_key(|&&at| self.ends_at(at)) {
            self.hand = sampled.last().map_or(0, |&last| self.after(last));
            self.remove(at);
        }
    }

    pub(in crate::rate_limit::store) fn remove_cell(&mut self, cell: Cell) {
        if let Some(at) = self.find(cell) {
            self.remove(at);
        }
    }

    fn sweep(&mut self, now: u64) {
        for _ in 0..SWEPT_WHEN_FULL.min(self.slots.len()) {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            if self.slots[self.hand].is_used() && self.ends_at(self.hand) <= now {
                // What was behind it may have moved here, and is looked at next.
                self.remove(self.hand);
            } else {
                self.hand += 1;
            }
        }
    }

    /// The gap at this place stays where it is: nothing is moved up across it.
    fn sweep_behind(&mut self, gap: usize, now: u64) {
        if self.slots.is_empty() {
            return;
        }
        let mut at = gap;
        for _ in 0..SWEPT {
            at = self.after(at);
            while self.slots[at].is_used() && self.ends_at(at) <= now {
                self.remove(at);
            }
        }
    }

    fn ends_at(&self, at: usize) -> u64 {
        (self.ends)(self.slots[at].cell, self.slots[at].load())
    }

    /// Half full when nothing has ended, and never larger than it has to be for the most.
    fn grow(&mut self, now: u64) {
        let ends = self.ends;
        let mut kept = std::mem::take(&mut self.slots).into_vec();
        kept.retain(|slot| slot.is_used() && ends(slot.cell, slot.load()) > now);
        let largest = self.most + self.most.div_ceil(3) + 1;
        let slots = ((kept.len() + 1) * 2).min(largest).max(16);
        self.slots = (0..slots).map(|_| Slot::empty()).collect();
        (self.used, self.hand) = (0, 0);
        for slot in kept {
            self.place(slot.cell, slot.load());
        }
    }

    fn place(&mut self, cell: Cell, words: [u64; W]) {
        let mut at = self.home(cell);
        while self.slots[at].is_used() {
            at = self.after(at);
        }
        self.fill(at, cell, words);
    }

    fn fill(&mut self, gap: usize, cell: Cell, words: [u64; W]) {
        self.slots[gap].cell = cell;
        self.slots[gap].store(words);
        self.used += 1;
    }

    /// Where `cell` is, or would be put.
    fn find_place(&self, cell: Cell, now: u64) -> Place {
        if self.slots.is_empty() {
            return Place::Gap(0);
        }
        let (mut at, mut ended) = (self.home(cell), None);
        // A quarter of the slots is empty, so this ends.
        while self.slots[at].is_used() {
            if self.slots[at].cell == cell {
                return Place::Known(at);
            }
            if ended.is_none() && self.ends_at(at) <= now {
                ended = Some(at);
            }
            at = self.after(at);
        }
        ended.map_or(Place::Gap(at), Place::Ended)
    }

    fn find(&self, cell: Cell) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(cell);
        // A quarter of the slots is empty, so this ends.
        while self.slots[at].is_used() {
            if self.slots[at].cell == cell {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    /// Removes a slot, and moves up what is behind it, as far as it does not stand where it belongs.
    fn remove(&mut self, at: usize) {
        self.used -= 1;
        let (mut gap, mut next) = (at, self.after(at));
        while self.slots[next].is_used() {
            let home = self.home(self.slots[next].cell);
            if self.distance(home, next) >= self.distance(gap, next) {
                let words = self.slots[next].load();
                self.slots[gap].cell = self.slots[next].cell;
                self.slots[gap].store(words);
                gap = next;
            }
            next = self.after(next);
        }
        self.slots[gap].cell = Cell::NONE;
    }

    /// The low bits of the first word, which do not choose the shard, spread over any number of slots.
    fn home(&self, cell: Cell) -> usize {
        (((cell.0[0] & 0xffff_ffff) * self.slots.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }
}

impl<const W: usize> Slot<W> {
    fn empty() -> Self {
        Self { cell: Cell::NONE, words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn is_used(&self) -> bool {
        self.cell != Cell::NONE
    }

    fn load(&self) -> [u64; W] {
        std::array::from_fn(|n| self.words[n].load(Ordering::Relaxed))
    }

    fn store(&self, words: [u64; W]) {
        for (word, new) in self.words.iter().zip(words) {
            word.store(new, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(tower_gateway_loom)))]
mod tests;
