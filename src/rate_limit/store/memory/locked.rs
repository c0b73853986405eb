//! A shard of any of the tables, while nobody else has it.

use super::sync::RwLockWriteGuard;
use super::table::{Cell, Full, Slots};
use crate::rate_limit::meter::State;
use crate::rate_limit::{Algorithm, Quota};

/// The tables, in the order in which they are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    Buckets,
    Sliding,
    Fixed,
}

/// A shard that nobody else reads or writes.
pub(super) enum Locked<'a> {
    One(RwLockWriteGuard<'a, Slots<1>>),
    Two(RwLockWriteGuard<'a, Slots<2>>),
}

impl Which {
    pub(super) fn of(quota: &Quota) -> Self {
        match quota.counted_by() {
            Algorithm::Gcra => Self::Buckets,
            Algorithm::SlidingWindow => Self::Sliding,
            Algorithm::FixedWindow => Self::Fixed,
        }
    }
}

impl Locked<'_> {
    pub(super) fn get(&self, cell: Cell) -> State {
        match self {
            Self::One(slots) => slots.get(cell).map_or([0, 0], |[word]| [word, 0]),
            Self::Two(slots) => slots.get(cell).unwrap_or_default(),
        }
    }

    pub(super) fn put(&mut self, cell: Cell, state: State, now: u64) -> Result<(), Full> {
        match self {
            Self::One(slots) => slots.put(cell, [state[0]], now),
            Self::Two(slots) => slots.put(cell, state, now),
        }
    }

    pub(super) fn remove(&mut self, cell: Cell) {
        match self {
            Self::One(slots) => slots.remove_cell(cell),
            Self::Two(slots) => slots.remove_cell(cell),
        }
    }

    pub(super) fn is_full_for(&mut self, cell: Cell, now: u64) -> bool {
        match self {
            Self::One(slots) => slots.is_full_for(cell, now),
            Self::Two(slots) => slots.is_full_for(cell, now),
        }
    }

    pub(super) fn forget_soonest(&mut self) {
        match self {
            Self::One(slots) => slots.forget_soonest(),
            Self::Two(slots) => slots.forget_soonest(),
        }
    }
}
