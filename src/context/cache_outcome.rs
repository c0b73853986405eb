use std::fmt;

/// What a cache did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// It was answered from the store, or with what another request was just being answered with.
    Hit,
    /// It went to the origin.
    Miss,
    /// It was answered from the store with what was fresh no longer.
    Stale,
    /// The origin said that what is stored still holds.
    Revalidated,
    /// The cache had nothing to do with it.
    Bypass,
}

impl CacheOutcome {
    /// As `X-Cache` has it: `HIT`, `MISS`, `STALE`, `REVALIDATED` or `BYPASS`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Stale => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Bypass => "BYPASS",
        }
    }
}

impl fmt::Display for CacheOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
