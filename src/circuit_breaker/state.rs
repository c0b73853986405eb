//! Closed, open, half-open: the whole machine in one word.

use crate::atomic::{AtomicU64, Ordering};

/// The word: which state, since which transition, how many trips in a row, and what that state has to remember.
///
/// ```text
/// | what: 40 bits | trips: 4 | epoch: 17 | state: 3 |
/// ```
///
/// - closed: since when, in milliseconds
/// - open: until when, in milliseconds
/// - half-open: probes under way (20 bits) and probes that succeeded (20 bits)
///
/// Each transition is one compare-and-swap and begins a new epoch. What a call has to report counts only in the epoch that
/// admitted it, so that a late answer from before the breaker opened neither closes nor reopens it, and a probe can give
/// back its place only to those it was taken from.
#[derive(Debug)]
pub(super) struct State(AtomicU64);

/// The word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) phase: Phase,
    pub(super) epoch: u32,
    /// How often it has opened without having been closed for long in between.
    pub(super) trips: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed { since: u64 },
    Open { until: u64 },
    HalfOpen { probing: u32, succeeded: u32 },
    ForcedOpen,
    ForcedClosed,
}

/// How a call was admitted. Whoever holds it says once what became of it, with [`State::probed`] for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It counts in the window.
    Counted { epoch: u32 },
    /// It decides whether the breaker closes.
    Probe { epoch: u32 },
    /// It counts for nothing.
    Unwatched,
}

/// Not admitted, and for how many milliseconds. `None` while probes are under way: nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) Option<u64>);

/// From one phase to another, by whoever learns of it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) from: Phase,
    pub(super) to: Phase,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Succeeded,
    Failed,
    /// It says nothing, and another may take its place.
    Nothing,
}

const EPOCH_BITS: u32 = 17;
const EPOCH_MASK: u32 = (1 << EPOCH_BITS) - 1;
const MOST_TRIPS: u8 = 15;
const HALF: u32 = 20;
/// How many probes the word can count.
pub(super) const MOST_PROBES: u32 = (1 << HALF) - 1;
const LATEST: u64 = (1 << 40) - 1;

impl Snapshot {
    fn pack(self) -> u64 {
        let (state, what) = match self.phase {
            Phase::Closed { since } => (0, since.min(LATEST)),
            Phase::Open { until } => (1, until.min(LATEST)),
            Phase::HalfOpen { probing, succeeded } => (2, u64::from(probing) << HALF | u64::from(succeeded)),
            Phase::ForcedOpen => (3, 0),
            Phase::ForcedClosed => (4, 0),
        };
        what << 24 | u64::from(self.trips) << 20 | u64::from(self.epoch & EPOCH_MASK) << 3 | state
    }

    fn unpack(word: u64) -> Self {
        let what = word >> 24;
        let phase = match word & 7 {
            0 => Phase::Closed { since: what },
            1 => Phase::Open { until: what },
            2 => Phase::HalfOpen { probing: (what >> HALF) as u32, succeeded: what as u32 & MOST_PROBES },
            3 => Phase::ForcedOpen,
            _ => Phase::ForcedClosed,
        };
        Self { phase, epoch: (word >> 3) as u32 & EPOCH_MASK, trips: (word >> 20) as u8 & MOST_TRIPS }
    }

    fn next(self, phase: Phase, trips: u8) -> Self {
        Self { phase, epoch: self.epoch.wrapping_add(1) & EPOCH_MASK, trips: trips.min(MOST_TRIPS) }
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self::from(Snapshot { phase: Phase::Closed { since: 0 }, epoch: 0, trips: 0 })
    }

    pub(super) fn from(snapshot: Snapshot) -> Self {
        Self(AtomicU64::new(snapshot.pack()))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::unpack(self.0.load(Ordering::Acquire))
    }

    /// Whether one more call may pass. While the breaker is closed that is one load.
    #[inline]
    pub(super) fn admit(&self, probes: u32, now: impl Fn() -> u64) -> (Result<Admission, Refused>, Option<Transition>) {
        let seen = self.snapshot();
        match seen.phase {
            Phase::Closed { .. } => (Ok(Admission::Counted { epoch: seen.epoch }), None),
            _ => self.admit_unless_open(probes, now),
        }
    }

    #[cold]
    fn admit_unless_open(
        &self,
        probes: u32,
        now: impl Fn() -> u64,
    ) -> (Result<Admission, Refused>, Option<Transition>) {
        loop {
            let seen = self.snapshot();
            let next = match seen.phase {
                Phase::Closed { .. } => return (Ok(Admission::Counted { epoch: seen.epoch }), None),
                Phase::ForcedClosed => return (Ok(Admission::Unwatched), None),
                Phase::ForcedOpen => return (Err(Refused(None)), None),
                Phase::Open { until } => match until.checked_sub(now()).filter(|left| *left > 0) {
                    Some(left) => return (Err(Refused(Some(left))), None),
                    None => seen.next(Phase::HalfOpen { probing: 1, succeeded: 0 }, seen.trips),
                },
                // Never more than can still be needed, so never more than that at once.
                Phase::HalfOpen { probing, succeeded } if probing + succeeded < probes => {
                    Snapshot { phase: Phase::HalfOpen { probing: probing + 1, succeeded }, ..seen }
                }
                Phase::HalfOpen { .. } => return (Err(Refused(None)), None),
            };
            if self.replace(seen, next) {
                let transition = (seen.epoch != next.epoch).then_some(Transition { from: seen.phase, to: next.phase });
                return (Ok(Admission::Probe { epoch: next.epoch }), transition);
            }
        }
    }

    /// What became of a probe that `epoch` admitted. It closes the breaker when it is the last of `probes` to succeed,
    /// and opens it again for `open_millis` of the trips so far when it failed.
    pub(super) fn probed(
        &self,
        epoch: u32,
        what: Probed,
        probes: u32,
        now: u64,
        open_millis: impl Fn(u8) -> u64,
    ) -> Option<Transition> {
        loop {
            let seen = self.snapshot();
            let Phase::HalfOpen { probing, succeeded } = seen.phase else { return None };
            if seen.epoch != epoch {
                return None;
            }
            let (probing, one_more) = (probing.saturating_sub(1), succeeded + 1);
            let next = match what {
                Probed::Nothing => Snapshot { phase: Phase::HalfOpen { probing, succeeded }, ..seen },
                Probed::Succeeded if one_more < probes => {
                    Snapshot { phase: Phase::HalfOpen { probing, succeeded: one_more }, ..seen }
                }
                Probed::Succeeded => seen.next(Phase::Closed { since: now }, seen.trips),
                Probed::Failed => seen.next(Phase::Open { until: now + open_millis(seen.trips) }, seen.trips + 1),
            };
            if self.replace(seen, next) {
                return (seen.epoch != next.epoch).then_some(Transition { from: seen.phase, to: next.phase });
            }
        }
    }

    /// Opens what `epoch` has found to fail. Trips that lie further back than `calm` milliseconds are forgotten.
    pub(super) fn trip(&self, epoch: u32, now: u64, calm: u64, open_millis: impl Fn(u8) -> u64) -> Option<Transition> {
        let seen = self.snapshot();
        let Phase::Closed { since } = seen.phase else { return None };
        if seen.epoch != epoch {
            return None;
        }
        let trips = if now.saturating_sub(since) >= calm { 0 } else { seen.trips };
        let next = seen.next(Phase::Open { until: now + open_millis(trips) }, trips + 1);
        // Who loses was beaten by another trip: closed is left in no other way, but by force.
        self.replace(seen, next).then_some(Transition { from: seen.phase, to: next.phase })
    }

    /// An operator's word.
    pub(super) fn force(&self, phase: Phase) -> Option<Transition> {
        loop {
            let seen = self.snapshot();
            if self.replace(seen, seen.next(phase, 0)) {
                return (seen.phase != phase).then_some(Transition { from: seen.phase, to: phase });
            }
        }
    }

    fn replace(&self, seen: Snapshot, next: Snapshot) -> bool {
        self.0.compare_exchange(seen.pack(), next.pack(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests;
