use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn ends(_: Cell, [ends]: [u64; 1]) -> u64 {
    ends
}

fn cell(n: u64) -> Cell {
    Cell::new(u128::from(n), 0, 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835, 0)
}

/// A slot that is being looked for is found wherever others have come and gone.
#[test]
fn a_table_holds_what_was_put_into_it_however_full_it_was() {
    let table = Table::<1>::new(10_000, ends);
    for n in 1..=5_000 {
        table.write(table.shard_of(cell(n))).put(cell(n), [n + 1_000], 0).unwrap();
    }
    assert_eq!(table.len(), 5_000);
    for n in (1..=5_000).filter(|n| n % 3 == 0) {
        table.write(table.shard_of(cell(n))).remove_cell(cell(n));
    }
    for n in 1..=5_000 {
        let kept = (n % 3 != 0).then_some([n + 1_000]);
        assert_eq!(table.write(table.shard_of(cell(n))).get(cell(n)), kept);
    }
}

#[test]
fn keys_take_no_more_than_64_bytes_at_any_number_of_them() {
    fn assert_small<const W: usize>(ends: Ends<W>) {
        let table = Table::<W>::new(1_000_000, ends);
        for n in 1..=200_000u64 {
            table.write(table.shard_of(cell(n))).put(cell(n), [u64::MAX; W], 0).unwrap();
            if n > 100_000 && n % 5_000 == 0 {
                let bytes = table.bytes() as f64 / n as f64;
                assert!(bytes <= 64.0, "{W} words: {bytes} bytes a key at {n}");
            }
        }
    }
    assert_small::<1>(ends);
    assert_small::<2>(|_, [ends, _]| ends);
}

#[test]
fn what_has_ended_makes_room_as_others_come() {
    let table = Table::<1>::new(1_000, ends);
    for n in 0..1_000_000 {
        // Each lives as long as it takes a hundred others to come.
        table.write(table.shard_of(cell(n))).put(cell(n), [n + 100], n).unwrap();
    }
    assert!(table.len() < 500, "{}", table.len());
}

#[test]
fn the_one_that_would_end_soonest_makes_room_for_another() {
    let table = Table::<1>::new(10, ends);
    let mut slots = table.write(0);
    for n in 0..10 {
        slots.put(cell(n), [100 + n], 0).unwrap();
    }
    assert_eq!(slots.put(cell(10), [500], 0), Err(Full));
    slots.forget_soonest();
    slots.put(cell(10), [500], 0).unwrap();
    assert_eq!(slots.get(cell(0)), None);
    assert!((1..=10).all(|n| slots.get(cell(n)).is_some()));
    assert_eq!(slots.put(cell(3), [7], 0), Ok(()), "what is known needs no room");
}

proptest! {
    #[test]
    fn a_table_is_as_a_map_is(steps in proptest::collection::vec((0..200u64, 0..3u8, 1..1000u64), 1..2_000)) {
        let table = Table::<1>::new(150, ends);
        let mut map = HashMap::new();
        let mut slots = table.write(0);
        for (n, step, word) in steps {
            match step {
                0 => {
                    slots.remove_cell(cell(n));
                    map.remove(&n);
                }
                _ if slots.put(cell(n), [word], 0).is_ok() => {
                    map.insert(n, word);
                }
                _ => prop_assert!(map.len() == 150 && !map.contains_key(&n)),
            }
            prop_assert_eq!(slots.used, map.len());
        }
        for n in 0..200 {
            prop_assert_eq!(slots.get(cell(n)), map.get(&n).map(|&word| [word]));
        }
    }
}
