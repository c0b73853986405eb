//! Where requests are served: in memory that the last one on the same thread has left, which is still in the processor's cache.
//! An idle connection holds none.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many of a kind a thread keeps for its connections.
const KEPT: usize = 64;

thread_local! {
    static OF_THREAD: RefCell<HashMap<TypeId, Box<dyn Any>>> = RefCell::default();
}

/// Places of one kind, which connections share.
#[derive(Debug)]
pub(in crate::serve) struct Places<T>(Arc<Mutex<Vec<T>>>);

impl<T: 'static> Places<T> {
    /// Those of this thread. A connection that a runtime moves to another keeps them.
    pub(in crate::serve) fn of_thread() -> Self {
        OF_THREAD.with_borrow_mut(|all| {
            let own = all.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(Self(Arc::default())));
            own.downcast_ref::<Self>().map_or_else(|| Self(Arc::default()), |own| Self(own.0.clone()))
        })
    }
}

impl<T> Places<T> {
    /// One that was given back.
    pub(super) fn take(&self) -> Option<T> {
        self.kept().pop()
    }

    /// Gives one back that holds nothing.
    pub(super) fn give(&self, place: T) {
        let mut kept = self.kept();
        if kept.len() < KEPT {
            kept.push(place);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_for_whoever_comes_next_on_the_thread() {
        let (one, other) = (Places::of_thread(), Places::of_thread());
        assert_eq!(other.take(), None);
        one.give(7);
        assert_eq!((Places::<u8>::of_thread().take(), other.take(), one.take()), (None, Some(7), None));
        one.give(8);
        assert_eq!(std::thread::spawn(|| Places::<i32>::of_thread().take()).join().unwrap(), None);
    }

    #[test]
    fn only_so_many_are_kept() {
        let places = Places::of_thread();
        (0..100).for_each(|place| places.give(place));
        assert_eq!(std::iter::from_fn(|| places.take()).count(), KEPT);
    }
}
