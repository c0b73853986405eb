//! How many credentials a client may get wrong.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{ClientIp, Clock};

const SHARDS: usize = 16;

/// So many failed credentials of a shard are known again.
const SENT: usize = 1024;

/// A longer credential is looked for each time.
const LONGEST_LAST: usize = 1024;

/// Of a full shard so many entries are looked at to find one that is worth least.
const LOOKED_AT: usize = 8;

/// A limit on credentials that are not accepted, for each client address (an IPv6 client is counted by its network). Clones
/// count together: give one to each layer, and it is one limit.
///
/// A client that sends the same bad credential again within the time `per` has not failed again: it is told nothing that it did
/// not know, and a program with a token that has expired does not shut out all who share its address. For kinds of your own
/// that takes [`Credential::sent`](super::Credential::sent).
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
    /// Two numbers of its own for clients, which are looked for with every request once anybody has failed.
    clients: [u64; 2],
    shards: [Shard; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// False while nobody has failed, so that nobody pays for a look into nothing.
    any: AtomicBool,
    failed: Mutex<Failed>,
}

#[derive(Default)]
struct Failed {
    clients: HashMap<Client, Duration, AsItIs>,
    /// A keyed hash of each credential with the client that it was counted for, and until when it is not counted again. Who
    /// could make two with the same would have one guess for nothing.
    sent: HashMap<u64, Duration, AsItIs>,
    /// The one that came last, which is the one that comes next: a program that goes on with what has expired.
    last: Option<Last>,
}

/// A credential that was counted, and until when it is not counted again.
struct Last {
    client: Client,
    kind: usize,
    sent: Vec<u8>,
    until: Duration,
}

/// A client's network, and a keyed hash of it: made once, for whatever is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Client {
    hash: u64,
    network: IpAddr,
}

impl Hash for Client {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// For keys that are hashes already, by a key that nobody knows.
type AsItIs = BuildHasherDefault<Hashed>;

#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
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
        let client = self.counts.client(client);
        let shard = self.counts.shard(client);
        if !shard.any.load(Ordering::Relaxed) {
            return None;
        }
        let forgotten_at = *shard.lock().clients.get(&client)?;
        let ahead = forgotten_at.saturating_sub(self.now());
        let over = (ahead + self.interval()).saturating_sub(self.per);
        (over > Duration::ZERO).then_some(over)
    }

    /// Counts a credential of the `kind` that is the layer's so-manieth, as it was `sent`.
    pub(super) fn record(&self, client: &ClientIp, kind: usize, sent: Option<&[u8]>) {
        let now = self.now();
        let capacity = (self.max_clients / SHARDS).max(1);
        let client = self.counts.client(client);
        let shard = self.counts.shard(client);
        let mut failed = shard.lock();
        shard.any.store(true, Ordering::Relaxed);
        if let Some(sent) = sent {
            if failed.is_last(client, kind, sent, now) {
                return;
            }
            let id = self.counts.key.hash_one((bits(client.network), kind, sent));
            let known_until = failed.known_until(id, now);
            let until = known_until.unwrap_or(now + self.per);
            failed.set_last(client, kind, sent, until);
            if known_until.is_some() {
                return;
            }
            failed.know(id, now, until);
        }
        let clients = &mut failed.clients;
        if clients.len() >= capacity && !clients.contains_key(&client) {
            make_room(clients, now);
        }
        let forgotten_at = clients.entry(client).or_insert(now);
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
        let key = RandomState::new();
        let clients = [0_u8, 1].map(|half| key.hash_one(half));
        Self { start, key, clients, shards: Default::default() }
    }

    fn client(&self, client: &ClientIp) -> Client {
        let network = client.network();
        Client { hash: folded(bits(network), self.clients), network }
    }

    fn shard(&self, client: Client) -> &Shard {
        // Not of the bits by which a map finds it.
        &self.shards[(client.hash >> 32) as usize % SHARDS]
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Failed> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failed {
    /// True when this one was the last that was counted, and need not be looked for.
    fn is_last(&self, client: Client, kind: usize, sent: &[u8], now: Duration) -> bool {
        let is_same = |last: &Last| last.client == client && last.kind == kind && last.sent == sent;
        self.last.as_ref().is_some_and(|last| now < last.until && is_same(last))
    }

    fn set_last(&mut self, client: Client, kind: usize, sent: &[u8], until: Duration) {
        self.last = (sent.len() <= LONGEST_LAST).then(|| Last { client, kind, sent: sent.to_vec(), until });
    }

    /// Until when this one is not counted, as it was before.
    fn known_until(&self, id: u64, now: Duration) -> Option<Duration> {
        self.sent.get(&id).copied().filter(|until| now < *until)
    }

    fn know(&mut self, id: u64, now: Duration, until: Duration) {
        if self.sent.len() >= SENT {
            self.sent.retain(|_, until| now < *until);
            // Unless that has made some room, all of them go, so that it is not done for each. They count again.
            if self.sent.len() > SENT / 2 {
                self.sent.clear();
            }
        }
        self.sent.insert(id, until);
    }
}

/// An address as a number, which is hashed at once. One of IPv4 is the one of IPv6 that stands for it.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A number by two secret ones, in two multiplications: nobody who does not know them can choose addresses that meet, and those
/// that do are still told apart. What counts a credential as known is hashed with more care.
fn folded(bits: u128, key: [u64; 2]) -> u64 {
    let fold = |wide: u128| wide as u64 ^ (wide >> 64) as u64;
    let once = fold(u128::from(bits as u64 ^ key[0]) * u128::from((bits >> 64) as u64 ^ key[1]));
    fold(u128::from(once ^ bits as u64) * u128::from(key[0] | 1))
}

fn make_room(clients: &mut HashMap<Client, Duration, AsItIs>, now: Duration) {
    let looked_at: Vec<_> = clients.iter().take(LOOKED_AT).map(|(client, at)| (*at, *client)).collect();
    let least = looked_at.iter().min().copied();
    for (at, client) in looked_at {
        if at <= now || Some((at, client)) == least {
            clients.remove(&client);
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
            failures.record(&one, 0, None);
        }
        assert_eq!(failures.refused(&one), Some(Duration::from_secs(20)));
        assert_eq!(failures.refused(&other), None);
        hand.advance(Duration::from_secs(20));
        assert_eq!(failures.refused(&one), None);
        failures.record(&one, 0, None);
        assert!(failures.refused(&one).is_some());
    }

    #[test]
    fn the_same_credential_again_is_no_other_failure_until_it_is_forgotten() {
        let (failures, hand) = failures(2, 100);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        for _ in 0..1000 {
            failures.record(&one, 0, Some(b"a"));
        }
        assert_eq!(failures.refused(&one), None);
        failures.record(&other, 0, Some(b"a"));
        assert_eq!(failures.refused(&other), None, "of another client it is counted for that one");
        failures.record(&one, 1, Some(b"a"));
        assert!(failures.refused(&one).is_some(), "as a credential of another kind it is another");

        hand.advance(Duration::from_secs(60));
        for _ in 0..1000 {
            failures.record(&one, 0, Some(b"a"));
        }
        assert_eq!(failures.refused(&one), None);
        failures.record(&one, 0, Some(b"b"));
        assert!(failures.refused(&one).is_some());
    }

    #[test]
    fn whoever_goes_on_is_not_shut_out_for_longer() {
        let (failures, hand) = failures(2, 100);
        for _ in 0..1000 {
            failures.record(&client("192.0.2.1"), 0, None);
        }
        assert_eq!(failures.refused(&client("192.0.2.1")), Some(Duration::from_secs(30)));
        hand.advance(Duration::from_secs(30));
        assert_eq!(failures.refused(&client("192.0.2.1")), None);
    }

    #[test]
    fn an_ipv6_client_cannot_get_away_by_changing_its_address() {
        let (failures, _hand) = failures(1, 100);
        failures.record(&client("2001:db8::1"), 0, None);
        assert!(failures.refused(&client("2001:db8::2")).is_some());
        assert!(failures.refused(&client("2001:db8:0:1::1")).is_none());
    }

    #[test]
    fn many_clients_take_no_more_than_their_room() {
        let (failures, _hand) = failures(1, 160);
        for n in 0..100_000_u32 {
            let client = client(&std::net::Ipv4Addr::from_bits(n).to_string());
            failures.record(&client, 0, Some(&n.to_le_bytes()));
        }
        let kept: usize = failures.counts.shards.iter().map(|shard| shard.lock().clients.len()).sum();
        assert!(kept <= 160, "{kept}");
        assert!(failures.counts.shards.iter().all(|shard| shard.lock().sent.len() <= SENT));
    }

    #[test]
    fn counts_are_kept_under_another_limit() {
        let (old, _hand) = failures(1, 100);
        old.record(&client("192.0.2.1"), 0, None);
        let mut new = FailureLimit::new(1, Duration::from_secs(60));
        new.adopt(&old);
        assert!(new.refused(&client("192.0.2.1")).is_some());
    }
}
