//! Servers whose answers fail are left out for a while.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::condition::now;
use super::server::Server;
use crate::Share;
use crate::classify::Outcome;
use std::sync::Arc;

/// When a server is left out because of its answers, and for how long.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutlierEjection {
    /// After so many failures in a row. 5 by default.
    pub consecutive_failures: Option<u32>,
    /// Or at such a rate of failures, where it is also clearly above that of the other servers: by two standard errors of
    /// the difference. None by default.
    pub failure_rate: Option<Share>,
    /// Fewer requests in the window say nothing about the rate. 20 by default.
    pub min_requests: u32,
    /// The window of the rate. 10 s by default.
    pub window: Duration,
    /// For how long, doubling with each ejection that follows soon, up to tenfold. 30 s by default.
    pub eject_for: Duration,
    /// How many of the servers may be left out so, rounded down. Half of them by default. When so many are and another fails, the
    /// one that is due back first gives it its place, at once: what is known of it is older.
    pub max_ejected: Share,
}

impl Default for OutlierEjection {
    fn default() -> Self {
        Self {
            consecutive_failures: Some(5),
            failure_rate: None,
            min_requests: 20,
            window: Duration::from_secs(10),
            eject_for: Duration::from_secs(30),
            max_ejected: Share::percent(50),
        }
    }
}

/// One server's rate is held against the others' no more often than this.
const COMPARE_EVERY_MILLIS: u64 = 100;
const LONGEST: u64 = 10;

impl OutlierEjection {
    /// Counts what became of a request to one of `servers`. True when that one was ejected for it.
    pub(super) fn record(&self, servers: &[Arc<Server>], server: &Server, outcome: Outcome, one: &Mutex<()>) -> bool {
        let condition = &server.condition;
        let failed = match outcome {
            Outcome::Failure => true,
            Outcome::Success => false,
            Outcome::Throttled | Outcome::Ignored => return false,
        };
        if self.failure_rate.is_some() {
            condition.outcomes(self.window_millis()).add(now(), 1, u64::from(failed));
        }
        if !failed {
            if condition.in_a_row.load(Ordering::Relaxed) != 0 {
                condition.in_a_row.store(0, Ordering::Relaxed);
            }
            return false;
        }
        let in_a_row = condition.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let row_is_full = self.consecutive_failures.is_some_and(|limit| in_a_row >= limit.max(1));
        (row_is_full || self.stands_out(servers, server)) && self.eject(servers, server, one)
    }

    fn stands_out(&self, servers: &[Arc<Server>], server: &Server) -> bool {
        let (Some(limit), now) = (self.failure_rate, now()) else { return false };
        let totals = |server: &Server| server.condition.outcomes(self.window_millis()).totals(now);
        let (calls, failures) = totals(server);
        if calls < u64::from(self.min_requests) || !limit.is_reached(failures, calls) {
            return false;
        }
        let compared = &server.condition.compared;
        if now.saturating_sub(compared.load(Ordering::Relaxed)) < COMPARE_EVERY_MILLIS {
            return false;
        }
        compared.store(now, Ordering::Relaxed);
        let others = servers.iter().filter(|other| other.id() != server.id()).map(|other| totals(other));
        let (other_calls, other_failures) = others.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        is_clearly_above((failures, calls), (other_failures, other_calls))
    }

    fn eject(&self, servers: &[Arc<Server>], server: &Server, one: &Mutex<()>) -> bool {
        // One at a time, so that two do not both take the last place there is.
        let _one = one.lock().unwrap_or_else(PoisonError::into_inner);
        let condition = &server.condition;
        let most = self.max_ejected.of(servers.len() as u64);
        if condition.is_ejected() || most == 0 {
            return false;
        }
        let ejected = || servers.iter().filter(|server| server.condition.is_ejected());
        if ejected().count() as u64 >= most {
            // Were it kept out, all would go to those that fail now, though it may have come round since.
            let Some(back) = ejected().min_by_key(|server| server.condition.ejection_ends()) else { return false };
            back.condition.withdraw_ejection();
        }
        let (now, first) = (now(), self.eject_for.as_millis() as u64);
        // Good for longer than it was ever left out: it begins anew.
        if now.saturating_sub(condition.ejection_ends()) > first * LONGEST {
            condition.ejections.store(0, Ordering::Relaxed);
        }
        let before = condition.ejections.fetch_add(1, Ordering::Relaxed);
        condition.eject(now, first.saturating_mul(1 << before.min(4)).min(first * LONGEST));
        true
    }

    fn window_millis(&self) -> u64 {
        self.window.as_millis() as u64
    }
}

/// By the difference of two proportions, at two standard errors. Nobody is above others of whom nothing is known.
fn is_clearly_above((part, whole): (u64, u64), (other_part, other_whole): (u64, u64)) -> bool {
    if whole == 0 || other_whole == 0 {
        return false;
    }
    let [part, whole, other_part, other_whole] = [part, whole, other_part, other_whole].map(|count| count as f64);
    let together = (part + other_part) / (whole + other_whole);
    let error = (together * (1.0 - together) * (1.0 / whole + 1.0 / other_whole)).sqrt();
    part / whole - other_part / other_whole > 2.0 * error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_servers_do_is_no_outlier() {
        assert!(is_clearly_above((15, 20), (2, 100)));
        assert!(!is_clearly_above((15, 20), (75, 100)));
        assert!(!is_clearly_above((15, 20), (0, 0)), "there is nobody to compare with");
        assert!(!is_clearly_above((11, 20), (45, 100)), "and this may be chance");
    }
}
