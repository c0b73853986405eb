//! When a set is loaded, and what becomes of the one before.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::JwksStatus;
use super::source::{Fetched, JwksSource};
use crate::auth::algorithm::Algorithm;
use crate::auth::keys::KeySet;

/// A longer set is refused, in bytes.
pub(super) const MAX_SET_LENGTH: usize = 1 << 20;

/// So many requests wait for a load at a time; the others are answered at once.
const MAX_WAITING: usize = 1024;

/// The first pause after a load that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) algorithms: Vec<Algorithm>,
    /// A shared secret may not be in it.
    pub(super) published: bool,
    pub(super) every: Duration,
    pub(super) fresh_within: (Duration, Duration),
    pub(super) cooldown: Duration,
    pub(super) max_stale: Duration,
    pub(super) timeout: Duration,
}

/// What the loading task and the verifiers share.
pub(super) struct State {
    keys: ArcSwapOption<KeySet>,
    version: AtomicU64,
    schedule: Schedule,
    demanded: Notify,
    progress: Mutex<Progress>,
    /// Loads that have ended.
    ended: watch::Sender<u64>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Progress {
    running: bool,
    last_began: Option<Instant>,
    last_text: Option<Vec<u8>>,
    last_good: Option<Instant>,
    loads: u64,
    failures: u64,
    failures_in_a_row: u32,
}

impl State {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self {
            keys: ArcSwapOption::empty(),
            version: AtomicU64::new(0),
            schedule,
            demanded: Notify::new(),
            // The first load is on its way from the beginning.
            progress: Mutex::new(Progress { running: true, ..Progress::default() }),
            ended: watch::Sender::new(0),
            waiting: Arc::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn status(&self) -> JwksStatus {
        let keys = self.keys.load().as_ref().map_or(0, |keys| keys.iter().len());
        let progress = self.progress();
        let stale = keys > 0 && progress.failures_in_a_row > 0;
        JwksStatus { keys, loads: progress.loads, failures: progress.failures, stale }
    }

    /// A load to wait for, begun now where the cooldown is over.
    pub(super) fn demand(&self) -> Option<Loading> {
        let mut progress = self.progress();
        let is_due = |began: Instant| began.elapsed() >= self.schedule.cooldown;
        if !progress.running {
            if !progress.last_began.is_none_or(is_due) {
                return None;
            }
            // Said here already, so that who asks next does not ask for one more.
            progress.running = true;
            progress.last_began = Some(Instant::now());
            self.demanded.notify_one();
        }
        // Subscribed while the lock is held, so that this load's end cannot be missed.
        let ended = self.ended.subscribe();
        drop(progress);
        let waiting = Waiting::enter(&self.waiting)?;
        Some(Loading { ended, _waiting: waiting })
    }

    /// Loads for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>, source: Box<dyn JwksSource>) {
        loop {
            let fresh_for = self.load(&*source).await;
            let next = Instant::now() + self.pause(fresh_for);
            loop {
                let gone = self.give_up_at();
                tokio::select! {
                    () = sleep_until(next) => break,
                    () = self.demanded.notified() => break,
                    () = sleep_until(gone), if self.keys.load().is_some() => self.replace(None),
                }
            }
        }
    }

    async fn load(&self, source: &dyn JwksSource) -> Option<Duration> {
        {
            let mut progress = self.progress();
            progress.running = true;
            progress.last_began = Some(Instant::now());
        }
        let fetched = timeout(self.schedule.timeout, source.fetch()).await;
        let taken = match fetched {
            Ok(Ok(Fetched { set, fresh_for })) => self.take(&set).then_some(fresh_for),
            Ok(Err(_)) | Err(_) => None,
        };
        let mut progress = self.progress();
        progress.running = false;
        if taken.is_some() {
            progress.last_good = Some(Instant::now());
            progress.loads += 1;
            progress.failures_in_a_row = 0;
        } else {
            progress.failures += 1;
            progress.failures_in_a_row = progress.failures_in_a_row.saturating_add(1);
        }
        self.ended.send_modify(|ended| *ended += 1);
        taken.flatten()
    }

    /// Puts a set in place. One that is not fit changes nothing.
    fn take(&self, text: &[u8]) -> bool {
        if text.len() > MAX_SET_LENGTH {
            return false;
        }
        let schedule = &self.schedule;
        let keys = match schedule.published {
            true => KeySet::from_published(text, &schedule.algorithms),
            false => KeySet::from_json(text, &schedule.algorithms),
        };
        let Ok(keys) = keys else { return false };
        // The same keys again are no change, and leave what was verified with them as it is.
        let is_new = self.progress().last_text.as_deref() != Some(text) || self.keys.load().is_none();
        if is_new {
            self.progress().last_text = Some(text.to_vec());
            self.replace(Some(Arc::new(keys)));
        }
        true
    }

    fn replace(&self, keys: Option<Arc<KeySet>>) {
        self.keys.store(keys);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn pause(&self, fresh_for: Option<Duration>) -> Duration {
        let (first, longest) = PAUSES;
        let (least, most) = self.schedule.fresh_within;
        match self.progress().failures_in_a_row {
            0 => fresh_for.map_or(self.schedule.every, |fresh| fresh.clamp(least, most.max(least))),
            failures => first.saturating_mul(1 << (failures - 1).min(6)).min(longest).min(self.schedule.every),
        }
    }

    /// When keys that could not be loaded again are no longer used.
    fn give_up_at(&self) -> Instant {
        let now = Instant::now();
        let good = self.progress().last_good.unwrap_or(now);
        let far = Duration::from_secs(365 * 86_400);
        let until = good + self.schedule.max_stale.min(far);
        // While loads succeed, the next one comes before the keys are too old, however seldom it is.
        if self.progress().failures_in_a_row == 0 { until.max(now + self.schedule.max_stale.min(far)) } else { until }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load that somebody waits for.
pub(in crate::auth) struct Loading {
    ended: watch::Receiver<u64>,
    _waiting: Waiting,
}

impl Loading {
    /// Until the load has ended, well or not.
    pub(in crate::auth) async fn ended(mut self) {
        let _ = self.ended.changed().await;
    }
}

/// A place among those who wait, given back when it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn enter(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(waiting.clone());
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        (before < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
