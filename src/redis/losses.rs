//! How often the server was lost: a connection broke, it was found down, or it was asked for nothing but a sign and gave none.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts them. Whoever remembers what the server said remembers at which count, and forgets it at the next.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    count: AtomicU64,
    another: Notify,
}

impl Losses {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn add_one(&self) {
        self.count.fetch_add(1, Ordering::Release);
        self.another.notify_waiters();
    }

    /// Until they are not as many as were `seen`.
    pub(crate) async fn more_than(&self, seen: u64) {
        loop {
            // It hears what comes from here on, so what comes after the look is not missed.
            let another = self.another.notified();
            if self.count() != seen {
                return;
            }
            another.await;
        }
    }
}
