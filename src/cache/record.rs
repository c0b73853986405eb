//! All that is stored under one key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::entry::{Entry, StoredHead};
use super::policy::vary;

/// All that is stored under one key: a response, or several that differ by the request's fields (`Vary`).
///
/// What a [`CacheStore`](super::store::CacheStore) keeps. As cheap to clone as an `Arc` in it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The newest first: of several that fit, it is the one (RFC 9111 section 4.1).
    pub(super) variants: Vec<Entry>,
    keep_stale: Duration,
}

impl Record {
    pub(super) fn from_variants(variants: Vec<Entry>, keep_stale: Duration) -> Self {
        Self { variants, keep_stale }
    }

    pub(super) fn keep_stale(&self) -> Duration {
        self.keep_stale
    }

    /// `entry` in the place of those that it answers the same requests as, before all others, of which no more than
    /// `most` are kept.
    pub(super) fn with(base: Option<&Self>, entry: Entry, most: usize, keep_stale: Duration) -> Self {
        let others = base.map_or(&[][..], |record| &record.variants);
        let replaced = |other: &&Entry| {
            other.head.vary == entry.head.vary && (other.head.part.is_some() || entry.head.part.is_none())
        };
        let kept: Vec<_> = others.iter().filter(|other| !replaced(other)).take(most.max(1) - 1).cloned().collect();
        Self { variants: std::iter::once(entry).chain(kept).collect(), keep_stale }
    }

    /// Without the responses that `head` is one of. `None` when nothing is left.
    pub(super) fn without(&self, head: &Arc<StoredHead>) -> Option<Self> {
        let variants: Vec<_> = self
            .variants
            .iter()
            .filter(|entry| !Arc::ptr_eq(&entry.head, head) && entry.head.vary != head.vary)
            .cloned()
            .collect();
        (!variants.is_empty()).then_some(Self { variants, keep_stale: self.keep_stale })
    }

    /// Those that fit a request with these fields.
    pub(super) fn fitting<'a>(&'a self, request: &'a HeaderMap) -> impl Iterator<Item = &'a Entry> {
        self.variants.iter().filter(move |entry| vary::matches(&entry.head.vary, request))
    }

    /// The bytes that it takes in memory: content, fields, and what is needed to hold them.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.variants.iter().map(Entry::size).sum::<usize>()
    }

    /// For how long from `now` it can be of use: until the last of its responses is neither fresh nor may be served or
    /// validated any more.
    pub fn keep(&self, now: Instant) -> Duration {
        self.variants.iter().map(|entry| entry.keep(now, self.keep_stale)).max().unwrap_or_default()
    }
}
