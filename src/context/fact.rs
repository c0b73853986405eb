use std::sync::OnceLock;

use crate::aside::aside;

/// What is written once.
///
/// Whoever has the context alone, as the layers before the route do, writes it [`early`](Self::set_early): nobody has to be kept
/// out meanwhile, which is most of what it costs to write it late.
#[derive(Clone, Debug)]
pub(super) struct Fact<T> {
    early: Option<T>,
    late: OnceLock<T>,
}

impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self { early: None, late: OnceLock::new() }
    }
}

impl<T> Fact<T> {
    pub(super) fn get(&self) -> Option<&T> {
        self.early.as_ref().or_else(|| self.late.get())
    }

    /// False when it was written before, and stays.
    pub(super) fn set(&self, value: T) -> bool {
        self.early.is_none() && self.late.set(value).is_ok()
    }

    /// The same.
    pub(super) fn set_early(&mut self, value: T) -> bool {
        if self.early.is_some() || self.late.get().is_some() {
            aside();
            return false;
        }
        self.early = Some(value);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_was_written_either_way_stays() {
        let mut early = Fact::default();
        assert!(early.set_early(1));
        assert!(!early.set(2) && !early.set_early(3));
        assert_eq!((early.get(), early.clone().get()), (Some(&1), Some(&1)));

        let mut late = Fact::default();
        assert!(late.set(1));
        assert!(!late.set(2) && !late.set_early(3));
        assert_eq!((late.get(), late.clone().get()), (Some(&1), Some(&1)));
    }
}
