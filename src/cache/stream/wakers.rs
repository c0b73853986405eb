use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The wakers of all readers, as the one that the source is polled with: whoever comes first polls it again.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    /// By the readers' numbers.
    waiting: Mutex<Vec<Option<Waker>>>,
    called: AtomicBool,
}

impl Wakers {
    pub(super) fn register(&self, reader: usize, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() <= reader {
            waiting.resize(reader + 1, None);
        }
        match &mut waiting[reader] {
            Some(own) => own.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(super) fn unregister(&self, reader: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = waiting.get_mut(reader) {
            *own = None;
        }
    }

    /// Wakes those who wait. No lock is held meanwhile: a waker may run what it wakes.
    pub(super) fn wake_all(&self) {
        let woken: Vec<Waker> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.iter_mut().filter_map(Option::take).collect()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    pub(super) fn forget_calls(&self) {
        self.called.store(false, Ordering::SeqCst);
    }

    pub(super) fn were_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, Ordering::SeqCst);
        self.wake_all();
    }
}
