//! When a client has taken too long: arithmetic on times, fed by what was seen on the wire.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::Timeouts;
use super::signals::Seen;
use crate::aside::aside;

/// What a deadline that has passed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No head, or only a part of one.
    Head,
    /// No further request.
    Idle,
    /// The client reads nothing of its answer.
    Write,
    /// The request body stopped, or drips.
    Body,
    /// The client closed its sending side, and its answer is not there yet.
    HalfClosed,
}

/// One connection's deadlines. Times are noted when something changes, so that a connection on which all goes well costs
/// one reading of the clock a request.
#[derive(Debug)]
pub(super) struct Deadlines {
    timeouts: Timeouts,
    phase: Phase,
    stalled_since: Option<Instant>,
    half_closed_since: Option<Instant>,
    /// Since when no more requests are expected, and how long one may come all the same.
    last_call: Option<(Instant, Duration)>,
    body: BodyClock,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Head { since: Instant },
    Serving,
    Idle { since: Instant },
}

/// The time a client takes over its request body, without the time the service takes.
#[derive(Clone, Copy, Debug, Default)]
struct BodyClock {
    waiting_since: Option<Instant>,
    bytes: u64,
    waited: Duration,
    failed: bool,
}

impl Deadlines {
    /// Those of a connection that was just accepted. It owes a head from the start, so that a silent one does not last
    /// as long as one that has been of use.
    pub(super) fn new(timeouts: Timeouts, accepted: Instant) -> Self {
        Self {
            timeouts,
            phase: Phase::Head { since: accepted },
            stalled_since: None,
            half_closed_since: None,
            last_call: None,
            body: BodyClock::default(),
        }
    }

    /// Takes in what was seen, and gives the next deadline.
    pub(super) fn update(&mut self, seen: Seen, mut now: impl FnMut() -> Instant) -> Option<(Instant, Overdue)> {
        if !seen.write_blocked {
            self.stalled_since = None;
        } else if seen.wrote || self.stalled_since.is_none() {
            aside();
            self.stalled_since = Some(now());
        }

        if seen.serving || seen.served {
            self.phase = Phase::Serving;
        }
        // An answer has ended when the client has it, not when the service has given it.
        if !seen.serving && !seen.write_blocked {
            self.phase = match self.phase {
                Phase::Serving | Phase::Idle { .. } if seen.head_begun => Phase::Head { since: now() },
                Phase::Serving => Phase::Idle { since: now() },
                waiting => waiting,
            };
        }

        if !seen.eof_held {
            self.half_closed_since = None;
        } else if seen.wrote || self.half_closed_since.is_none() {
            aside();
            self.half_closed_since = Some(now());
        }

        if seen.served {
            self.body = BodyClock { failed: self.body.failed, ..BodyClock::default() };
        }
        self.body.update(seen, now);
        self.next(seen)
    }

    /// The body was given up; it is not to be given up again.
    pub(super) fn body_failed(&mut self) {
        self.body.failed = true;
    }

    /// True while no request is being served: none has come, or not all of its head.
    pub(super) fn is_idle(&self) -> bool {
        !matches!(self.phase, Phase::Serving)
    }

    /// No more requests are expected from now on. One that was on its way has so much time to come.
    pub(super) fn last_call(&mut self, now: Instant, patience: Duration) {
        self.last_call = Some((now, patience));
    }

    fn last_call_ends(&self, seen: Seen) -> Option<Instant> {
        let (called, patience) = self.last_call.filter(|_| !seen.head_begun)?;
        match self.phase {
            Phase::Serving => None,
            Phase::Head { since } | Phase::Idle { since } => called.max(since).checked_add(patience),
        }
    }

    fn next(&self, seen: Seen) -> Option<(Instant, Overdue)> {
        let waiting = match self.phase {
            Phase::Head { since } => (after(Some(since), self.timeouts.header_read), Overdue::Head),
            Phase::Idle { since } => (after(Some(since), self.timeouts.keep_alive), Overdue::Idle),
            Phase::Serving => (self.body.deadline(&self.timeouts), Overdue::Body),
        };
        // Mostly there is no other.
        if self.stalled_since.is_none() && self.half_closed_since.is_none() && self.last_call.is_none() {
            return Some((waiting.0?, waiting.1));
        }
        self.earliest(seen, waiting)
    }

    #[cold]
    fn earliest(&self, seen: Seen, waiting: (Option<Instant>, Overdue)) -> Option<(Instant, Overdue)> {
        [
            waiting,
            (self.last_call_ends(seen), Overdue::Idle),
            (after(self.stalled_since, self.timeouts.write), Overdue::Write),
            (after(self.half_closed_since, Some(self.timeouts.half_close)), Overdue::HalfClosed),
        ]
        .into_iter()
        .filter_map(|(deadline, overdue)| Some((deadline?, overdue)))
        .min_by_key(|(deadline, _)| *deadline)
    }
}

fn after(since: Option<Instant>, limit: Option<Duration>) -> Option<Instant> {
    since?.checked_add(limit?)
}

impl BodyClock {
    fn update(&mut self, seen: Seen, mut now: impl FnMut() -> Instant) {
        let wanted = seen.serving && seen.body_wanted;
        let piece_came = seen.body_bytes != self.bytes;
        if let Some(since) = self.waiting_since
            && (piece_came || !wanted)
        {
            aside();
            self.waited += now() - since;
            self.waiting_since = None;
        }
        if wanted && self.waiting_since.is_none() {
            aside();
            self.waiting_since = Some(now());
        }
        self.bytes = seen.body_bytes;
    }

    fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let since = self.waiting_since.filter(|_| !self.failed)?;
        self.deadline_since(since, timeouts)
    }

    #[inline(never)]
    fn deadline_since(&self, since: Instant, timeouts: &Timeouts) -> Option<Instant> {
        // `bytes` in all may take `bytes / rate`; beyond that, their average is below the rate.
        let in_all = self.bytes.checked_div(timeouts.body_min_rate).map(Duration::from_secs);
        let at_rate = in_all.map(|in_all| in_all.max(timeouts.body_rate_grace).saturating_sub(self.waited));
        let limit = [timeouts.body_read, at_rate].into_iter().flatten().min()?;
        since.checked_add(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Wire {
        start: Instant,
        deadlines: Deadlines,
        seen: Seen,
        readings: u32,
    }

    impl Wire {
        fn new() -> Self {
            let start = Instant::now();
            let deadlines = Deadlines::new(Timeouts::default(), start);
            Self { start, deadlines, seen: Seen::default(), readings: 0 }
        }

        /// The deadline in seconds after the start, as of `at` seconds after it.
        fn at(&mut self, at: u64, change: impl FnOnce(&mut Seen)) -> Option<(u64, Overdue)> {
            change(&mut self.seen);
            let (seen, now, readings) = (self.seen, self.start + SECOND * at as u32, &mut self.readings);
            let next = self.deadlines.update(seen, || {
                *readings += 1;
                now
            });
            (self.seen.served, self.seen.wrote) = (false, false);
            next.map(|(deadline, overdue)| ((deadline - self.start).as_secs(), overdue))
        }
    }

    #[test]
    fn a_fresh_connection_owes_a_head_and_bytes_do_not_prolong_it() {
        let mut wire = Wire::new();
        assert_eq!(wire.at(0, |_| ()), Some((10, Overdue::Head)));
        assert_eq!(wire.at(9, |seen| seen.head_begun = true), Some((10, Overdue::Head)));
        assert_eq!(wire.readings, 0);
    }

    #[test]
    fn an_idle_connection_has_its_own_timeout_until_the_next_head_begins() {
        let mut wire = Wire::new();
        assert_eq!(wire.at(1, |seen| (seen.serving, seen.served) = (true, true)), None);
        assert_eq!(wire.at(5, |seen| seen.serving = false), Some((80, Overdue::Idle)));
        assert_eq!(wire.at(70, |_| ()), Some((80, Overdue::Idle)));
        assert_eq!(wire.at(79, |seen| seen.head_begun = true), Some((89, Overdue::Head)));
        assert_eq!(wire.readings, 2);
    }

    #[test]
    fn a_request_answered_between_two_looks_starts_the_idle_time_again() {
        let mut wire = Wire::new();
        assert_eq!(wire.at(3, |seen| seen.served = true), Some((78, Overdue::Idle)));
        assert_eq!(wire.at(60, |seen| seen.served = true), Some((135, Overdue::Idle)));
        assert_eq!(wire.readings, 2);
    }

    #[test]
    fn an_answer_that_is_not_taken_stalls_and_any_progress_starts_again() {
        let mut wire = Wire::new();
        wire.at(0, |seen| (seen.serving, seen.served) = (true, true));
        assert_eq!(wire.at(1, |seen| seen.write_blocked = true), Some((31, Overdue::Write)));
        assert_eq!(wire.at(20, |seen| seen.serving = false), Some((31, Overdue::Write)));
        assert_eq!(wire.at(30, |seen| seen.wrote = true), Some((60, Overdue::Write)));
        assert_eq!(wire.at(40, |seen| seen.write_blocked = false), Some((115, Overdue::Idle)));
    }

    #[test]
    fn a_body_may_pause_and_must_keep_its_rate_after_the_grace() {
        let mut wire = Wire::new();
        let wanted = |seen: &mut Seen| (seen.serving, seen.served, seen.body_wanted) = (true, true, true);
        assert_eq!(wire.at(0, wanted), Some((10, Overdue::Body)));
        // 128 bytes a second: 1280 bytes are good for the grace, 6400 for 50 seconds, of which 30 at a stretch.
        assert_eq!(wire.at(5, |seen| seen.body_bytes = 1280), Some((10, Overdue::Body)));
        assert_eq!(wire.at(9, |seen| seen.body_bytes = 6400), Some((39, Overdue::Body)));
        assert_eq!(wire.at(38, |seen| seen.body_bytes += 1), Some((50, Overdue::Body)));
    }

    #[test]
    fn the_time_the_service_takes_does_not_count() {
        let mut wire = Wire::new();
        wire.at(0, |seen| (seen.serving, seen.served, seen.body_wanted) = (true, true, true));
        assert_eq!(wire.at(9, |seen| (seen.body_wanted, seen.body_bytes) = (false, 1)), None);
        assert_eq!(wire.at(500, |seen| seen.body_wanted = true), Some((501, Overdue::Body)));
    }

    #[test]
    fn a_body_fails_once_and_the_next_request_has_its_own_time() {
        let mut wire = Wire::new();
        let wanted = |seen: &mut Seen| (seen.serving, seen.served, seen.body_wanted) = (true, true, true);
        wire.at(0, wanted);
        assert_eq!(wire.at(9, |seen| (seen.serving, seen.body_wanted) = (false, false)), Some((84, Overdue::Idle)));
        assert_eq!(wire.at(20, wanted), Some((30, Overdue::Body)));
        wire.deadlines.body_failed();
        assert_eq!(wire.at(30, |_| ()), None);
    }

    #[test]
    fn a_client_that_half_closed_is_answered_within_the_grace() {
        let mut wire = Wire::new();
        wire.at(0, |seen| (seen.serving, seen.served) = (true, true));
        assert_eq!(wire.at(2, |seen| seen.eof_held = true), Some((3, Overdue::HalfClosed)));
        assert_eq!(wire.at(3, |_| ()), Some((3, Overdue::HalfClosed)));
    }

    #[test]
    fn after_the_last_call_an_idle_connection_has_a_moment_and_a_head_that_has_begun_its_time() {
        let mut wire = Wire::new();
        wire.at(1, |seen| (seen.serving, seen.served) = (true, true));
        wire.deadlines.last_call(wire.start + SECOND * 2, SECOND);
        assert_eq!(wire.at(2, |_| ()), None);
        assert_eq!(wire.at(9, |seen| seen.serving = false), Some((10, Overdue::Idle)));
        assert_eq!(wire.at(9, |seen| seen.head_begun = true), Some((19, Overdue::Head)));

        let mut fresh = Wire::new();
        fresh.deadlines.last_call(fresh.start + SECOND * 2, SECOND);
        assert_eq!(fresh.at(2, |_| ()), Some((3, Overdue::Idle)));
    }

    #[test]
    fn no_timeout_is_no_deadline() {
        let none = Timeouts { header_read: None, keep_alive: None, body_read: None, ..Timeouts::default() };
        let start = Instant::now();
        let mut deadlines = Deadlines::new(Timeouts { body_min_rate: 0, write: None, ..none }, start);
        let all = Seen { serving: true, served: true, body_wanted: true, write_blocked: true, ..Seen::default() };
        assert_eq!(deadlines.update(Seen::default(), || start), None);
        assert_eq!(deadlines.update(all, || start), None);
    }
}
