use thiserror::Error;

/// A part of a whole, from none to all of it: a failure rate, the share of servers that may be ejected.
///
/// It is exact to a millionth, so that ten of twenty is half of them on every machine.
///
/// ```
/// use tower_gateway::Share;
///
/// assert_eq!(Share::new(0.5)?, Share::percent(50));
/// assert!(Share::new(1.5).is_err());
/// # Ok::<(), tower_gateway::InvalidShare>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

const WHOLE: u32 = 1_000_000;

/// What is no share.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("{0} is not a share; write a number from 0 to 1")]
pub struct InvalidShare(f64);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(WHOLE);

    /// A share from 0 to 1, rounded to millionths.
    ///
    /// # Errors
    ///
    /// [`InvalidShare`] for any other number, and for what is none.
    pub fn new(share: f64) -> Result<Self, InvalidShare> {
        match (0.0..=1.0).contains(&share) {
            true => Ok(Self((share * f64::from(WHOLE)).round() as u32)),
            false => Err(InvalidShare(share)),
        }
    }

    /// So many of a hundred, and at most all of them.
    pub const fn percent(of_hundred: u8) -> Self {
        Self(if of_hundred >= 100 { WHOLE } else { of_hundred as u32 * (WHOLE / 100) })
    }

    /// From 0 to 1.
    pub fn get(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// True when `part` is this share of `whole`, or more.
    pub(crate) fn is_reached(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(WHOLE) >= u128::from(self.0) * u128::from(whole)
    }

    /// This share of `whole`, rounded down.
    pub(crate) fn of(self, whole: u64) -> u64 {
        (u128::from(self.0) * u128::from(whole) / u128::from(WHOLE)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_share_is_refused_by_its_name() {
        for bad in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert!(Share::new(bad).unwrap_err().to_string().contains(&bad.to_string()));
        }
        assert_eq!(Share::percent(200), Share::ALL);
    }

    proptest! {
        #[test]
        fn a_share_is_reached_exactly_when_it_is(part in 0u64..1000, whole in 1u64..1000) {
            let part = part.min(whole);
            let share = Share::new(part as f64 / whole as f64).unwrap();
            // Rounded to a millionth, it may lie that much beside the fraction.
            prop_assert!(share.is_reached(part + 1, whole));
            prop_assert!(part == 0 || !share.is_reached(part - 1, whole));
            prop_assert!(Share::ALL.of(whole) == whole && Share::percent(50).of(whole) == whole / 2);
            prop_assert!(Share::percent(50).is_reached(part, whole) == (2 * part >= whole));
        }
    }
}
