//! What a store is asked, and what it answers.

use std::time::Duration;

use smallvec::SmallVec;

use super::{Digest, Quota};

/// One key, the quota that it is held to, and how much of it a request uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Charge {
    /// Who is counted, under which limit.
    pub key: Digest,
    /// How much is allowed.
    pub quota: Quota,
    /// How much this is.
    pub cost: u64,
}

impl Charge {
    /// A charge of 1.
    pub fn new(key: Digest, quota: Quota) -> Self {
        Self { key, quota, cost: 1 }
    }

    /// A charge of `cost`.
    #[must_use]
    pub fn cost(self, cost: u64) -> Self {
        Self { cost, ..self }
    }
}

/// All that one request is charged: by all of its quotas, or by none.
pub type Charges = SmallVec<[Charge; 2]>;

/// What a store says of a request.
///
/// Of several quotas it is the tightest that is described: of those that refuse the one with the longest wait, and when
/// all admit the one with the least that remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the request passes. When it does not, none of its quotas was charged.
    pub admitted: bool,
    /// Which of the charges is described, by its place.
    pub charge: usize,
    /// What more is there now.
    pub remaining: u64,
    /// How long until the whole quota is there again, if nothing more is used.
    pub reset_after: Duration,
    /// How long until the same request would pass. Zero when it did.
    pub retry_after: Duration,
}

impl Decision {
    /// The request passes.
    pub fn admit(remaining: u64, reset_after: Duration) -> Self {
        Self { admitted: true, charge: 0, remaining, reset_after, retry_after: Duration::ZERO }
    }

    /// The request is refused.
    pub fn refuse(remaining: u64, reset_after: Duration, retry_after: Duration) -> Self {
        Self { admitted: false, charge: 0, remaining, reset_after, retry_after }
    }

    /// The same about the charge at this place.
    #[must_use]
    pub fn of_charge(self, charge: usize) -> Self {
        Self { charge, ..self }
    }

    /// The tighter of two, where one that refuses is tighter than any that admits.
    #[must_use]
    pub fn tightest(self, other: Self) -> Self {
        let other_is_tighter = match (self.admitted, other.admitted) {
            (true, true) => (other.remaining, self.reset_after) < (self.remaining, other.reset_after),
            (false, false) => other.retry_after > self.retry_after,
            (admitted, _) => admitted,
        };
        if other_is_tighter { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_tightest_is_who_refuses_longest_or_who_has_least() {
        let (much, little) = (Decision::admit(9, SHORT), Decision::admit(2, LONG).of_charge(1));
        assert_eq!(much.tightest(little), little);
        assert_eq!(little.tightest(much), little);
        let (soon, late) = (Decision::refuse(0, LONG, SHORT), Decision::refuse(0, LONG, LONG).of_charge(2));
        assert_eq!(soon.tightest(late), late);
        assert_eq!(little.tightest(soon), soon);
        assert_eq!(soon.tightest(much), soon);
    }

    #[test]
    fn of_two_with_as_little_the_one_that_is_longer_without_is_described() {
        let (soon, late) = (Decision::admit(0, SHORT), Decision::admit(0, LONG).of_charge(1));
        assert_eq!(soon.tightest(late), late);
        assert_eq!(late.tightest(soon), late);
    }
}
