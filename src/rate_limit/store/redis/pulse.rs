//! Whether the server is there still, without a request that waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Inner;
use crate::redis::Losses;

/// So long after it was heard last the server is asked for a sign.
const INTERVAL: Duration = Duration::from_millis(100);

/// When the server was heard last, and whether a task sees to it that it is heard.
pub(super) struct Pulse {
    born: Instant,
    /// A silence that is longer means that nobody has been watching.
    patience: Duration,
    /// In nanoseconds since it was born.
    heard: AtomicU64,
    watched: AtomicBool,
}

impl Pulse {
    /// Of a server that has so long for each answer.
    pub(super) fn new(deadline: Duration) -> Self {
        let (heard, watched) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { born: Instant::now(), patience: deadline.saturating_add(INTERVAL * 2), heard, watched }
    }

    pub(super) fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The server has answered.
    pub(super) fn hear(&self) {
        self.heard.fetch_max(self.nanos(Instant::now()), Ordering::Relaxed);
    }

    pub(super) fn is_felt(&self, now: u64) -> bool {
        let silence = now.saturating_sub(self.heard.load(Ordering::Relaxed));
        Duration::from_nanos(silence) <= self.patience
    }

    /// True for the one that has to see to it that it is watched.
    pub(super) fn begins(&self) -> bool {
        !self.watched.load(Ordering::Relaxed) && !self.watched.swap(true, Ordering::AcqRel)
    }

    /// True when what the server said matters to nobody any more: this task does not watch from here on.
    fn ends(&self, matters: impl Fn() -> bool) -> bool {
        if matters() {
            return false;
        }
        self.is_left();
        // Somebody for whom it matters may have come meanwhile, and found it watched.
        !(matters() && self.begins())
    }

    fn is_left(&self) {
        self.watched.store(false, Ordering::Release);
    }

    /// Until the server is to be asked, if it is not heard before, when it was asked last at that time.
    fn pause(&self, asked: u64) -> Duration {
        let last = Duration::from_nanos(self.heard.load(Ordering::Relaxed).max(asked));
        (last + INTERVAL).saturating_sub(self.born.elapsed())
    }
}

/// The task that watches, however it ends: with its runtime, with the store, or since nothing matters.
struct Watch(Weak<Inner>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            store.denied.pulse.is_left();
        }
    }
}

impl Inner {
    /// Sees to it that a task watches the server.
    pub(super) fn watch(self: &Arc<Self>) {
        if self.denied.pulse.begins() {
            self.redis.spawn(watch(Watch(Arc::downgrade(self)), self.redis.losses().clone()));
        }
    }
}

/// Asks for a sign when there has been none, and at once when a connection breaks.
async fn watch(mut watched: Watch, losses: Arc<Losses>) {
    let (mut era, mut asked) = (losses.count(), 0);
    loop {
        // The store is not held meanwhile: whoever drops it is done with it.
        let Some(pause) = watched.0.upgrade().map(|store| store.denied.pulse.pause(asked)) else { return };
        let lost = tokio::time::timeout(pause, losses.more_than(era)).await;
        let Some(store) = watched.0.upgrade() else { return };
        let pulse = &store.denied.pulse;
        if lost.is_ok() || pulse.pause(asked).is_zero() {
            asked = pulse.nanos(Instant::now());
            if store.redis.is_there().await {
                pulse.hear();
            }
        }
        if losses.count() != era {
            era = losses.count();
            store.denied.forget_all();
        }
        if pulse.ends(|| store.denied.is_any_refused()) {
            // From here on another may begin, which this one is not to end.
            watched.0 = Weak::new();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    impl Pulse {
        /// Of a server that has a minute for each answer, and was heard an hour ago.
        pub(in super::super) fn silent() -> Self {
            let pulse = Self::new(Duration::from_secs(60));
            Self { born: pulse.born - HOUR, ..pulse }
        }
    }

    #[test]
    fn a_server_is_believed_for_as_long_as_its_next_sign_may_take() {
        let pulse = Pulse::silent();
        assert!(!pulse.is_felt(pulse.nanos(Instant::now())));
        pulse.hear();
        let heard = pulse.heard.load(Ordering::Relaxed);
        let after = |millis: u64| heard + millis * 1_000_000;
        assert!(pulse.is_felt(after(60_200)) && !pulse.is_felt(after(60_201)));
    }

    #[test]
    fn it_is_asked_when_it_has_been_silent_and_not_too_often() {
        let pulse = Pulse::silent();
        assert_eq!(pulse.pause(0), Duration::ZERO);
        let now = pulse.nanos(Instant::now());
        assert!(pulse.pause(now + 3_600_000_000_000) > HOUR / 2, "it was asked, and has not answered");
        pulse.hear();
        assert!(pulse.pause(0) <= INTERVAL);
    }

    #[test]
    fn one_task_watches_while_it_matters() {
        let pulse = Pulse::silent();
        assert!(pulse.begins() && !pulse.begins());
        assert!(!pulse.ends(|| true) && !pulse.begins());
        assert!(pulse.ends(|| false) && pulse.begins());
        pulse.is_left();
        assert!(pulse.begins(), "its runtime has ended");
    }

    #[test]
    fn whoever_comes_while_the_task_ends_is_watched_by_one_task() {
        // Whoever comes has said that it matters before it looks whether it is watched.
        for begins_another in [false, true] {
            let pulse = Pulse::silent();
            assert!(pulse.begins());
            let looks = std::cell::Cell::new(0);
            let ended = pulse.ends(|| {
                looks.set(looks.get() + 1);
                looks.get() == 2 && (!begins_another || pulse.begins())
            });
            assert_eq!(ended, begins_another);
            assert!(!pulse.begins(), "it is watched");
        }
    }
}
