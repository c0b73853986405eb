use std::fmt;

use http::StatusCode;

/// Some of the statuses there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusSet([u64; 16]);

impl StatusSet {
    pub(crate) fn contains(&self, status: StatusCode) -> bool {
        let status = usize::from(status.as_u16());
        self.0[status / 64] >> (status % 64) & 1 == 1
    }
}

impl FromIterator<StatusCode> for StatusSet {
    fn from_iter<I: IntoIterator<Item = StatusCode>>(statuses: I) -> Self {
        let mut set = [0; 16];
        for status in statuses {
            let status = usize::from(status.as_u16());
            set[status / 64] |= 1 << (status % 64);
        }
        Self(set)
    }
}

impl fmt::Debug for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(
                (100..1000)
                    .filter_map(|status| StatusCode::from_u16(status).ok())
                    .filter(|status| self.contains(*status)),
            )
            .finish()
    }
}
