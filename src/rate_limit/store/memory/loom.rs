//! Every interleaving of a few threads at one key.
//!
//! `RUSTFLAGS="--cfg tower_gateway_loom" cargo test --release --lib --no-default-features --features rate-limit loom`

use loom::sync::Arc;
use loom::thread;

use super::table::{Cell, Table};

const LIMIT: u64 = 2;

fn cell(n: u128) -> Cell {
    // In one place, so that one moves when the other goes.
    Cell::new(n << 20, 0, 1, 0)
}

fn table() -> Arc<Table<1>> {
    Arc::new(Table::new(8, |_, [word]| word))
}

/// As the store does: on what is known at once, else under the lock, where somebody else may have been meanwhile.
fn acquire(table: &Table<1>, n: u128) -> bool {
    let charge = |word: u64| if word < LIMIT { (Some(word + 1), true) } else { (None, false) };
    if let Some(admitted) = table.update(cell(n), charge) {
        return admitted;
    }
    let mut slots = table.write(table.shard_of(cell(n)));
    let word = slots.get(cell(n)).map_or(0, |[word]| word);
    match charge(word) {
        (Some(word), admitted) => slots.put(cell(n), [word], 0).is_ok() && admitted,
        (None, _) => false,
    }
}

#[test]
fn three_threads_are_admitted_two_by_a_limit_of_two() {
    loom::model(|| {
        let table = table();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let table = table.clone();
                thread::spawn(move || u64::from(acquire(&table, 1)))
            })
            .collect();
        let mut admitted = u64::from(acquire(&table, 1));
        for thread in threads {
            admitted += thread.join().unwrap();
        }
        assert_eq!(admitted, LIMIT);
    });
}

#[test]
fn a_key_that_is_known_is_counted_while_another_moves_it() {
    loom::model(|| {
        let table = table();
        assert!(acquire(&table, 1));
        let other = {
            let table = table.clone();
            // Its slot may be another one after this.
            thread::spawn(move || {
                table.write(0).put(cell(2), [9], 0).unwrap();
                table.write(0).remove_cell(cell(2));
            })
        };
        assert!(acquire(&table, 1));
        other.join().unwrap();
        assert!(!acquire(&table, 1));
    });
}

#[test]
fn two_quotas_under_their_locks_are_charged_together() {
    loom::model(|| {
        let (one, two) = (table(), table());
        let both = |one: &Table<1>, two: &Table<1>| {
            let (mut first, mut second) = (one.write(0), two.write(0));
            let (a, b) = (first.get(cell(1)).map_or(0, |[word]| word), second.get(cell(1)).map_or(0, |[word]| word));
            if a >= LIMIT || b >= 1 {
                return false;
            }
            first.put(cell(1), [a + 1], 0).unwrap();
            second.put(cell(1), [b + 1], 0).unwrap();
            true
        };
        let other = {
            let (one, two) = (one.clone(), two.clone());
            thread::spawn(move || both(&one, &two))
        };
        let mine = both(&one, &two);
        let theirs = other.join().unwrap();
        assert!(mine != theirs, "one of them, and the other charged nothing");
        assert_eq!(one.write(0).get(cell(1)), Some([1]));
    });
}
