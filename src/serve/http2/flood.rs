//! How much a client may send that brings nothing (RFC 9113 section 10.5).
//!
//! Each PING or SETTINGS is answered, each RST_STREAM ends something that had to begin, each empty frame is read: cheap to
//! send, and without an end to it. Honest clients send few beside what they ask for and are given, so that is what they may
//! be measured by: a bucket that frames without use empty, and that time, requests and data fill again.

use std::time::Duration;

use tokio::time::Instant;

/// What a client may send at once, before it has done anything else.
const BURST: u64 = 2_000;

/// What it may send in each second, for as long as it likes.
const PER_SECOND: u64 = 100;

/// For each frame that brings something, and each that it is sent: a careful client acknowledges data twice, for the stream
/// and for the connection.
const PER_USEFUL: u64 = 4;

/// One connection's bucket.
#[derive(Debug)]
pub(super) struct Flood {
    left: u64,
    filled: Instant,
}

impl Flood {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, filled: now }
    }

    /// Takes in what was seen since the last time. False when it is too much.
    pub(super) fn admit(&mut self, useful: u64, idle: u64, now: impl FnOnce() -> Instant) -> bool {
        self.left = self.left.saturating_add(useful.saturating_mul(PER_USEFUL)).min(BURST.max(self.left));
        if idle == 0 {
            return true;
        }
        if idle > self.left || self.left < BURST / 2 {
            let now = now();
            let since = now.saturating_duration_since(self.filled);
            if since >= Duration::from_millis(100) {
                self.filled = now;
                let earned = (since.as_millis() as u64).saturating_mul(PER_SECOND) / 1000;
                self.left = self.left.saturating_add(earned).min(BURST);
            }
        }
        let admitted = idle <= self.left;
        self.left = self.left.saturating_sub(idle);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_goes_on_does_not() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        assert!(flood.admit(0, BURST, || start));
        assert!(!flood.admit(0, 1, || start));
    }

    #[test]
    fn a_ping_a_second_may_go_on_for_ever() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for second in 0..100_000 {
            assert!(flood.admit(0, 1, || start + Duration::from_secs(second)), "{second}");
        }
    }

    #[test]
    fn a_download_may_be_acknowledged_twice_a_frame() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for _ in 0..100_000 {
            assert!(flood.admit(10, 20, || start));
        }
    }
}
