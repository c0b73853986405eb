//! What was asked for last: a small table in front of the store in memory, whose look-up keeps account of how often each key
//! is asked for and by what clock it expires, at ten times the price of finding it.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwapOption, Guard};
use foldhash::fast::RandomState;

use super::Record;

/// One place for all keys of one hash. It holds on to nothing: what the store has let go of is gone here too.
pub(super) struct Recent {
    random: RandomState,
    places: Box<[ArcSwapOption<Occupant>]>,
}

struct Occupant {
    key: Box<str>,
    record: Weak<Record>,
}

pub(super) enum Seen<'a> {
    Found(Arc<Record>),
    /// The store is to be asked; what it has may be remembered here.
    Nothing(Option<Place<'a>>),
}

/// A place, as it was before the store was asked.
pub(super) struct Place<'a> {
    place: &'a ArcSwapOption<Occupant>,
    before: Guard<Option<Arc<Occupant>>>,
}

impl Recent {
    const PLACES: usize = 1024;

    pub(super) fn look(&self, key: &str) -> Seen<'_> {
        let place = self.place(key);
        let before = place.load();
        if let Some(occupant) = &*before
            && occupant.is_there()
            && !is_drawn()
        {
            let record = occupant.record.upgrade().filter(|_| *occupant.key == *key);
            return record.map_or(Seen::Nothing(None), Seen::Found);
        }
        Seen::Nothing(Some(Place { place, before }))
    }

    /// The store has something else for this key by now. Whoever asked it before finds another occupant than it saw, and
    /// remembers nothing.
    pub(super) fn forget(&self, key: &str) {
        self.place(key).store(Some(Occupant::nobody()));
    }

    pub(super) fn forget_all(&self) {
        for place in &self.places {
            place.store(Some(Occupant::nobody()));
        }
    }

    fn place(&self, key: &str) -> &ArcSwapOption<Occupant> {
        let hash = self.random.hash_one(key);
        &self.places[hash as usize % self.places.len()]
    }
}

/// One look of so many asks the store all the same, so that it knows what is asked for often, and keeps it; and another key
/// may take the place. By lot, since nothing is counted that all threads would write to.
const LOOKS: u32 = 16;

fn is_drawn() -> bool {
    thread_local! {
        static STATE: Cell<u32> = const { Cell::new(0x9e37_79b9) };
    }
    STATE.with(|state| {
        // Marsaglia's xorshift: whom it falls on need not be a secret.
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        state.set(x);
        x % LOOKS == 0
    })
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            random: RandomState::default(),
            places: std::iter::repeat_with(ArcSwapOption::empty).take(Self::PLACES).collect(),
        }
    }
}

impl Occupant {
    fn nobody() -> Arc<Self> {
        Arc::new(Self { key: Box::default(), record: Weak::new() })
    }

    fn is_there(&self) -> bool {
        self.record.strong_count() > 0
    }
}

impl Place<'_> {
    /// Remembers what the store has, unless somebody has written since.
    pub(super) fn remember(self, key: &str, record: &Arc<Record>) {
        if let Some(occupant) = &*self.before
            && *occupant.key == *key
            && std::ptr::eq(occupant.record.as_ptr(), Arc::as_ptr(record))
        {
            return;
        }
        let occupant = Occupant { key: key.into(), record: Arc::downgrade(record) };
        self.place.compare_and_swap(&self.before, Some(Arc::new(occupant)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record() -> Arc<Record> {
        Arc::new(Record::from_variants(Vec::new(), Duration::ZERO))
    }

    /// Many looks, since some are drawn.
    fn remember(recent: &Recent, key: &str, record: &Arc<Record>) {
        for _ in 0..1000 {
            if let Seen::Nothing(Some(place)) = recent.look(key) {
                place.remember(key, record);
            }
        }
    }

    fn found(recent: &Recent, key: &str, record: &Arc<Record>) -> usize {
        let finds = |_: &u32| matches!(recent.look(key), Seen::Found(found) if Arc::ptr_eq(&found, record));
        (0..1600).filter(finds).count()
    }

    fn finds(recent: &Recent, key: &str, record: &Arc<Record>) -> bool {
        found(recent, key, record) > 0
    }

    #[test]
    fn what_was_remembered_is_found_and_the_store_is_asked_now_and_then() {
        let (recent, record) = (Recent::default(), record());
        remember(&recent, "a", &record);
        let found = found(&recent, "a", &record);
        assert!((1450..1550).contains(&found), "{found}: about fifteen of sixteen");
        assert!(!finds(&recent, "b", &record));
    }

    #[test]
    fn what_the_store_has_let_go_of_is_gone() {
        let (recent, record) = (Recent::default(), record());
        remember(&recent, "a", &record);
        drop(record);
        assert!(matches!(recent.look("a"), Seen::Nothing(Some(_))));
    }

    #[test]
    fn what_was_read_before_a_write_is_not_remembered_after_it() {
        for forget in [|recent: &Recent| recent.forget("a"), Recent::forget_all] {
            let (recent, old) = (Recent::default(), record());
            for _ in 0..2 {
                let Seen::Nothing(Some(place)) = recent.look("a") else { panic!("nothing is remembered yet") };
                forget(&recent);
                place.remember("a", &old);
                assert!(!finds(&recent, "a", &old));
            }
            remember(&recent, "a", &old);
            assert!(finds(&recent, "a", &old));
        }
    }

    #[test]
    fn another_key_takes_a_place_in_time() {
        let recent = Recent { places: Box::new([ArcSwapOption::empty()]), ..Recent::default() };
        let (one, other) = (record(), record());
        remember(&recent, "a", &one);
        remember(&recent, "b", &other);
        assert!(finds(&recent, "b", &other) && !finds(&recent, "a", &one));
    }
}
