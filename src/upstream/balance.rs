//! Which server a request goes to.

mod draw;
mod hash;
mod sticky;

use std::sync::atomic::{AtomicUsize, Ordering};

use self::draw::{Draw, spread_turns};
use self::hash::Table;
use super::condition::Expected;
use crate::random::random;
use http::HeaderName;

pub(super) use self::hash::digest;
pub(super) use self::sticky::cookie;
pub use self::sticky::{InvalidCookieName, StickyCookie};

/// How requests are spread over the servers of an upstream.
///
/// Whichever it is, a choice takes the same time among two servers and among ten thousand, and locks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Of two servers drawn at random by weight, the one with fewer requests in flight for its weight (Mitzenmacher, "The
    /// Power of Two Choices in Randomized Load Balancing", 2001): as even as asking all of them, at a constant cost.
    #[default]
    LeastRequests,
    /// Each in turn, as often as its weight says, and interleaved: of weights 5, 1, 1 the turns of the first lie between
    /// those of the others.
    RoundRobin,
    /// Of two servers drawn at random by weight, the one whose answers are to be expected sooner: by the time that answers
    /// took lately, where a rise counts at once and a fall over ten seconds, times the requests in flight there
    /// (the peak-sensitive moving average of Twitter's Finagle, with the two choices of Mitzenmacher).
    PeakEwma,
    /// The same server for the same key, while it is there and is not given more than its share: Maglev hashing (Eisenbud et
    /// al., "Maglev: A Fast and Reliable Software Network Load Balancer", 2016) with bounded loads (Mirrokni, Thorup,
    /// Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018): no server has more than 1.25 times its share of what is
    /// in flight. When a server goes, its keys are spread over the others, which keep theirs but for a few. Requests without
    /// the key are spread by [`LeastRequests`](Self::LeastRequests).
    Hash(HashBy),
    /// The server that the client was sent to before, by a cookie that it is given with its first answer. Those without it,
    /// and those whose server is gone or cannot be used, are spread by [`LeastRequests`](Self::LeastRequests) and given a
    /// new one.
    Sticky(StickyCookie),
}

/// What a request is assigned to a server by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashBy {
    /// Who made it, once authenticated.
    Subject,
    /// The client's address.
    ClientIp,
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
}

/// What a balancer asks of the servers, which it knows by their index.
pub(super) trait Servers {
    /// Requests in flight there.
    fn load(&self, server: usize) -> u64;
    /// How long an answer is to be expected to take.
    fn latency(&self, server: usize) -> Expected;
    /// Whether it can be sent a request.
    fn is_usable(&self, server: usize) -> bool;
    /// Whether it is to have this one: a server that is new has fewer at first.
    fn has_its_turn(&self, server: usize) -> bool;
    /// Requests in flight at all of them.
    fn total_load(&self) -> u64;
}

#[derive(Debug)]
pub(super) struct Balancer {
    kind: Kind,
    draw: Draw,
}

#[derive(Debug)]
enum Kind {
    LeastRequests,
    PeakEwma,
    RoundRobin {
        /// One turn of all servers.
        order: Box<[u32]>,
        next: AtomicUsize,
    },
    Hash(Table),
}

/// How often two servers are drawn before any that is usable will do.
const DRAWS: usize = 4;
/// How many places of its own a key looks at.
const PLACES: u64 = 16;

impl Balancer {
    /// A balancer over `weights`, none of which is zero.
    pub(super) fn new(balance: &Balance, weights: &[u32]) -> Self {
        let kind = match balance {
            // There is nothing to lay out yet.
            _ if weights.is_empty() => Kind::LeastRequests,
            Balance::LeastRequests | Balance::Sticky(_) => Kind::LeastRequests,
            Balance::PeakEwma => Kind::PeakEwma,
            Balance::RoundRobin => Kind::RoundRobin { order: spread_turns(weights), next: AtomicUsize::new(0) },
            Balance::Hash(_) => Kind::Hash(Table::new(weights)),
        };
        Self { kind, draw: Draw::new(weights) }
    }

    /// The server for the next request, whose `key` may be hashed. `None` when none is usable.
    #[inline]
    pub(super) fn choose(&self, servers: &impl Servers, key: Option<u64>) -> Option<usize> {
        match self.draw.len() {
            0 => return None,
            1 => return servers.is_usable(0).then_some(0),
            _ => {}
        }
        match (&self.kind, key) {
            (Kind::RoundRobin { order, next }, _) => self.next_turn(servers, order, next),
            (Kind::PeakEwma, _) => self.better_of_two(servers, |one, other| self.answers_sooner(servers, one, other)),
            (Kind::Hash(table), Some(key)) => {
                let places = (0..PLACES).map(|place| table.server(key, place));
                let fits = |server: &usize| servers.is_usable(*server) && !self.is_loaded(servers, *server);
                places.into_iter().find(fits).or_else(|| self.least_requests(servers))
            }
            (Kind::LeastRequests | Kind::Hash(_), _) => self.least_requests(servers),
        }
    }

    fn least_requests(&self, servers: &impl Servers) -> Option<usize> {
        self.better_of_two(servers, |one, other| {
            // load(a) / weight(a) <= load(b) / weight(b), without dividing.
            let weight = |server| u64::from(self.draw.weight(server));
            servers.load(one) * weight(other) <= servers.load(other) * weight(one)
        })
    }

    /// By the time a request would take that joins those in flight there: as many answers as it would be one of, for the
    /// server's weight. One that has answered nothing yet is asked once, and not again before it has.
    fn answers_sooner(&self, servers: &impl Servers, one: usize, other: usize) -> bool {
        let (load, other_load) = (servers.load(one), servers.load(other));
        let (latency, other_latency) = (servers.latency(one), servers.latency(other));
        let weight = |server| u64::from(self.draw.weight(server));
        match (latency.is_known(), other_latency.is_known()) {
            (true, true) => {
                // Both sides times both weights, so that nothing is divided.
                let (share, other_share) = ((load + 1) * weight(other), (other_load + 1) * weight(one));
                latency.is_sooner(share as f32, other_latency, other_share as f32)
            }
            (false, true) => load == 0,
            (true, false) => other_load > 0,
            (false, false) => load * weight(other) <= other_load * weight(one),
        }
    }

    /// The next server in turn. One that cannot be used gives its turn to whoever comes next, and not to its neighbour alone.
    fn next_turn(&self, servers: &impl Servers, order: &[u32], next: &AtomicUsize) -> Option<usize> {
        let turn = || order[next.fetch_add(1, Ordering::Relaxed) % order.len()] as usize;
        let fits = |server: &usize| servers.is_usable(*server) && servers.has_its_turn(*server);
        (0..order.len()).map(|_| turn()).find(fits).or_else(|| self.any(servers))
    }

    #[inline]
    fn better_of_two(&self, servers: &impl Servers, is_better: impl Fn(usize, usize) -> bool) -> Option<usize> {
        let fits = |server| servers.is_usable(server) && servers.has_its_turn(server);
        for _ in 0..DRAWS {
            let (one, other) = self.draw.two(random());
            match (fits(one), fits(other)) {
                (true, true) => return Some(if is_better(one, other) { one } else { other }),
                (true, false) => return Some(one),
                (false, true) => return Some(other),
                (false, false) => {}
            }
        }
        self.any(servers)
    }

    /// Any that is usable: most are not.
    fn any(&self, servers: &impl Servers) -> Option<usize> {
        let (count, start) = (self.draw.len(), random() as usize);
        (0..count).map(|step| start.wrapping_add(step) % count).find(|server| servers.is_usable(*server))
    }

    /// True when one more would be more than 1.25 times its share, rounded up.
    fn is_loaded(&self, servers: &impl Servers, server: usize) -> bool {
        let (all, weight) = (u128::from(servers.total_load()) + 1, u128::from(self.draw.weight(server)));
        let most = (5 * all * weight).div_ceil(4 * u128::from(self.draw.total()));
        u128::from(servers.load(server)) + 1 > most
    }
}

#[cfg(test)]
mod tests;
