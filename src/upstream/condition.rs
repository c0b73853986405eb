//! How a server is: whether it may be used, and how fast it answers.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::random::{random, scale};
use crate::window::Window;

/// What is known of one server. It outlives a reload with its server.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Condition {
    latency: Latency,
    /// All that keeps it from its share. Zero nearly always, which is all that a choice looks at then.
    flags: AtomicU8,
    /// Milliseconds, of [`now`], when its ejection ends.
    ejected_until: AtomicU64,
    /// The same when it came, or came back.
    since: AtomicU64,
    /// Failures since the last success.
    pub(super) in_a_row: AtomicU32,
    pub(super) ejections: AtomicU32,
    /// The last time that its rate was held against the others'.
    pub(super) compared: AtomicU64,
    window: Mutex<Option<std::sync::Arc<Window>>>,
}

const UNHEALTHY: u8 = 1;
const EJECTED: u8 = 2;
const NEW: u8 = 4;

/// Milliseconds since the first call in this process.
pub(super) fn now() -> u64 {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let start = *START.get_or_init(|| Instant::now().into_std());
    let age = Instant::now().into_std().saturating_duration_since(start);
    age.as_secs() * 1_000 + u64::from(age.subsec_millis())
}

impl Condition {
    /// True when neither checks nor its answers speak against it.
    pub(super) fn is_good(&self) -> bool {
        let flags = self.flags.load(Ordering::Relaxed);
        flags & UNHEALTHY == 0 && (flags & EJECTED == 0 || self.ejected_until.load(Ordering::Relaxed) <= now())
    }

    pub(super) fn passes_checks(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & UNHEALTHY == 0
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & EJECTED != 0 && self.ejected_until.load(Ordering::Relaxed) > now()
    }

    /// True when it can be sent a request. An ejection whose time is over ends here.
    #[inline]
    pub(super) fn is_usable(&self) -> Usable {
        match self.flags.load(Ordering::Relaxed) {
            0 | NEW => Usable::Yes,
            flags if flags & EJECTED == 0 => Usable::No,
            _ => self.is_usable_after_ejection(),
        }
    }

    #[cold]
    fn is_usable_after_ejection(&self) -> Usable {
        let now = now();
        if self.ejected_until.load(Ordering::Relaxed) > now {
            return Usable::No;
        }
        if self.flags.fetch_and(!EJECTED, Ordering::Relaxed) & EJECTED != 0 {
            self.begin_anew(now);
        }
        if self.passes_checks() { Usable::Again } else { Usable::No }
    }

    /// False for requests that a server has not its share of yet: over `slow_start` it grows from a tenth to all of it.
    #[inline]
    pub(super) fn has_its_turn(&self, slow_start: Duration) -> bool {
        self.flags.load(Ordering::Relaxed) & NEW == 0 || self.has_its_turn_as_new(slow_start)
    }

    #[cold]
    fn has_its_turn_as_new(&self, slow_start: Duration) -> bool {
        let whole = slow_start.as_millis() as u64;
        let age = now().saturating_sub(self.since.load(Ordering::Relaxed));
        if age >= whole {
            self.flags.fetch_and(!NEW, Ordering::Relaxed);
            return true;
        }
        scale(random() as u32, whole) < age.max(whole / 10)
    }

    /// It is new among others, or back: its share grows from now on.
    pub(super) fn begin_anew(&self, now: u64) {
        self.since.store(now, Ordering::Relaxed);
        self.flags.fetch_or(NEW, Ordering::Relaxed);
    }

    /// What checks say of it. True when that is news.
    pub(super) fn set_checked(&self, healthy: bool) -> bool {
        let before = match healthy {
            true => self.flags.fetch_and(!UNHEALTHY, Ordering::Relaxed),
            false => self.flags.fetch_or(UNHEALTHY, Ordering::Relaxed),
        };
        let news = (before & UNHEALTHY == 0) != healthy;
        if news && healthy {
            self.begin_anew(now());
        }
        news
    }

    pub(super) fn eject(&self, now: u64, millis: u64) {
        self.ejected_until.store(now + millis, Ordering::Relaxed);
        self.flags.fetch_or(EJECTED, Ordering::Relaxed);
        self.in_a_row.store(0, Ordering::Relaxed);
        if let Some(window) = &*self.window() {
            window.clear();
        }
    }

    /// Ends its ejection now, and lets it not count.
    pub(super) fn withdraw_ejection(&self) {
        self.ejected_until.store(now(), Ordering::Relaxed);
        let _ = self.ejections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
    }

    /// When the last ejection ended, or ends.
    pub(super) fn ejection_ends(&self) -> u64 {
        self.ejected_until.load(Ordering::Relaxed)
    }

    /// The window of what became of its requests, made when it is first asked for.
    pub(super) fn outcomes(&self, millis: u64) -> std::sync::Arc<Window> {
        let mut window = self.window();
        match &*window {
            Some(known) if known.is_as_long_as(millis) => known.clone(),
            _ => window.insert(std::sync::Arc::new(Window::new(millis))).clone(),
        }
    }

    pub(super) fn observe(&self, took: Duration) {
        self.latency.observe(took.as_nanos() as f32, now());
    }

    pub(super) fn latency(&self) -> Expected {
        self.latency.read()
    }

    fn window(&self) -> MutexGuard<'_, Option<std::sync::Arc<Window>>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server can be sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usable {
    Yes,
    /// It was not until now.
    Again,
    No,
}

/// A moving average that rises at once and falls slowly, in one word: nanoseconds as a float, and when, in milliseconds.
#[derive(Debug, Default)]
struct Latency(AtomicU64);

/// How long an answer took, as it was thought of at some moment. It falls by `e` in ten seconds from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Expected {
    /// Zero while nothing is known.
    nanos: f32,
    /// Milliseconds, which begin anew after seven weeks.
    at: u32,
}

/// After so long the past counts a third.
const DECAY_MILLIS: f32 = 10_000.0;

impl Latency {
    fn observe(&self, nanos: f32, now: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let before = Expected::unpack(word);
            let after = match before.nanos > nanos {
                true => {
                    let weight = decay(now as u32, before.at);
                    before.nanos * weight + nanos * (1.0 - weight)
                }
                false => nanos,
            };
            Some(u64::from(after.max(1.0).to_bits()) << 32 | now & u64::from(u32::MAX))
        });
    }

    fn read(&self) -> Expected {
        Expected::unpack(self.0.load(Ordering::Relaxed))
    }
}

impl Expected {
    fn unpack(word: u64) -> Self {
        Self { nanos: f32::from_bits((word >> 32) as u32), at: word as u32 }
    }

    #[cfg(test)]
    pub(super) fn of(nanos: f32, at: u32) -> Self {
        Self { nanos, at }
    }

    pub(super) fn is_known(self) -> bool {
        self.nanos > 0.0
    }

    /// True when `share` of this is no longer than `other_share` of the other is, now or at any time: both fall alike, so
    /// that only the time between the two matters, and nobody has to know what time it is.
    #[inline]
    pub(super) fn is_sooner(self, share: f32, other: Self, other_share: f32) -> bool {
        let (own, other) = (self.nanos * share, other.nanos * other_share * decay(self.at, other.at));
        own <= other
    }
}

/// What the time from `then` until `at` leaves of what was observed then; more than all of it where that is later.
fn decay(at: u32, then: u32) -> f32 {
    match at.wrapping_sub(then) as i32 {
        0 => 1.0,
        millis => (-(millis as f32) / DECAY_MILLIS).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_rises_at_once_and_falls_slowly() {
        let latency = Latency::default();
        assert!(!latency.read().is_known());
        latency.observe(1e6, 1_000);
        latency.observe(9e6, 1_000);
        assert_eq!(latency.read(), Expected::of(9e6, 1_000));
        latency.observe(1e6, 1_000);
        assert!(latency.read().nanos > 8.9e6, "a moment has no weight");
        latency.observe(1e6, 11_000);
        assert!((3.5e6..4.5e6).contains(&latency.read().nanos), "{:?}", latency.read());
    }

    #[test]
    fn what_was_observed_long_ago_counts_less() {
        let (slow, fast) = (Expected::of(100e6, 1_000), |at| Expected::of(5e6, at));
        assert!(!slow.is_sooner(1.0, fast(1_000), 1.0) && fast(1_000).is_sooner(1.0, slow, 1.0));
        assert!(!slow.is_sooner(1.0, fast(11_000), 1.0));
        assert!(slow.is_sooner(1.0, fast(41_000), 1.0), "a twentieth is left of it after thirty seconds");
        assert!(fast(41_000).is_sooner(1.0, slow, 100.0), "unless much is in flight there");
        let before_the_turn = Expected::of(5e6, u32::MAX - 10);
        assert!(before_the_turn.is_sooner(1.0, Expected::of(6e6, 10), 1.0), "milliseconds begin anew");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ejection_ends_by_itself_and_its_share_grows() {
        let condition = Condition::default();
        condition.eject(now(), 100);
        assert!(condition.is_ejected() && condition.is_usable() == Usable::No);
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((condition.is_usable(), condition.is_usable()), (Usable::Again, Usable::Yes));
        let turns =
            |condition: &Condition| (0..1_000).filter(|_| condition.has_its_turn(Duration::from_secs(1))).count();
        assert!((50..150).contains(&turns(&condition)), "a tenth at first");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!((400..600).contains(&turns(&condition)), "half after half of the time");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(turns(&condition), 1_000);
    }
}
