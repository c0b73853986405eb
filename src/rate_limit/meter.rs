//! One key's use under any algorithm, kept in two words, of which the default needs one.

use super::gcra::Verdict;
use super::window::{Count, Windows};
use super::{Algorithm, Quota};

/// What a key has used: all zero when it has used nothing.
pub(super) type State = [u64; 2];

/// Charges `cost`. The new state, where there is one: also of a refusal that found a date to be put right.
pub(super) fn charge(quota: &Quota, state: State, now: u64, cost: u64) -> (Option<State>, Verdict) {
    match windows(quota) {
        None => {
            let (arrival, verdict) = quota.pace().charge(state[0], now, cost);
            (arrival.map(|arrival| [arrival, 0]), verdict)
        }
        Some(windows) => {
            let (count, verdict) = windows.charge(unpack(&windows, state), now, cost);
            (count.map(|count| pack(&windows, count)), verdict)
        }
    }
}

/// Charges `cost` whether or not there is room.
pub(super) fn debit(quota: &Quota, state: State, now: u64, cost: u64) -> (State, Verdict) {
    match windows(quota) {
        None => {
            let (arrival, verdict) = quota.pace().debit(state[0], now, cost);
            ([arrival, 0], verdict)
        }
        Some(windows) => {
            let (count, verdict) = windows.debit(unpack(&windows, state), now, cost);
            (pack(&windows, count), verdict)
        }
    }
}

/// Gives `cost` back.
pub(super) fn refund(quota: &Quota, state: State, now: u64, cost: u64) -> (State, Verdict) {
    match windows(quota) {
        None => {
            let (arrival, verdict) = quota.pace().refund(state[0], now, cost);
            ([arrival, 0], verdict)
        }
        Some(windows) => {
            let (count, verdict) = windows.refund(unpack(&windows, state), now, cost);
            (pack(&windows, count), verdict)
        }
    }
}

/// How things stand.
pub(super) fn peek(quota: &Quota, state: State, now: u64) -> Verdict {
    match windows(quota) {
        None => quota.pace().peek(state[0], now),
        Some(windows) => windows.peek(unpack(&windows, state), now),
    }
}

fn windows(quota: &Quota) -> Option<Windows> {
    let sliding = match quota.counted_by() {
        Algorithm::Gcra => return None,
        Algorithm::SlidingWindow => true,
        Algorithm::FixedWindow => false,
    };
    Some(Windows { limit: quota.limit(), length: quota.window_nanos(), sliding })
}

/// The first word is when the count ends, for whoever looks for those that have.
fn pack(windows: &Windows, count: Count) -> State {
    [windows.ends(count.window), u64::from(count.last) << 32 | u64::from(count.current)]
}

fn unpack(windows: &Windows, [ends, counts]: State) -> Count {
    Count { window: (ends / windows.length).saturating_sub(2), current: counts as u32, last: (counts >> 32) as u32 }
}
