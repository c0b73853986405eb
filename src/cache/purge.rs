//! Purges: what must not be served any more, or not as fresh. A purge is a rule that entries are held against when they
//! are next read, so that it costs the same in any store, and reaches what is still being received.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use super::entry::StoredHead;

/// What a purge is of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PurgeOf {
    /// One URI, with all that is stored for it: variants, subjects, partitions.
    Url(http::Uri),
    /// All whose URI begins so: `https://api.example.com/users/`.
    Prefix(String),
    /// All that carry this name in `Surrogate-Key` or `Cache-Tag`.
    Tag(String),
    /// Everything.
    All,
}

/// What becomes of a response that purges were held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Untouched,
    /// It is stale now, whatever its age.
    Stale,
    Gone,
}

#[derive(Debug)]
enum Rule {
    Uri(Box<str>),
    Prefix(Box<str>),
    Tag(Box<str>),
    All,
}

impl Rule {
    fn covers(&self, head: &StoredHead) -> bool {
        match self {
            Self::Uri(uri) => head.key.uri() == &**uri,
            Self::Prefix(prefix) => head.key.uri().starts_with(&**prefix),
            Self::Tag(tag) => head.tags.iter().any(|own| own == tag),
            Self::All => true,
        }
    }
}

#[derive(Debug)]
struct Purge {
    number: u64,
    at: Instant,
    soft: bool,
    rule: Rule,
}

/// The purges that may still concern something. Bounded: when there are too many, the oldest becomes one of everything that
/// is older, which is more than was asked for and never less.
#[derive(Debug, Default)]
pub(super) struct Purges {
    /// The number of the last one. While it is what an entry has seen, there is nothing to do.
    last: AtomicU64,
    rules: RwLock<Rules>,
    invalidations: Invalidations,
}

#[derive(Debug, Default)]
struct Rules {
    rules: VecDeque<Purge>,
    /// All that was asked for before is gone.
    floor: Option<Instant>,
}

impl Purges {
    const MOST: usize = 1024;

    pub(super) fn add_uri(&self, uri: &str, at: Instant, soft: bool) {
        self.add(Rule::Uri(uri.into()), at, soft);
    }

    pub(super) fn add_prefix(&self, prefix: &str, at: Instant, soft: bool) {
        self.add(Rule::Prefix(prefix.into()), at, soft);
    }

    pub(super) fn add_tag(&self, tag: &str, at: Instant, soft: bool) {
        self.add(Rule::Tag(tag.into()), at, soft);
    }

    pub(super) fn add_all(&self, at: Instant, soft: bool) {
        self.add(Rule::All, at, soft);
    }

    fn add(&self, rule: Rule, at: Instant, soft: bool) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(rule, Rule::All) && !soft {
            rules.rules.clear();
        }
        if rules.rules.len() >= Self::MOST
            && let Some(oldest) = rules.rules.pop_front()
        {
            rules.floor = Some(rules.floor.map_or(oldest.at, |floor| floor.max(oldest.at)));
        }
        let number = self.last.load(Ordering::Relaxed) + 1;
        rules.rules.push_back(Purge { number, at, soft, rule });
        self.last.store(number, Ordering::Release);
    }

    /// What the purges since the entry was last looked at make of it.
    pub(super) fn verdict(&self, head: &StoredHead) -> Verdict {
        let last = self.last.load(Ordering::Acquire);
        let (seen, mut stale) = head.purges_seen.get();
        if seen < last {
            let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            let requested = head.times.requested;
            if rules.floor.is_some_and(|floor| requested <= floor) {
                return Verdict::Gone;
            }
            for purge in rules.rules.iter().rev().take_while(|purge| purge.number > seen) {
                if requested <= purge.at && purge.rule.covers(head) {
                    if !purge.soft {
                        return Verdict::Gone;
                    }
                    stale = true;
                }
            }
            head.purges_seen.set(last, stale);
        }
        if stale { Verdict::Stale } else { Verdict::Untouched }
    }

    /// Remembers that a URI was invalidated, for answers to older requests that are still to be stored.
    pub(super) fn invalidated(&self, uri: &str, at: Instant) {
        self.invalidations.add(uri, at);
    }

    /// True when what was asked for then may have been changed since.
    pub(super) fn outdated(&self, uri: &str, requested: Instant) -> bool {
        self.invalidations.since(uri, requested)
    }
}

/// The last URIs that were invalidated (RFC 9111 section 4.4). As purges they would be too many: every write makes one.
#[derive(Debug, Default)]
struct Invalidations {
    random: RandomState,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    by_uri: HashMap<u64, Instant>,
    order: VecDeque<(u64, Instant)>,
    /// Of older ones nothing is known: what was asked for before is taken to be outdated.
    floor: Option<Instant>,
}

impl Invalidations {
    const MOST: usize = 4096;

    fn add(&self, uri: &str, at: Instant) {
        let hash = self.random.hash_one(uri);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.order.len() >= Self::MOST
            && let Some((oldest, was)) = recent.order.pop_front()
        {
            recent.floor = Some(was);
            if recent.by_uri.get(&oldest) == Some(&was) {
                recent.by_uri.remove(&oldest);
            }
        }
        recent.by_uri.insert(hash, at);
        recent.order.push_back((hash, at));
    }

    fn since(&self, uri: &str, requested: Instant) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.floor.is_some_and(|floor| requested <= floor)
            || (!recent.by_uri.is_empty()
                && recent.by_uri.get(&self.random.hash_one(uri)).is_some_and(|at| requested <= *at))
    }
}
