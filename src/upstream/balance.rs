//! Which server a request goes to.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::random::{random, scale};

/// How requests are spread over the servers of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Of two servers drawn at random by weight, the one with fewer requests in flight for its weight (Mitzenmacher, "The
    /// Power of Two Choices in Randomized Load Balancing", 2001): as even as asking all of them, at a constant cost.
    #[default]
    LeastRequests,
    /// Each in turn, as often as its weight says, and interleaved: weights 5, 1, 1 give `a a b a c a a`, not `a a a a a b c`.
    RoundRobin,
}

/// The state of a balancer over servers that are known by their index.
#[derive(Debug)]
pub(super) enum Balancer {
    Single,
    LeastRequests {
        weights: Box<[u32]>,
        /// Sums of the weights up to and with each server: a draw is one number and a binary search.
        sums: Box<[u64]>,
    },
    RoundRobin {
        /// One turn of the smooth weighted order.
        order: Box<[u32]>,
        next: AtomicUsize,
    },
}

/// The longest turn that is laid out: weights are scaled down to it.
const LONGEST_TURN: u64 = 4096;

impl Balancer {
    /// A balancer over `weights`, none of which is zero.
    pub(super) fn new(balance: Balance, weights: &[u32]) -> Self {
        match balance {
            _ if weights.len() <= 1 => Self::Single,
            Balance::LeastRequests => Self::LeastRequests {
                weights: weights.into(),
                sums: weights
                    .iter()
                    .scan(0, |sum, weight| {
                        *sum += u64::from(*weight);
                        Some(*sum)
                    })
                    .collect(),
            },
            Balance::RoundRobin => Self::RoundRobin { order: smooth_order(weights), next: AtomicUsize::new(0) },
        }
    }

    /// The server for the next request. `in_flight` tells how many requests one has.
    pub(super) fn choose(&self, in_flight: impl Fn(usize) -> usize) -> usize {
        match self {
            Self::Single => 0,
            Self::RoundRobin { order, next } => {
                let turn = next.fetch_add(1, Ordering::Relaxed) % order.len();
                order[turn] as usize
            }
            Self::LeastRequests { weights, sums } => {
                let (first, second) = draw_two(sums, weights, random());
                let load = |server: usize| in_flight(server) as u64;
                // load(a) / weight(a) <= load(b) / weight(b), without dividing.
                let first_is_lighter =
                    load(first) * u64::from(weights[second]) <= load(second) * u64::from(weights[first]);
                if first_is_lighter { first } else { second }
            }
        }
    }
}

/// Two different servers, each drawn by weight.
fn draw_two(sums: &[u64], weights: &[u32], random: u64) -> (usize, usize) {
    let total = *sums.last().unwrap_or(&1);
    let at = |point: u64| sums.partition_point(|sum| *sum <= point);
    let first = at(scale(random as u32, total));
    // The second is drawn from what is left when the first is taken out of the line.
    let before = sums[first] - u64::from(weights[first]);
    let point = scale((random >> 32) as u32, total - u64::from(weights[first]));
    let second = at(if point < before { point } else { point + u64::from(weights[first]) });
    (first, second)
}

/// Smooth weighted round robin: each turn every server gains its weight, and the richest pays the total.
fn smooth_order(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let shrink = sum.div_ceil(LONGEST_TURN).max(1);
    let shares: Vec<i64> =
        weights.iter().map(|weight| i64::from(weight / divisor).div_euclid(shrink as i64).max(1)).collect();
    let turn: i64 = shares.iter().sum();
    let mut credit = vec![0i64; weights.len()];
    (0..turn)
        .map(|_| {
            let mut richest = 0;
            for server in 0..credit.len() {
                credit[server] += shares[server];
                if credit[server] > credit[richest] {
                    richest = server;
                }
            }
            credit[richest] -= turn;
            richest as u32
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shares(balancer: &Balancer, servers: usize, rounds: usize) -> Vec<usize> {
        let mut counts = vec![0; servers];
        (0..rounds).for_each(|_| counts[balancer.choose(|_| 0)] += 1);
        counts
    }

    #[test]
    fn round_robin_is_interleaved_by_weight() {
        let balancer = Balancer::new(Balance::RoundRobin, &[5, 1, 1]);
        let turn: Vec<_> = (0..7).map(|_| balancer.choose(|_| 0)).collect();
        assert_eq!(turn, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn equal_weights_take_turns_however_large() {
        let balancer = Balancer::new(Balance::RoundRobin, &[1_000_000, 1_000_000]);
        assert_eq!(shares(&balancer, 2, 100), [50, 50]);
    }

    #[test]
    fn least_requests_prefers_the_server_with_room_for_its_weight() {
        let balancer = Balancer::new(Balance::LeastRequests, &[1, 1]);
        assert!((0..100).all(|_| balancer.choose(|server| [3, 2][server]) == 1));
        let balancer = Balancer::new(Balance::LeastRequests, &[1, 4]);
        assert!((0..100).all(|_| balancer.choose(|server| [2, 7][server]) == 1));
    }

    #[test]
    fn idle_servers_share_by_weight() {
        let balancer = Balancer::new(Balance::LeastRequests, &[1, 3]);
        let counts = shares(&balancer, 2, 40_000);
        assert!((9_000..11_000).contains(&counts[0]), "{counts:?}");
    }

    proptest! {
        #[test]
        fn two_draws_are_two_servers(weights in prop::collection::vec(1u32..1000, 2..50), random: u64) {
            let Balancer::LeastRequests { weights, sums } = Balancer::new(Balance::LeastRequests, &weights) else {
                unreachable!()
            };
            let (first, second) = draw_two(&sums, &weights, random);
            prop_assert!(first < weights.len() && second < weights.len());
            prop_assert_ne!(first, second);
        }

        #[test]
        fn a_turn_holds_every_server_as_often_as_its_weight(weights in prop::collection::vec(1u32..20, 2..10)) {
            let order = smooth_order(&weights);
            for (server, weight) in weights.iter().enumerate() {
                let seen = order.iter().filter(|chosen| **chosen as usize == server).count() as u64;
                let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
                prop_assert_eq!(seen * total, u64::from(*weight) * order.len() as u64);
            }
        }

        #[test]
        fn huge_weights_lay_out_no_huge_turn(weights in prop::collection::vec(1u32.., 2..200)) {
            let order = smooth_order(&weights);
            prop_assert!(order.len() as u64 <= LONGEST_TURN + weights.len() as u64);
        }
    }
}
