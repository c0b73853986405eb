//! Tokens that were verified, so that each is verified once.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use super::claims::Millis;
use crate::Identity;

/// Entries in one set. What is looked for is in one set and nowhere else, so a look-up reads at most so many hashes.
const WAYS: usize = 8;

/// A bounded map from tokens to the identities they proved.
///
/// A token is found by comparing it whole. The hash that says where to look is of its last characters, which are the
/// signature's, under a random key: who does not hold a token with this very end comes no further than that, and nobody can
/// choose the signature of a token that verifies.
pub(super) struct TokenCache {
    sets: Box<[RwLock<Vec<Entry>>]>,
    key: RandomState,
    bytes: AtomicUsize,
    max_bytes: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Entry {
    hash: u64,
    token: Box<str>,
    identity: Identity,
    /// The state of all keys when it was verified. Under another the entry is worth nothing.
    keys: u64,
    since: Millis,
    until: Millis,
    used: AtomicI64,
}

impl Entry {
    /// What it takes, roughly: the token, and the claims as text and as values.
    fn weight(&self) -> usize {
        256 + 4 * self.token.len()
    }

    /// Also false when the clock was set back to before the token was verified.
    fn holds(&self, keys: u64, now: Millis) -> bool {
        self.keys == keys && (self.since..self.until).contains(&now)
    }
}

impl TokenCache {
    pub(super) fn new(entries: usize, max_bytes: usize) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two().min(1 << 20);
        Self {
            sets: (0..sets).map(|_| RwLock::default()).collect(),
            key: RandomState::new(),
            bytes: AtomicUsize::new(0),
            max_bytes,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// As large, and with nothing in it.
    pub(super) fn empty_like(&self) -> Self {
        Self::new(self.sets.len() * WAYS, self.max_bytes)
    }

    /// Whose token this is, where it was verified under the present `keys` and is still good.
    pub(super) fn get(&self, token: &str, keys: u64, now: Millis) -> Option<Identity> {
        let hash = self.hash(token);
        let set = self.set(hash).read().unwrap_or_else(PoisonError::into_inner);
        let found = set.iter().find(|entry| entry.hash == hash && *entry.token == *token && entry.holds(keys, now));
        match found {
            Some(entry) => {
                // Written only when it changes, so that workers do not take the line from each other with every hit.
                if entry.used.load(Ordering::Relaxed) < now - 1000 {
                    entry.used.store(now, Ordering::Relaxed);
                }
                self.hits.fetch_add(1, Ordering::Relaxed);
                Some(entry.identity.clone())
            }
            None => {
                self.misses.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Keeps what `token` proved until the time `until`.
    pub(super) fn put(&self, token: &str, identity: &Identity, keys: u64, now: Millis, until: Millis) {
        let hash = self.hash(token);
        let entry = Entry {
            hash,
            token: token.into(),
            identity: identity.clone(),
            keys,
            since: now,
            until,
            used: AtomicI64::new(now),
        };
        let mut set = self.set(hash).write().unwrap_or_else(PoisonError::into_inner);
        let mut freed = 0;
        // What is of no use any more goes first, and the same token, which another worker may have verified as well.
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
            let gone = std::mem::take(&mut *set.write().unwrap_or_else(PoisonError::into_inner));
            self.bytes.fetch_sub(gone.iter().map(Entry::weight).sum(), Ordering::Relaxed);
        }
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(super) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    fn hash(&self, token: &str) -> u64 {
        let bytes = token.as_bytes();
        self.key.hash_one(&bytes[bytes.len().saturating_sub(32)..])
    }

    fn set(&self, hash: u64) -> &RwLock<Vec<Entry>> {
        &self.sets[hash as usize & (self.sets.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CredentialKind;

    const NOW: Millis = 1_800_000_000_000;

    fn identity(subject: &str) -> Identity {
        Identity::builder(CredentialKind::Jwt).subject(subject).build()
    }

    fn cache() -> TokenCache {
        TokenCache::new(1024, 1 << 20)
    }

    #[test]
    fn a_token_is_known_until_its_time_is_over_and_under_its_keys_alone() {
        let cache = cache();
        cache.put("a.b.c", &identity("u1"), 7, NOW, NOW + 10);
        assert_eq!(cache.get("a.b.c", 7, NOW + 9).unwrap().subject(), Some("u1"));
        assert!(cache.get("a.b.c", 7, NOW + 10).is_none(), "its time is over");
        assert!(cache.get("a.b.c", 8, NOW).is_none(), "the keys have changed");
        assert!(cache.get("a.b.c", 7, NOW - 1).is_none(), "the clock was set back");
        assert_eq!((cache.hits(), cache.misses()), (1, 3));
    }

    /// The end is what is hashed, and not what is compared.
    #[test]
    fn a_token_with_the_same_end_is_another() {
        let cache = cache();
        let end = "s".repeat(100);
        cache.put(&format!("a.{end}"), &identity("u1"), 0, NOW, NOW + 10);
        assert!(cache.get(&format!("b.{end}"), 0, NOW).is_none());
        assert!(cache.get(&end, 0, NOW).is_none());
        assert!(cache.get(&format!("a.{end}"), 0, NOW).is_some());
    }

    #[test]
    fn it_holds_no_more_tokens_and_bytes_than_it_may() {
        let small = TokenCache::new(WAYS, 1 << 20);
        for token in 0..100 {
            small.put(&format!("token-{token}"), &identity("u"), 0, NOW + token, NOW + 1000);
        }
        let kept = (0..100).filter(|token| small.get(&format!("token-{token}"), 0, NOW + 200).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), (92..100).collect::<Vec<_>>(), "the last used stay");

        let tight = TokenCache::new(1024, 10_000);
        for token in 0..1000 {
            tight.put(&format!("{}{token}", "x".repeat(500)), &identity("u"), 0, NOW, NOW + 1000);
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
            cache.put("a.b.c", &identity("u1"), 0, NOW, NOW + 10);
        }
        assert_eq!(cache.sets.iter().map(|set| set.read().unwrap().len()).sum::<usize>(), 1);
    }
}
