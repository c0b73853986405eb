//! Keys whose last answer could not be shared: who asks for one does not queue behind another.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Remembered for a while, in sixteen parts that are locked apart. The oldest of each part give way.
#[derive(Debug)]
pub(super) struct Uncacheable {
    random: RandomState,
    shards: [Mutex<Shard>; Self::SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    until: HashMap<u64, Instant>,
    order: VecDeque<u64>,
}

impl Uncacheable {
    const SHARDS: usize = 16;
    const MOST_IN_A_SHARD: usize = 1024;

    pub(super) fn new() -> Self {
        Self { random: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    pub(super) fn remember(&self, key: &str, now: Instant, for_: Duration) {
        let hash = self.random.hash_one(key);
        let Some(until) = now.checked_add(for_) else { return };
        let mut shard = self.shard(hash);
        if shard.until.insert(hash, until).is_none() {
            shard.order.push_back(hash);
            if shard.order.len() > Self::MOST_IN_A_SHARD
                && let Some(oldest) = shard.order.pop_front()
            {
                shard.until.remove(&oldest);
            }
        }
    }

    pub(super) fn forget(&self, key: &str) {
        let hash = self.random.hash_one(key);
        // Its place in the order stays, and is passed over when its turn comes.
        self.shard(hash).until.remove(&hash);
    }

    pub(super) fn contains(&self, key: &str, now: Instant) -> bool {
        let hash = self.random.hash_one(key);
        self.shard(hash).until.get(&hash).is_some_and(|until| now < *until)
    }

    fn shard(&self, hash: u64) -> std::sync::MutexGuard<'_, Shard> {
        self.shards[(hash % Self::SHARDS as u64) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_for_its_time_and_until_it_is_forgotten() {
        let (keys, now) = (Uncacheable::new(), Instant::now());
        keys.remember("a", now, Duration::from_secs(5));
        assert!(keys.contains("a", now + Duration::from_secs(4)) && !keys.contains("b", now));
        assert!(!keys.contains("a", now + Duration::from_secs(5)));
        keys.forget("a");
        assert!(!keys.contains("a", now));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (keys, now) = (Uncacheable::new(), Instant::now());
        for index in 0..100_000 {
            keys.remember(&index.to_string(), now, Duration::from_secs(5));
        }
        let most = Uncacheable::MOST_IN_A_SHARD;
        assert!(keys.shards.iter().all(|shard| shard.lock().unwrap().until.len() <= most));
        assert!(keys.contains("99999", now));
    }
}
