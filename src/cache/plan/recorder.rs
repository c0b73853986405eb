use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::cache::entry::{Entry, StoredBody, StoredHead};
use crate::cache::flight::Lead;
use crate::cache::policy::conditional::strong_tag;
use crate::cache::policy::range::{self, Wanted};
use crate::cache::purge::Verdict;
use crate::cache::record::Record;
use crate::cache::settings::Settings;
use crate::cache::store::{CacheStore, Known};
use crate::cache::stream::Recording;

/// Puts a response into the store, once its body is there.
pub(super) struct Recorder<St> {
    settings: Arc<Settings<St>>,
    head: Arc<StoredHead>,
    /// What was stored under the key when the request was made.
    base: Option<Arc<Record>>,
    /// The range that was asked for.
    range: Option<Wanted>,
    /// Whoever comes before the response is stored can still join.
    lead: Option<Lead>,
}

impl<St: CacheStore> Recorder<St> {
    pub(super) fn new(
        settings: Arc<Settings<St>>,
        head: Arc<StoredHead>,
        base: Option<Arc<Record>>,
        range: Option<Wanted>,
        lead: Option<Lead>,
    ) -> Self {
        Self { settings, head, base, range, lead }
    }

    pub(super) fn put(&self, entry: Entry) {
        let shared = &self.settings.shared;
        let key = &self.head.key;
        // A write or a purge that came while this was on its way is not undone by it.
        let outdated = shared.purges.outdated(key.uri(), self.head.times.requested);
        if outdated || shared.purges.verdict(&self.head) == Verdict::Gone {
            return;
        }
        let base = match shared.store.now(key.as_str()) {
            Known::Found(record) => Some(record),
            Known::Nothing => None,
            Known::Ask => self.base.clone(),
        };
        let entry = base.as_deref().and_then(|base| combined(base, &entry)).unwrap_or(entry);
        let settings = &self.settings;
        let record = Record::with(base.as_deref(), entry, settings.max_variants, settings.keep_stale);
        let keep = record.keep(settings.clock.now());
        shared.store.put(key.as_str(), Arc::new(record), keep);
        shared.counters.stored.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl<St> Recorder<St> {
    /// The head of what came, with so many bytes. `None` when it is no part that could be told.
    fn received(&self, length: u64) -> Option<Arc<StoredHead>> {
        let Some(stated) = self.head.part else { return Some(self.head.clone()) };
        let part = stated.received(length, self.range)?;
        if part == stated { Some(self.head.clone()) } else { self.head.with_part(part).map(Arc::new) }
    }
}

impl<St: CacheStore> Recording for Recorder<St> {
    fn complete(self: Box<Self>, chunks: Vec<Bytes>, trailers: Option<HeaderMap>) {
        let body = StoredBody::new(chunks, trailers);
        if let Some(head) = self.received(body.length) {
            self.put(Entry { head, body });
        }
        // Only now, so that nobody finds neither the flight nor what it has brought.
        drop(self.lead);
    }

    fn give_up(self: Box<Self>, too_long: bool) {
        if too_long {
            let settings = &self.settings;
            let (key, now) = (self.head.key.as_str(), settings.clock.now());
            settings.shared.uncacheable.remember(key, now, settings.uncacheable_for);
        }
    }
}

/// A part, with one that is stored already, where both are of the same (RFC 9111 section 3.4).
fn combined(base: &Record, entry: &Entry) -> Option<Entry> {
    let part = entry.head.part.as_ref()?;
    let tag = strong_tag(&entry.head.headers)?;
    base.variants.iter().find_map(|other| {
        let theirs = other.head.part.as_ref()?;
        let same = other.head.vary == entry.head.vary && strong_tag(&other.head.headers) == Some(tag);
        let joined = range::joined(part, theirs).filter(|_| same)?;
        let (low, high) = if theirs.first <= part.first { (other, entry) } else { (entry, other) };
        let body = spliced(low, high)?;
        let head = entry.head.with_part(joined)?;
        Some(Entry { head: Arc::new(head), body })
    })
}

/// The bytes of the lower part, and of the higher one those that the lower does not have.
fn spliced(low: &Entry, high: &Entry) -> Option<StoredBody> {
    let (one, two) = (low.head.part.as_ref()?, high.head.part.as_ref()?);
    let mut skip = usize::try_from((one.last + 1).saturating_sub(two.first)).ok()?;
    let mut chunks = low.body.chunks.to_vec();
    for chunk in high.body.chunks.iter() {
        let skipped = skip.min(chunk.len());
        skip -= skipped;
        if skipped < chunk.len() {
            chunks.push(chunk.slice(skipped..));
        }
    }
    Some(StoredBody::new(chunks, None))
}
