//! `[reload]`: when the file is read again.

use super::table::{Keys, Table};

/// `[reload]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reload {
    /// Whether a change of the file, or of one that it names, is a reason. SIGHUP always is.
    pub(crate) watch: bool,
}

impl Table for Reload {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Reload {
            watch: keys.or::<bool>("watch", true, "whether to reload when this file changes, or one that it names"),
        })
    }
}
