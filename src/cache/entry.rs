//! One stored response: its head, its content, and what was settled when it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::StatusCode;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderMap, HeaderName, HeaderValue};

use super::key::Key;
use super::policy::age;
use super::policy::range::{self, Part};
use super::policy::reuse::Terms;
use super::policy::vary::Nominated;
use super::status::CACHE_STATUS;

/// The head of a stored response, and what was settled when it was stored.
#[derive(Debug)]
pub(super) struct StoredHead {
    pub(super) key: Key,
    pub(super) status: StatusCode,
    /// As they came, with a date, and without the age.
    pub(super) headers: HeaderMap,
    dressed: ArcSwapOption<Dressed>,
    /// A cache nearer to the origin has left its own `Cache-Status`.
    pub(super) has_status: bool,
    pub(super) vary: Box<[Nominated]>,
    pub(super) terms: Terms,
    pub(super) part: Option<Part>,
    pub(super) times: Times,
    pub(super) tags: Box<[Box<str>]>,
    pub(super) purges_seen: PurgesSeen,
}

/// How many fields an answer adds: `Age`, `Cache-Status`, `X-Cache`.
const ADDED: usize = 3;

/// The fields of the last hit, and for which others they are the same.
#[derive(Debug)]
struct Dressed {
    age: u64,
    name: Arc<str>,
    x_cache: bool,
    headers: HeaderMap,
}

/// By whose settings an answer tells of the cache.
pub(super) struct Teller<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) x_cache: bool,
}

/// When a response came. Residence is measured by a clock that never steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When its request was sent.
    pub(super) requested: Instant,
    pub(super) received: Instant,
    /// The date of its receipt, in seconds since 1970.
    pub(super) received_date: i64,
    /// Its age at that moment, in seconds.
    pub(super) initial_age: u64,
}

impl Times {
    /// Of a response that came now to a request of then.
    pub(super) fn now(headers: &HeaderMap, requested: Instant, received: Instant, date: SystemTime) -> Self {
        let received_date = unix_seconds(date);
        let delay = received.saturating_duration_since(requested).as_secs();
        Self { requested, received, received_date, initial_age: age::initial(headers, received_date, delay) }
    }

    pub(super) fn age(&self, now: Instant) -> u64 {
        self.initial_age.saturating_add(now.saturating_duration_since(self.received).as_secs())
    }
}

pub(super) fn unix_seconds(date: SystemTime) -> i64 {
    date.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Up to which purge a response was looked at, and whether a soft one has made it stale: so that each is looked at once.
#[derive(Debug, Default)]
pub(super) struct PurgesSeen(AtomicU64);

impl PurgesSeen {
    pub(super) fn get(&self) -> (u64, bool) {
        let seen = self.0.load(Ordering::Relaxed);
        (seen >> 1, seen & 1 == 1)
    }

    pub(super) fn set(&self, purges: u64, stale: bool) {
        self.0.store(purges << 1 | u64::from(stale), Ordering::Relaxed);
    }
}

impl StoredHead {
    pub(super) fn new(
        key: Key,
        status: StatusCode,
        mut headers: HeaderMap,
        vary: Box<[Nominated]>,
        terms: Terms,
        part: Option<Part>,
        times: Times,
    ) -> Self {
        let tags = tags(&headers);
        let has_status = headers.contains_key(CACHE_STATUS);
        headers.remove(AGE);
        put_date(&mut headers, times.received_date);
        let (dressed, purges_seen) = (ArcSwapOption::empty(), PurgesSeen::default());
        Self { key, status, headers, dressed, has_status, vary, terms, part, times, tags, purges_seen }
    }

    /// The same of another part, or of the whole when there is nothing that it lacks.
    pub(super) fn with_part(&self, part: Part) -> Option<Self> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(part.length()));
        let whole = range::is_whole(&part);
        let status = if whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        if whole {
            headers.remove(CONTENT_RANGE);
        } else {
            headers.insert(CONTENT_RANGE, HeaderValue::try_from(part.content_range()).ok()?);
        }
        let part = (!whole).then_some(part);
        Some(Self::new(self.key.clone(), status, headers, self.vary.clone(), self.terms, part, self.times))
    }

    /// The fields of an answer that is a hit of this age. What `write` adds to them is the same for a second, in which it is
    /// written once: the others copy it.
    pub(super) fn fields_of_a_hit(&self, age: u64, by: &Teller<'_>, write: impl FnOnce(&mut HeaderMap)) -> HeaderMap {
        let dressed = self.dressed.load();
        if let Some(dressed) = &*dressed
            && dressed.age == age
            && dressed.x_cache == by.x_cache
            && Arc::ptr_eq(&dressed.name, by.name)
        {
            return dressed.headers.clone();
        }
        let headers = self.fields_with(write);
        let (name, x_cache) = (by.name.clone(), by.x_cache);
        self.dressed.store(Some(Arc::new(Dressed { age, name, x_cache, headers: headers.clone() })));
        headers
    }

    /// The fields of an answer, with what `write` adds to them.
    pub(super) fn fields_with(&self, write: impl FnOnce(&mut HeaderMap)) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.reserve(ADDED);
        write(&mut headers);
        headers
    }

    fn size(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum();
        let vary: usize =
            self.vary.iter().map(|field| 2 * field.value.as_ref().map_or(0, |value| value.len()) + 80).sum();
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 16).sum();
        // Once more for the slots of the last hit's fields, which share their bytes.
        let dressed = size_of::<Dressed>() + (self.headers.len() + ADDED) * FIELD_OVERHEAD;
        size_of::<Self>() + self.key.as_str().len() + fields + dressed + vary + tags
    }
}

/// What a field costs in a header map beside its bytes: its slot, its share of the index, and the values' own bookkeeping.
const FIELD_OVERHEAD: usize = 160;

/// RFC 9110 section 6.6.1: a response without a date is given that of its receipt.
fn put_date(headers: &mut HeaderMap, received_date: i64) {
    if !headers.contains_key(DATE) {
        let received = UNIX_EPOCH + Duration::from_secs(u64::try_from(received_date).unwrap_or(0));
        if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(received)) {
            headers.insert(DATE, date);
        }
    }
}

/// The names that a response can be purged by: `Surrogate-Key`, parted by spaces, and `Cache-Tag`, parted by commas. At
/// most so many, of what is no more than a name.
fn tags(headers: &HeaderMap) -> Box<[Box<str>]> {
    const MOST: usize = 128;
    let lines = |name: HeaderName, parting: char| {
        headers
            .get_all(name)
            .into_iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(move |line| line.split(parting))
    };
    let all =
        lines(HeaderName::from_static("surrogate-key"), ' ').chain(lines(HeaderName::from_static("cache-tag"), ','));
    all.map(str::trim).filter(|tag| !tag.is_empty()).take(MOST).map(Into::into).collect()
}

/// The content of a stored response, in the pieces in which it came.
#[derive(Clone, Debug, Default)]
pub(super) struct StoredBody {
    pub(super) chunks: Arc<[Bytes]>,
    pub(super) length: u64,
    pub(super) trailers: Option<Arc<HeaderMap>>,
}

impl StoredBody {
    pub(super) fn new(chunks: Vec<Bytes>, trailers: Option<HeaderMap>) -> Self {
        let chunks = compacted(chunks);
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into(), length, trailers: trailers.map(Arc::new) }
    }
}

/// A piece of a connection's buffer keeps the whole of it alive, so what is small is copied into a place of its own: the
/// budget would be a fiction otherwise. Larger pieces fill their buffers, and stay where they are.
fn compacted(mut chunks: Vec<Bytes>) -> Vec<Bytes> {
    const SMALL: usize = 16 * 1024;
    let length: usize = chunks.iter().map(Bytes::len).sum();
    if length == 0 {
        return Vec::new();
    }
    if length <= SMALL {
        return vec![Bytes::from(chunks.concat())];
    }
    for chunk in &mut chunks {
        if chunk.len() < SMALL / 4 {
            *chunk = Bytes::copy_from_slice(chunk);
        }
    }
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

/// One stored response.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) head: Arc<StoredHead>,
    pub(super) body: StoredBody,
}

impl Entry {
    pub(super) fn size(&self) -> usize {
        let pieces = self.body.chunks.len() * size_of::<Bytes>();
        let trailers = self.body.trailers.as_ref().map_or(0, |trailers| trailers.len() * FIELD_OVERHEAD);
        self.head.size() + pieces + trailers + usize::try_from(self.body.length).unwrap_or(usize::MAX / 2)
    }

    /// How much longer it can be of use, when stale responses are kept for `keep_stale`.
    pub(super) fn keep(&self, now: Instant, keep_stale: Duration) -> Duration {
        /// A year: what is longer is for ever.
        const LONGEST: u64 = 365 * 86_400;
        let terms = &self.head.terms;
        let age = self.head.times.age(now);
        let stale = terms.stale_window().max(keep_stale.as_secs());
        Duration::from_secs(terms.lifetime.saturating_add(stale).saturating_sub(age).clamp(1, LONGEST))
    }
}
