//! `[cache]`, the memory that all routes share, and `cache` of a route: what it stores there.

use std::time::Duration;

use http::StatusCode;
use tower_gateway::cache::Authenticated;

use super::duration::{AnyDuration, PositiveDuration};
use super::forms::{NonEmpty, OrNone};
use super::size::PositiveBytes;
use super::status::FinalStatus;
use super::table::{Keys, Table};
use super::word::{Choice, Word};

/// `[cache]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cache {
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) x_cache: bool,
}

impl Table for Cache {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let memory =
            keys.or::<PositiveBytes>("memory", "256MiB", "how much the stored responses of all routes may take");
        Some(Cache { memory, x_cache: keys.or::<bool>("x_cache", true, "X-Cache beside Cache-Status") })
    }
}

/// `[routes.NAME.cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteCache {
    /// Absent: what states no freshness of its own is not stored.
    pub(crate) ttl: Option<Duration>,
    pub(crate) statuses: Vec<StatusCode>,
    /// Bytes. Absent: any.
    pub(crate) max_body: Option<u64>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) authenticated: Authenticated,
}

impl Table for RouteCache {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let ttl = keys.optional::<PositiveDuration>(
            "ttl",
            "for responses that state no freshness of their own; one with Last-Modified is fresh for a tenth of its age",
        );
        let statuses = keys.or::<NonEmpty<FinalStatus>>("statuses", [200], "what ttl applies to");
        let max_body = keys.or::<OrNone<PositiveBytes>>("max_body", "1MiB", "longer responses are not stored");
        let stale_while_revalidate = keys.optional::<AnyDuration>(
            "stale_while_revalidate",
            "served stale this long while it is revalidated, where the response states no such time",
        );
        let stale_if_error = keys.optional::<AnyDuration>(
            "stale_if_error",
            "served stale this long while the origin fails, where the response states no such time",
        );
        let authenticated = keys.or::<Word<Rule>>(
            "authenticated",
            "skip",
            "requests with an accepted credential: not cached, each subject's apart, or the same for all",
        );
        let authenticated = authenticated.0;
        Some(RouteCache { ttl, statuses, max_body, stale_while_revalidate, stale_if_error, authenticated })
    }
}

#[derive(Clone, Copy)]
struct Rule(Authenticated);

impl Choice for Rule {
    const BUILT: &'static [(&'static str, Self)] = &[
        ("skip", Self(Authenticated::Skip)),
        ("per_subject", Self(Authenticated::PerSubject)),
        ("shared", Self(Authenticated::Shared)),
    ];
}
