//! What was found out about tokens, so that each is looked into once.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::claims::Millis;

/// Entries in one set. What is looked for is in one set and nowhere else, so a look-up reads at most so many hashes.
const WAYS: usize = 8;

/// A bounded map from tokens to what was found out about them: the identities they proved, or why they proved none.
///
/// A token is found by comparing it whole, so that nobody's can pass for another. Where to look says a keyed hash of its last
/// characters, which are the signature's. It is a quick one, since it decides nothing: whoever makes up signatures that meet
/// has them push each other out of one set, and nobody can choose the signature of a token that verifies.
pub(super) struct TokenCache<T> {
    sets: Box<[Set<T>]>,
    key: [u64; 2],
    bytes: AtomicUsize,
    max_bytes: usize,
}

/// On a cache line of its own, since each look-up writes to its lock.
#[repr(align(64))]
struct Set<T> {
    entries: RwLock<Vec<Entry<T>>>,
    // Counted here, so that workers do not all write to one place.
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Entry<T> {
    hash: u64,
    token: Box<[u8]>,
    known: T,
    /// The state of all keys when it was looked into. Under another the entry is worth nothing.
    keys: u64,
    since: Millis,
    until: Millis,
    used: AtomicI64,
}

impl<T> Entry<T> {
    /// What it takes, roughly: the token, and the claims as text and as values.
    fn weight(&self) -> usize {
        256 + 4 * self.token.len()
    }

    /// Also false when the clock was set back to before the token was looked into.
    fn holds(&self, keys: u64, now: Millis) -> bool {
        self.keys == keys && (self.since..self.until).contains(&now)
    }
}

impl<T> Set<T> {
    // Nothing panics while a lock is held but a drop of what was known.
    fn read(&self) -> RwLockReadGuard<'_, Vec<Entry<T>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Entry<T>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> TokenCache<T> {
    pub(super) fn new(entries: usize, max_bytes: usize) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two().min(1 << 20);
        let random = RandomState::new();
        let set = || Set { entries: RwLock::default(), hits: AtomicU64::new(0), misses: AtomicU64::new(0) };
        Self {
            sets: (0..sets).map(|_| set()).collect(),
            // Odd, so that no half of a product is lost to a zero.
            key: [0_u8, 1].map(|half| random.hash_one(half) | 1),
            bytes: AtomicUsize::new(0),
            max_bytes,
        }
    }

    /// As large, and with nothing in it.
    pub(super) fn empty_like(&self) -> Self {
        Self::new(self.sets.len() * WAYS, self.max_bytes)
    }

    /// What is known of this token, where it was found out under the present `keys` and still holds.
    pub(super) fn get(&self, token: &[u8], keys: u64, now: Millis) -> Option<T> {
        let hash = self.hash(token);
        let set = self.set(hash);
        let entries = set.read();
        let found = entries.iter().find(|entry| entry.hash == hash && *entry.token == *token && entry.holds(keys, now));
        match found {
            Some(entry) => {
                // Written only when it changes much, as others read it.
                if entry.used.load(Ordering::Relaxed) < now - 1000 {
                    entry.used.store(now, Ordering::Relaxed);
                }
                set.hits.fetch_add(1, Ordering::Relaxed);
                Some(entry.known.clone())
            }
            None => {
                set.misses.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Keeps what is known of `token` until the time `until`.
    pub(super) fn put(&self, token: &[u8], known: &T, keys: u64, now: Millis, until: Millis) {
        let hash = self.hash(token);
        let entry = Entry {
            hash,
            token: token.into(),
            known: known.clone(),
            keys,
            since: now,
            until,
            used: AtomicI64::new(now),
        };
        let mut set = self.set(hash).write();
        let mut freed = 0;
        // What is of no use any more goes first, and the same token, which another worker may have looked into as well.
        set.retain(|old| {
            let stays = old.holds(keys, now) && !(old.hash == hash && old.token == entry.token);
            freed += if stays { 0 } else { old.weight() };
            stays
        });
        let is_over = |freed: usize| {
            self.bytes.load(Ordering::Relaxed).saturating_sub(freed).saturating_add(entry.weight()) > self.max_bytes
        };
        if set.len() == WAYS || (is_over(freed) && !set.is_empty()) {
            let oldest = set.iter().enumerate().min_by_key(|(_, old)| old.used.load(Ordering::Relaxed));
            if let Some((at, _)) = oldest {
                freed += set.swap_remove(at).weight();
            }
        }
        let added = if is_over(freed) { 0 } else { entry.weight() };
        if added > 0 {
            set.push(entry);
        }
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Forgets every token.
    pub(super) fn clear(&self) {
        for set in &self.sets {
            let gone = std::mem::take(&mut *set.write());
            self.bytes.fetch_sub(gone.iter().map(Entry::weight).sum(), Ordering::Relaxed);
        }
    }

    pub(super) fn hits(&self) -> u64 {
        self.sets.iter().map(|set| set.hits.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn misses(&self) -> u64 {
        self.sets.iter().map(|set| set.misses.load(Ordering::Relaxed)).sum()
    }

    /// Two multiplications of the last sixteen characters, of what is shorter of all of them.
    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut end = [0_u8; 16];
        let length = bytes.len().min(16);
        end[16 - length..].copy_from_slice(&bytes[bytes.len() - length..]);
        let end = u128::from_le_bytes(end);
        let folded = u128::from(end as u64 ^ self.key[0]) * u128::from((end >> 64) as u64 ^ self.key[1]);
        let folded = (folded as u64 ^ (folded >> 64) as u64) as u128 * u128::from(self.key[0]);
        folded as u64 ^ (folded >> 64) as u64
    }

    fn set(&self, hash: u64) -> &Set<T> {
        &self.sets[hash as usize & (self.sets.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CredentialKind, Identity};

    const NOW: Millis = 1_800_000_000_000;

    fn identity(subject: &str) -> Identity {
        Identity::builder(CredentialKind::Jwt).subject(subject).build()
    }

    fn cache() -> TokenCache<Identity> {
        TokenCache::new(1024, 1 << 20)
    }

    #[test]
    fn a_token_is_known_until_its_time_is_over_and_under_its_keys_alone() {
        let cache = cache();
        cache.put(b"a.b.c", &identity("u1"), 7, NOW, NOW + 10);
        assert_eq!(cache.get(b"a.b.c", 7, NOW + 9).unwrap().subject(), Some("u1"));
        assert!(cache.get(b"a.b.c", 7, NOW + 10).is_none(), "its time is over");
        assert!(cache.get(b"a.b.c", 8, NOW).is_none(), "the keys have changed");
        assert!(cache.get(b"a.b.c", 7, NOW - 1).is_none(), "the clock was set back");
        assert_eq!((cache.hits(), cache.misses()), (1, 3));
    }

    /// The end is what is hashed, and not what is compared.
    #[test]
    fn a_token_with_the_same_end_is_another() {
        let cache = cache();
        let end = "s".repeat(100);
        cache.put(format!("a.{end}").as_bytes(), &identity("u1"), 0, NOW, NOW + 10);
        assert!(cache.get(format!("b.{end}").as_bytes(), 0, NOW).is_none());
        assert!(cache.get(end.as_bytes(), 0, NOW).is_none());
        assert!(cache.get(format!("a.{end}").as_bytes(), 0, NOW).is_some());
    }

    #[test]
    fn it_holds_no_more_tokens_and_bytes_than_it_may() {
        let small = TokenCache::new(WAYS, 1 << 20);
        for token in 0..100 {
            small.put(format!("token-{token}").as_bytes(), &identity("u"), 0, NOW + token, NOW + 1000);
        }
        let kept = (0..100).filter(|token| small.get(format!("token-{token}").as_bytes(), 0, NOW + 200).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), (92..100).collect::<Vec<_>>(), "the last used stay");

        let tight = TokenCache::new(1024, 10_000);
        for token in 0..1000 {
            tight.put(format!("{}{token}", "x".repeat(500)).as_bytes(), &identity("u"), 0, NOW, NOW + 1000);
            assert!(tight.bytes.load(Ordering::Relaxed) <= 10_000);
        }
        assert!(tight.bytes.load(Ordering::Relaxed) > 0);
        tight.clear();
        assert_eq!(tight.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_same_token_takes_one_place() {
        let cache = cache();
        for _ in 0..3 {
            cache.put(b"a.b.c", &identity("u1"), 0, NOW, NOW + 10);
        }
        assert_eq!(cache.sets.iter().map(|set| set.read().len()).sum::<usize>(), 1);
    }
}
