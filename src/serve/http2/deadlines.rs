//! When a client has taken too long, of a connection as a whole: arithmetic on times, fed by what was seen.

use std::time::Duration;

use tokio::time::Instant;

use crate::serve::settings::{Pings, Timeouts};

/// How long the client may take to close its side once this one has said its last word.
const LINGER: Duration = Duration::from_secs(5);

/// What a deadline that has passed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request yet.
    First,
    /// A part of a frame, or of a field section, and not the rest.
    Part,
    /// No further request.
    Idle,
    /// The client reads nothing.
    Write,
    /// Nothing came for a while: it is time to ask whether the client is there.
    Silence,
    /// It did not answer.
    Dead,
    /// All was said.
    Close,
}

/// What a look at the connection saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) open: usize,
    /// A request has begun since the last look.
    pub(super) began: bool,
    pub(super) is_within: bool,
    pub(super) write_blocked: bool,
    pub(super) wrote: bool,
    pub(super) reads: u64,
    pub(super) has_ended: bool,
}

#[derive(Debug)]
pub(super) struct Deadlines {
    timeouts: Timeouts,
    pings: Pings,
    accepted: Option<Instant>,
    part_since: Option<Instant>,
    idle_since: Option<Instant>,
    stalled_since: Option<Instant>,
    ended_at: Option<Instant>,
    silent_since: Option<Instant>,
    pinged_at: Option<Instant>,
    reads: u64,
    is_finishing: bool,
}

impl Deadlines {
    pub(super) fn new(timeouts: Timeouts, pings: Pings, accepted: Instant) -> Self {
        Self {
            timeouts,
            pings,
            accepted: Some(accepted),
            part_since: None,
            idle_since: None,
            stalled_since: None,
            ended_at: None,
            silent_since: None,
            pinged_at: None,
            reads: 0,
            is_finishing: false,
        }
    }

    /// There will be no more requests: what remains is for the client to take note and close.
    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
        (self.accepted, self.idle_since) = (None, None);
    }

    /// Takes in what was seen, and gives the next deadline.
    pub(super) fn update(&mut self, seen: Seen, mut now: impl FnMut() -> Instant) -> Option<(Instant, Overdue)> {
        if seen.began {
            self.accepted = None;
            self.idle_since = None;
        }
        let mut hold = |since: &mut Option<Instant>, holds: bool| {
            if !holds {
                *since = None;
            } else if since.is_none() {
                *since = Some(now());
            }
        };
        if seen.wrote {
            self.stalled_since = None;
        }
        hold(&mut self.stalled_since, seen.write_blocked);
        // While requests are served, the part may be a large piece of a body, which has a time of its own.
        hold(&mut self.part_since, seen.is_within && seen.open == 0 && !self.is_finishing);
        // An answer has ended when the client has it, not when the service has given it.
        hold(&mut self.idle_since, seen.open == 0 && self.accepted.is_none() && !seen.write_blocked);
        hold(&mut self.ended_at, seen.has_ended);
        if seen.reads != self.reads || seen.open == 0 {
            self.reads = seen.reads;
            (self.silent_since, self.pinged_at) = (None, None);
        }
        hold(&mut self.silent_since, seen.open > 0);
        self.next()
    }

    /// The client was asked.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.pinged_at = Some(now);
    }

    fn next(&self) -> Option<(Instant, Overdue)> {
        let after = |since: Option<Instant>, limit: Option<Duration>| since?.checked_add(limit?);
        let silence = match self.pinged_at {
            Some(_) => (after(self.pinged_at, Some(self.pings.timeout)), Overdue::Dead),
            None => (after(self.silent_since, self.pings.interval), Overdue::Silence),
        };
        [
            (after(self.accepted, self.timeouts.header_read), Overdue::First),
            (after(self.part_since, self.timeouts.header_read), Overdue::Part),
            (
                after(self.idle_since, if self.is_finishing { Some(LINGER) } else { self.timeouts.keep_alive }),
                Overdue::Idle,
            ),
            (after(self.stalled_since, self.timeouts.write), Overdue::Write),
            (after(self.ended_at, Some(LINGER)), Overdue::Close),
            silence,
        ]
        .into_iter()
        .filter_map(|(deadline, overdue)| Some((deadline?, overdue)))
        .min_by_key(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wire {
        start: Instant,
        deadlines: Deadlines,
        seen: Seen,
    }

    impl Wire {
        fn new() -> Self {
            let start = Instant::now();
            let deadlines = Deadlines::new(Timeouts::default(), Pings::default(), start);
            Self { start, deadlines, seen: Seen::default() }
        }

        /// The deadline in seconds after the start, as of `at` seconds after it.
        fn at(&mut self, at: u64, change: impl FnOnce(&mut Seen)) -> Option<(u64, Overdue)> {
            change(&mut self.seen);
            let now = self.start + Duration::from_secs(at);
            let next = self.deadlines.update(self.seen, || now);
            (self.seen.began, self.seen.wrote) = (false, false);
            next.map(|(deadline, overdue)| ((deadline - self.start).as_secs(), overdue))
        }
    }

    #[test]
    fn a_fresh_connection_owes_a_request_and_bytes_do_not_prolong_it() {
        let mut wire = Wire::new();
        assert_eq!(wire.at(0, |_| ()), Some((10, Overdue::First)));
        assert_eq!(wire.at(9, |seen| (seen.reads, seen.is_within) = (9, true)), Some((10, Overdue::First)));
    }

    #[test]
    fn without_requests_it_is_idle_and_pings_do_not_prolong_it() {
        let mut wire = Wire::new();
        wire.at(1, |seen| (seen.began, seen.open) = (true, 1));
        assert_eq!(wire.at(2, |seen| seen.open = 0), Some((77, Overdue::Idle)));
        assert_eq!(wire.at(60, |seen| seen.reads += 1), Some((77, Overdue::Idle)));
        assert_eq!(wire.at(61, |seen| seen.began = true), Some((136, Overdue::Idle)));
    }

    #[test]
    fn a_part_of_a_frame_has_its_time_and_the_rest_of_it_takes_that_back() {
        let mut wire = Wire::new();
        wire.at(1, |seen| seen.began = true);
        assert_eq!(wire.at(20, |seen| seen.is_within = true), Some((30, Overdue::Part)));
        assert_eq!(wire.at(29, |seen| seen.is_within = false), Some((76, Overdue::Idle)));
    }

    #[test]
    fn a_silent_client_is_asked_and_whatever_it_says_is_an_answer() {
        let mut wire = Wire::new();
        assert_eq!(wire.at(1, |seen| (seen.began, seen.open) = (true, 1)), Some((31, Overdue::Silence)));
        assert_eq!(wire.at(20, |seen| seen.reads += 1), Some((50, Overdue::Silence)));
        wire.deadlines.pinged(wire.start + Duration::from_secs(50));
        assert_eq!(wire.at(51, |_| ()), Some((70, Overdue::Dead)));
        assert_eq!(wire.at(60, |seen| seen.reads += 1), Some((90, Overdue::Silence)));
    }

    #[test]
    fn once_told_that_it_is_over_a_client_has_a_moment_after_its_last_answer() {
        let mut wire = Wire::new();
        wire.at(1, |seen| (seen.began, seen.open) = (true, 1));
        wire.deadlines.finish();
        assert_eq!(wire.at(20, |seen| seen.reads += 1), Some((50, Overdue::Silence)));
        assert_eq!(wire.at(21, |seen| seen.open = 0), Some((26, Overdue::Idle)));
    }

    #[test]
    fn a_client_that_reads_nothing_stalls_and_one_that_does_not_leave_is_left() {
        let mut wire = Wire::new();
        wire.at(1, |seen| (seen.began, seen.open) = (true, 1));
        assert_eq!(wire.at(5, |seen| seen.write_blocked = true), Some((31, Overdue::Silence)));
        assert_eq!(wire.at(10, |seen| seen.open = 0), Some((35, Overdue::Write)));
        assert_eq!(
            wire.at(12, |seen| (seen.write_blocked, seen.has_ended) = (false, true)),
            Some((17, Overdue::Close))
        );
    }
}
