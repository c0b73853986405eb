//! Drawing servers by weight, and laying out turns.

use crate::random::scale;

/// Draws from servers by weight, each in the same time (Vose, "A Linear Algorithm for Generating Random Numbers with a Given
/// Distribution", 1991).
#[derive(Debug)]
pub(super) struct Draw {
    weights: Box<[u32]>,
    total: u64,
    /// For each place how much of it is its own server's, of 2^32, and whose the rest is. Empty when all weigh the same.
    alias: Box<[(u32, u32)]>,
}

impl Draw {
    pub(super) fn new(weights: &[u32]) -> Self {
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let alias = if equal { Box::default() } else { alias(weights) };
        Self { weights: weights.into(), total: weights.iter().copied().map(u64::from).sum(), alias }
    }

    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }

    pub(super) fn weight(&self, server: usize) -> u32 {
        self.weights[server]
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Two different servers, of which there are two at least.
    #[inline]
    pub(super) fn two(&self, random: u64) -> (usize, usize) {
        let one = self.one(random as u32, (random >> 32) as u32);
        let other = self.one((random >> 16) as u32, crate::random::mix(random) as u32);
        if other != one {
            return (one, other);
        }
        // Any other: among many servers this is rare, among few each is likely to be drawn next time.
        let step = 1 + scale((random >> 24) as u32, self.len() as u64 - 1) as usize;
        (one, (one + step) % self.len())
    }

    #[inline]
    fn one(&self, place: u32, within: u32) -> usize {
        let place = scale(place, self.weights.len() as u64) as usize;
        match self.alias.get(place) {
            Some((own, other)) if within >= *own => *other as usize,
            _ => place,
        }
    }
}

fn alias(weights: &[u32]) -> Box<[(u32, u32)]> {
    let total: f64 = weights.iter().copied().map(f64::from).sum();
    let mut shares: Vec<f64> = weights.iter().map(|weight| f64::from(*weight) * weights.len() as f64 / total).collect();
    let mut alias: Box<[(u32, u32)]> = (0..weights.len() as u32).map(|server| (u32::MAX, server)).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|server| shares[*server] < 1.0);
    while let (Some(lesser), Some(greater)) = (small.pop(), large.last().copied()) {
        alias[lesser] = ((shares[lesser] * f64::from(u32::MAX)) as u32, greater as u32);
        shares[greater] -= 1.0 - shares[lesser];
        if shares[greater] < 1.0 {
            large.pop();
            small.push(greater);
        }
    }
    alias
}

/// The longest turn that is laid out, beyond one for each server: weights are scaled down to it.
const LONGEST_TURN: u64 = 4096;

/// One turn in which each server is as often as its weight says, at equal distances. Where each begins is spread by the
/// golden ratio, which lays any number of beginnings far from each other, so that equals do not come in a row.
pub(super) fn spread_turns(weights: &[u32]) -> Box<[u32]> {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let shrink = sum.div_ceil(LONGEST_TURN).max(1);
    let mut turns: Vec<(f64, u32)> = Vec::new();
    for (server, weight) in weights.iter().enumerate() {
        let times = (u64::from(weight / divisor) / shrink).max(1);
        let begin = (server as f64 * GOLDEN).fract();
        turns.extend((0..times).map(|time| ((time as f64 + begin) / times as f64, server as u32)));
    }
    turns.sort_by(|one, other| one.0.total_cmp(&other.0));
    turns.into_iter().map(|(_, server)| server).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::random;
    use proptest::prelude::*;

    #[test]
    fn draws_are_as_the_weights() {
        let draw = Draw::new(&[1, 3, 6]);
        let mut counts = [0; 3];
        (0..60_000).for_each(|_| counts[draw.two(random()).0] += 1);
        for (count, share) in counts.iter().zip([6_000, 18_000, 36_000]) {
            assert!((share - 1_000..share + 1_000).contains(count), "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn two_draws_are_two_servers(weights in prop::collection::vec(1u32..1000, 2..50), random: u64) {
            let (one, other) = Draw::new(&weights).two(random);
            prop_assert!(one < weights.len() && other < weights.len());
            prop_assert_ne!(one, other);
        }

        #[test]
        fn a_turn_holds_every_server_as_often_as_its_weight(weights in prop::collection::vec(1u32..20, 2..10)) {
            let order = spread_turns(&weights);
            for (server, weight) in weights.iter().enumerate() {
                let seen = order.iter().filter(|chosen| **chosen as usize == server).count() as u64;
                let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
                prop_assert_eq!(seen * total, u64::from(*weight) * order.len() as u64);
            }
        }

        #[test]
        fn huge_weights_lay_out_no_huge_turn(weights in prop::collection::vec(1u32.., 2..200)) {
            prop_assert!(spread_turns(&weights).len() as u64 <= LONGEST_TURN + weights.len() as u64);
        }
    }
}
