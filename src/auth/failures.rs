//! How many credentials a client may get wrong.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{ClientIp, Clock};

const SHARDS: usize = 16;

/// Of a full shard so many entries are looked at to find one that is worth least.
const LOOKED_AT: usize = 8;

/// A limit on credentials that are not accepted, for each client address (an IPv6 client is counted by its network). Clones
/// count together: give one to each layer, and it is one limit.
///
/// Each failure is forgotten `per / failures` later. A client over the limit has every credential refused with a 429 and
/// without a look at it, but for those that were verified a moment ago: whoever shares the address and is known stays in.
///
/// Clients are counted in memory, [65,536](Self::max_clients) of them at a time by default; when there are more, those with
/// the fewest failures are forgotten first.
#[derive(Clone)]
pub struct FailureLimit {
    failures: u32,
    per: Duration,
    max_clients: usize,
    clock: Clock,
    counts: Arc<Counts>,
}

/// For each client the time when all its failures will be forgotten, as the generic cell rate algorithm has it: a failure
/// moves it on by one interval, and a client is over its limit while it is more than `per` ahead.
struct Counts {
    start: Instant,
    key: RandomState,
    shards: [Mutex<HashMap<IpAddr, Duration>>; SHARDS],
}

impl FailureLimit {
    /// So many `failures` in the time `per`. At least one.
    pub fn new(failures: u32, per: Duration) -> Self {
        let clock = Clock::system();
        let counts = Arc::new(Counts::since(clock.now()));
        Self { failures: failures.max(1), per, max_clients: 65_536, clock, counts }
    }

    /// How many clients are counted at a time.
    #[must_use]
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// The clock that failures are forgotten by. The counting begins anew.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.counts = Arc::new(Counts::since(clock.now()));
        self.clock = clock;
        self
    }

    /// Goes on with what `old` has counted.
    pub fn adopt(&mut self, old: &Self) {
        self.counts = old.counts.clone();
    }

    /// How long the client is to wait, where it is over its limit.
    pub(super) fn refused(&self, client: &ClientIp) -> Option<Duration> {
        let forgotten_at = *self.counts.shard(client).get(&client.network())?;
        let ahead = forgotten_at.saturating_sub(self.now());
        let over = (ahead + self.interval()).saturating_sub(self.per);
        (over > Duration::ZERO).then_some(over)
    }

    pub(super) fn record(&self, client: &ClientIp) {
        let now = self.now();
        let capacity = (self.max_clients / SHARDS).max(1);
        let mut shard = self.counts.shard(client);
        if shard.len() >= capacity && !shard.contains_key(&client.network()) {
            make_room(&mut shard, now);
        }
        let forgotten_at = shard.entry(client.network()).or_insert(now);
        // No further ahead than the limit, so that a client that goes on is not shut out for ever.
        *forgotten_at = ((*forgotten_at).max(now) + self.interval()).min(now + self.per);
    }

    fn interval(&self) -> Duration {
        self.per / self.failures
    }

    fn now(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.counts.start)
    }
}

impl fmt::Debug for FailureLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureLimit")
            .field("failures", &self.failures)
            .field("per", &self.per)
            .field("max_clients", &self.max_clients)
            .finish_non_exhaustive()
    }
}

impl Counts {
    fn since(start: Instant) -> Self {
        Self { start, key: RandomState::new(), shards: Default::default() }
    }

    fn shard(&self, client: &ClientIp) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Duration>> {
        let shard = self.key.hash_one(client.network()) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(shard: &mut HashMap<IpAddr, Duration>, now: Duration) {
    let looked_at: Vec<_> = shard.iter().take(LOOKED_AT).map(|(client, at)| (*at, *client)).collect();
    let least = looked_at.iter().min().copied();
    for (at, client) in looked_at {
        if at <= now || Some((at, client)) == least {
            shard.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> ClientIp {
        ClientIp::from_peer(std::net::SocketAddr::new(address.parse().unwrap(), 1), 64)
    }

    fn failures(failures: u32, clients: usize) -> (FailureLimit, Arc<crate::ManualClock>) {
        let (clock, hand) = Clock::manual();
        (FailureLimit::new(failures, Duration::from_secs(60)).max_clients(clients).clock(clock), hand)
    }

    #[test]
    fn a_client_is_refused_after_its_failures_until_one_is_forgotten() {
        let (failures, hand) = failures(3, 100);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        for _ in 0..3 {
            assert_eq!(failures.refused(&one), None);
            failures.record(&one);
        }
        assert_eq!(failures.refused(&one), Some(Duration::from_secs(20)));
        assert_eq!(failures.refused(&other), None);
        hand.advance(Duration::from_secs(20));
        assert_eq!(failures.refused(&one), None);
        failures.record(&one);
        assert!(failures.refused(&one).is_some());
    }

    #[test]
    fn whoever_goes_on_is_not_shut_out_for_longer() {
        let (failures, hand) = failures(2, 100);
        for _ in 0..1000 {
            failures.record(&client("192.0.2.1"));
        }
        assert_eq!(failures.refused(&client("192.0.2.1")), Some(Duration::from_secs(30)));
        hand.advance(Duration::from_secs(30));
        assert_eq!(failures.refused(&client("192.0.2.1")), None);
    }

    #[test]
    fn an_ipv6_client_cannot_get_away_by_changing_its_address() {
        let (failures, _hand) = failures(1, 100);
        failures.record(&client("2001:db8::1"));
        assert!(failures.refused(&client("2001:db8::2")).is_some());
        assert!(failures.refused(&client("2001:db8:0:1::1")).is_none());
    }

    #[test]
    fn many_clients_take_no_more_than_their_room() {
        let (failures, _hand) = failures(1, 160);
        for n in 0..100_000_u32 {
            failures.record(&client(&std::net::Ipv4Addr::from_bits(n).to_string()));
        }
        let kept: usize = failures.counts.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= 160, "{kept}");
    }

    #[test]
    fn counts_are_kept_under_another_limit() {
        let (old, _hand) = failures(1, 100);
        old.record(&client("192.0.2.1"));
        let mut new = FailureLimit::new(1, Duration::from_secs(60));
        new.adopt(&old);
        assert!(new.refused(&client("192.0.2.1")).is_some());
    }
}
