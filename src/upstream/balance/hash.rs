//! The same server for the same key.

use crate::random::{mix, scale};

/// Whose each place is: each server fills the table in an order of its own, in turns, as often as its weight says. So a
/// server that comes or goes changes its own places and few of the others'.
#[derive(Debug)]
pub(super) struct Table(Box<[u32]>);

/// Primes, so that every step through the table comes by all its places; and few of them, since with another size every key
/// moves.
const SIZES: [usize; 2] = [65_537, 1_048_573];
/// How many places each server is to have at least.
const PLACES_EACH: usize = 100;

impl Table {
    pub(super) fn new(weights: &[u32]) -> Self {
        let wanted = weights.len() * PLACES_EACH;
        let size = SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(SIZES[SIZES.len() - 1]);
        let heaviest = weights.iter().copied().max().unwrap_or(1);
        // By its number and not its name: who changes places in the list changes what it is asked.
        let step = |server: usize| {
            let bits = mix(server as u64 + 1);
            (bits as usize % size, 1 + (bits >> 32) as usize % (size - 1))
        };
        let mut walks: Vec<(usize, usize)> = (0..weights.len()).map(step).collect();
        let mut credit = vec![0u64; weights.len()];
        let (mut table, mut left) = (vec![u32::MAX; size], size);
        'fill: loop {
            for server in 0..weights.len() {
                credit[server] += u64::from(weights[server]);
                while credit[server] >= u64::from(heaviest) {
                    credit[server] -= u64::from(heaviest);
                    let (place, stride) = &mut walks[server];
                    while table[*place] != u32::MAX {
                        *place = (*place + *stride) % size;
                    }
                    table[*place] = server as u32;
                    left -= 1;
                    if left == 0 {
                        break 'fill;
                    }
                }
            }
        }
        Self(table.into())
    }

    /// The server of a key, and of the places it is at when that one cannot be used.
    #[inline]
    pub(super) fn server(&self, key: u64, place: u64) -> usize {
        let bits = if place == 0 { key } else { mix(key ^ place) };
        self.0[scale((bits >> 32) as u32, self.0.len() as u64) as usize] as usize
    }
}

/// A key's hash (FNV-1a, and mixed): the same in every gateway and after every restart. Whoever chooses keys so that they meet
/// at one server is held by the bound on its load.
pub(in crate::upstream) fn digest(key: &[u8]) -> u64 {
    mix(key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(table: &Table, keys: u64) -> Vec<usize> {
        (0..keys).map(|key| table.server(digest(&key.to_be_bytes()), 0)).collect()
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let chosen = servers(&Table::new(&[1, 1, 2]), 40_000);
        let counts = [0, 1, 2].map(|server| chosen.iter().filter(|chosen| **chosen == server).count());
        for (count, share) in counts.iter().zip([10_000, 10_000, 20_000]) {
            assert!((share * 9 / 10..share * 11 / 10).contains(count), "{counts:?}");
        }
    }

    #[test]
    fn a_server_that_comes_takes_its_share_and_the_others_keep_theirs() {
        let (before, after) = (servers(&Table::new(&[1; 10]), 10_000), servers(&Table::new(&[1; 11]), 10_000));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after && **after != 10).count();
        let taken = after.iter().filter(|server| **server == 10).count();
        assert!((700..1_150).contains(&taken), "{taken}");
        // Maglev trades a little of this for a look-up of one step.
        assert!(moved < 1_000, "{moved} of 10,000 moved between servers that stayed");
    }
}
