//! `concurrency` of a route: how many of its requests may be in flight at once.

use std::num::NonZeroUsize;

use super::count::Count;
use super::table::{Keys, Table};

/// `[routes.NAME.concurrency]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Concurrency {
    Fixed(NonZeroUsize),
    /// Found out by latency, and never more than this.
    Adaptive(Option<NonZeroUsize>),
}

impl Table for Concurrency {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let max = keys.optional::<Count>("max", "how many; where it is adaptive, how many at the very most");
        let adaptive = keys.or::<bool>("adaptive", false, "find out by latency how many the upstream can do");
        match (adaptive, max) {
            (true, max) => Some(Concurrency::Adaptive(max)),
            (false, Some(max)) => Some(Concurrency::Fixed(max)),
            (false, None) if keys.are_sound(&["max", "adaptive"]) => {
                let message = format!("{}: how many is not said; write max = 100, or adaptive = true", keys.path);
                keys.reader.fault(&keys.at, &keys.path, message);
                None
            }
            (false, None) => None,
        }
    }
}
