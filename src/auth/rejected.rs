//! Tokens whose signature was wrong, so that sending one again and again is cheap for us too.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::claims::Millis;

/// How many are remembered at a time, 16 shards together.
const MAX: usize = 4096;
const SHARDS: usize = 16;

/// How long one is remembered, in milliseconds.
const REMEMBERED: Millis = 60_000;

/// A bounded set of digests: 128 bits of a keyed pseudo-random function (SipHash under two random keys), so that nobody can
/// make another's token look like one of these.
pub(super) struct Rejected {
    /// False until there was one, so that nobody pays for a look into nothing.
    any: AtomicBool,
    keys: [RandomState; 2],
    shards: [Mutex<HashMap<u128, Millis>>; SHARDS],
}

/// What a token is remembered by.
#[derive(Clone, Copy)]
pub(super) struct Digest(u128);

impl Rejected {
    pub(super) fn new() -> Self {
        Self { any: AtomicBool::new(false), keys: [RandomState::new(), RandomState::new()], shards: Default::default() }
    }

    /// The digest of a token under the present keys: with others its signature may be right.
    pub(super) fn digest(&self, token: &str, keys: u64) -> Digest {
        let [high, low] = [0, 1].map(|half: usize| u128::from(self.keys[half].hash_one((keys, token))));
        Digest(high << 64 | low)
    }

    /// True when this token was refused a moment ago.
    pub(super) fn knows(&self, token: &str, keys: u64, now: Millis) -> bool {
        self.any.load(Ordering::Relaxed) && self.contains(self.digest(token, keys), now)
    }

    fn contains(&self, Digest(digest): Digest, now: Millis) -> bool {
        self.shard(digest, |shard| shard.get(&digest).is_some_and(|until| (until - REMEMBERED..*until).contains(&now)))
    }

    pub(super) fn insert(&self, Digest(digest): Digest, now: Millis) {
        self.any.store(true, Ordering::Relaxed);
        self.shard(digest, |shard| {
            if shard.len() >= MAX / SHARDS {
                shard.retain(|_, until| now < *until);
            }
            // Unless that has made some room, all of them go, so that it is not done for each.
            if shard.len() > MAX / SHARDS / 2 {
                shard.clear();
            }
            shard.insert(digest, now + REMEMBERED);
        });
    }

    fn shard<T>(&self, digest: u128, look: impl FnOnce(&mut HashMap<u128, Millis>) -> T) -> T {
        let shard = &self.shards[(digest >> 124) as usize % SHARDS];
        look(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_is_remembered_for_a_minute_and_under_the_same_keys() {
        let rejected = Rejected::new();
        let digest = rejected.digest("a.b.c", 1);
        rejected.insert(digest, 1_000);
        assert!(rejected.contains(digest, 1_000) && rejected.contains(digest, 60_999));
        assert!(!rejected.contains(digest, 61_000) && !rejected.contains(digest, 0));
        assert!(!rejected.contains(rejected.digest("a.b.c", 2), 1_000));
        assert!(!rejected.contains(rejected.digest("a.b.d", 1), 1_000));
    }

    #[test]
    fn a_flood_of_wrong_tokens_takes_no_more_than_its_room() {
        let rejected = Rejected::new();
        for token in 0..100_000 {
            rejected.insert(rejected.digest(&token.to_string(), 0), 0);
        }
        let kept: usize = rejected.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= MAX && kept > 0, "{kept}");
    }
}
