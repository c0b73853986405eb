//! What the script is told of a request, and what it says.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::rate_limit::{Algorithm, Charge, Charges, Decision};
use crate::redis::{RedisError, ToArgs};

/// What is to be done with the charges of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Acquire,
    Debit,
    Refund,
    Peek,
    Reset,
}

/// A request, and who waits for the answer.
pub(super) struct Question {
    pub(super) operation: Operation,
    pub(super) charges: Charges,
    pub(super) answer: oneshot::Sender<Result<Decision, RedisError>>,
}

/// Integers that the script answers for each charge.
pub(super) const NUMBERS: usize = 5;

/// One argument of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Word(&'static str),
    Number(u128),
}

impl ToArgs for Argument {
    fn write_redis_args<W: ?Sized + ::redis::RedisWrite>(&self, out: &mut W) {
        match self {
            Self::Word(word) => out.write_arg(word.as_bytes()),
            Self::Number(number) => out.write_arg_fmt(number),
        }
    }
}

/// A charge in the units of the script: a bucket's rate without what its parts have in common, or a window in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Terms {
    Bucket { drain: u64, token: u64, burst: u128 },
    Window { kind: &'static str, limit: u64, length: u64 },
}

impl Terms {
    fn of(charge: &Charge) -> Self {
        let quota = &charge.quota;
        let kind = match quota.counted_by() {
            Algorithm::Gcra => {
                // Of a token, window / limit nanoseconds; of a microsecond, a thousand.
                let (limit, window) = (u128::from(quota.limit()) * 1000, u128::from(quota.window_nanos()));
                let common = common_divisor(limit, window);
                let (drain, token) = ((limit / common) as u64, (window / common) as u64);
                return Self::Bucket { drain, token, burst: u128::from(token) * u128::from(quota.burst_size()) };
            }
            Algorithm::SlidingWindow => "s",
            Algorithm::FixedWindow => "f",
        };
        Self::Window { kind, limit: quota.limit(), length: quota.window_nanos().div_ceil(1000) }
    }

    fn push(self, cost: u64, arguments: &mut Vec<Argument>) {
        match self {
            Self::Bucket { drain, token, burst } => arguments.extend([
                Argument::Word("g"),
                Argument::Number(cost.into()),
                Argument::Number(drain.into()),
                Argument::Number(token.into()),
                Argument::Number(burst),
            ]),
            Self::Window { kind, limit, length } => arguments.extend([
                Argument::Word(kind),
                Argument::Number(cost.into()),
                Argument::Number(limit.into()),
                Argument::Number(length.into()),
            ]),
        }
    }
}

fn common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// The key of a charge. What is counted in other units is another key; a cluster keeps all of one digest in one slot.
fn key(prefix: &str, charge: &Charge) -> String {
    match Terms::of(charge) {
        Terms::Bucket { drain, token, .. } => format!("{prefix}rl:{{{}}}:g{drain}:{token}", charge.key),
        Terms::Window { kind, length, .. } => format!("{prefix}rl:{{{}}}:{kind}{length}", charge.key),
    }
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Debit => "debit",
            Self::Refund => "refund",
            Self::Peek => "peek",
            Self::Reset => "reset",
        }
    }

    /// Adds `charges` to what the script is asked.
    pub(super) fn push(self, charges: &[Charge], prefix: &str, keys: &mut Vec<String>, arguments: &mut Vec<Argument>) {
        arguments.extend([Argument::Word(self.word()), Argument::Number(charges.len() as u128)]);
        for charge in charges {
            // More than a burst or a window holds is as much as the most of it.
            let cost = charge.cost.min(u64::from(u32::MAX).max(charge.quota.burst_size().saturating_add(1)));
            keys.push(key(prefix, charge));
            Terms::of(charge).push(if self == Self::Peek { 1 } else { cost }, arguments);
        }
    }

    /// What the script's `numbers` say of `charges`, and how long each of these that is out of quota stays so.
    pub(super) fn decide(
        self,
        charges: &[Charge],
        numbers: &[i64],
        mut denied: impl FnMut(&Charge, Duration),
    ) -> Option<Decision> {
        let decisions = charges.iter().zip(numbers.chunks_exact(NUMBERS)).enumerate().map(|(n, (charge, numbers))| {
            let number = |at: usize| u64::try_from(numbers[at]).unwrap_or_default();
            let (reset, retry, one) = (micros(number(2)), micros(number(3)), micros(number(4)));
            if number(0) == 1 {
                return Decision::admit(number(1), reset).of_charge(n);
            }
            if !one.is_zero() {
                denied(charge, one);
            }
            Decision::refuse(number(1), reset, retry).of_charge(n)
        });
        decisions.reduce(Decision::tightest)
    }
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::{Digest, Quota};

    fn charge(quota: Quota) -> Charge {
        Charge::new(Digest::from_bits(7), quota)
    }

    #[test]
    fn rates_are_told_in_their_lowest_terms() {
        let terms = |quota| Terms::of(&charge(quota));
        assert_eq!(terms(Quota::per_minute(100)), Terms::Bucket { drain: 1, token: 600_000, burst: 60_000_000 });
        assert_eq!(
            terms(Quota::per_second(1_000_000_000)),
            Terms::Bucket { drain: 1000, token: 1, burst: 1_000_000_000 }
        );
        assert_eq!(terms(Quota::per_second(7)), Terms::Bucket { drain: 7, token: 1_000_000, burst: 7_000_000 });
    }

    #[test]
    fn a_key_says_whose_it_is_in_which_units_and_keeps_one_digest_in_one_slot() {
        let minute = Quota::per_minute(100);
        let sliding = minute.algorithm(Algorithm::SlidingWindow).unwrap();
        assert_eq!(key("gw:", &charge(minute)), "gw:rl:{00000000000000000000000000000007}:g1:600000");
        assert_eq!(key("gw:", &charge(sliding)), "gw:rl:{00000000000000000000000000000007}:s60000000");
    }

    #[test]
    fn the_answer_is_about_the_tightest_and_tells_who_is_out_of_quota() {
        let charges = [charge(Quota::per_second(10)), charge(Quota::per_hour(5)), charge(Quota::per_minute(5))];
        let numbers = [1, 9, 5, 0, 0, 0, 0, 700, 70, 70, 0, 1, 900, 30, 0];
        let mut denied = Vec::new();
        let decision = Operation::Acquire.decide(&charges, &numbers, |charge, wait| denied.push((charge.quota, wait)));
        let expected = Decision::refuse(0, micros(700), micros(70)).of_charge(1);
        assert_eq!((decision, denied), (Some(expected), vec![(charges[1].quota, micros(70))]));
    }
}
