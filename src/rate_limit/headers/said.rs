//! What has been told of a limit before, to be told again.

use std::ptr;

use http::HeaderValue;

use super::terms::Told;
use crate::rate_limit::Algorithm;

/// How many values a thread keeps, each of up to some hundred bytes; none of more than this remains.
const KEPT: usize = 1024;

/// The values of `RateLimit` of small quotas.
///
/// By GCRA a quota is whole again so long after as it is used, so what remains of it and how long that takes go together. What a
/// client is told who is at 42 of 100, all are told who are.
pub(super) struct Said(Vec<Option<State>>);

struct State {
    told: &'static Told,
    remaining: u64,
    resets_in: u64,
    value: HeaderValue,
}

impl Said {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of `RateLimit`.
    pub(super) fn state(&mut self, told: &'static Told, remaining: u64, resets_in: u64) -> HeaderValue {
        if remaining >= KEPT as u64 || told.quota.counted_by() != Algorithm::Gcra {
            return told.state(remaining, resets_in);
        }
        if self.0.is_empty() {
            self.0.resize_with(KEPT, || None);
        }
        // Different limits begin at different places.
        let place = remaining as usize ^ (ptr::from_ref(told).addr() / size_of::<Told>());
        match &mut self.0[place % KEPT] {
            Some(state) if state.is(told, remaining, resets_in) => state.value.clone(),
            place => {
                let value = told.state(remaining, resets_in);
                *place = Some(State { told, remaining, resets_in, value: value.clone() });
                value
            }
        }
    }
}

impl State {
    fn is(&self, told: &'static Told, remaining: u64, resets_in: u64) -> bool {
        ptr::eq(self.told, told) && self.remaining == remaining && self.resets_in == resets_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::Quota;
    use crate::rate_limit::headers::Terms;

    fn kept(name: &str, quota: Quota) -> &'static Told {
        let Terms::Kept(told) = Terms::new(name, quota) else { panic!("there is room for these") };
        told
    }

    #[test]
    fn what_is_told_again_says_what_a_new_value_would() {
        let mut said = Said::new();
        let limits = [
            kept("said", Quota::per_minute(600)),
            kept("said too", Quota::per_hour(7)),
            kept("said by windows", Quota::per_hour(9).algorithm(Algorithm::FixedWindow).unwrap()),
        ];
        for n in 0..20_000_u64 {
            let (remaining, resets_in) = (n * 7 % 1_500, n * 13 % 61);
            for told in limits {
                assert_eq!(said.state(told, remaining, resets_in), told.state(remaining, resets_in));
            }
        }
        assert_eq!(said.0.len(), KEPT);
    }

    #[test]
    fn only_small_quotas_that_are_used_evenly_take_memory() {
        let mut said = Said::new();
        said.state(kept("said of many", Quota::per_hour(100_000)), KEPT as u64, 1);
        said.state(kept("said by windows", Quota::per_hour(9).algorithm(Algorithm::FixedWindow).unwrap()), 8, 1);
        assert!(said.0.is_empty());
        let small = kept("said once", Quota::per_hour(9));
        let (one, again) = (said.state(small, 8, 400), said.state(small, 8, 400));
        assert_eq!(one.as_bytes().as_ptr(), again.as_bytes().as_ptr());
    }
}
