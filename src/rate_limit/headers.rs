//! What clients are told of their limits.

mod fields;
mod numbers;
mod said;
mod template;
mod terms;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use smallvec::SmallVec;

use self::fields::Field;
pub(super) use self::terms::Terms;
use super::Decision;
use crate::Clock;

/// Which header fields answers carry.
///
/// Of several quotas the tightest is reported; `RateLimit-Policy` lists all of them. An origin's own fields of these names
/// are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitHeaders {
    ietf: bool,
    legacy: bool,
    older_draft: bool,
}

impl Default for RateLimitHeaders {
    /// Those of the IETF's draft and the legacy ones.
    fn default() -> Self {
        Self::none().ietf(true).legacy(true)
    }
}

impl RateLimitHeaders {
    /// None of them.
    pub const fn none() -> Self {
        Self { ietf: false, legacy: false, older_draft: false }
    }

    /// `RateLimit: "per_user";r=42;t=18` and `RateLimit-Policy: "per_user";q=100;w=60`, as of
    /// draft-ietf-httpapi-ratelimit-headers-10.
    #[must_use]
    pub const fn ietf(self, ietf: bool) -> Self {
        Self { ietf, ..self }
    }

    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the last in seconds since 1970, as many APIs have it.
    #[must_use]
    pub const fn legacy(self, legacy: bool) -> Self {
        Self { legacy, ..self }
    }

    /// `RateLimit-Limit`, `-Remaining` and `-Reset`, the last in seconds from now, as of the IETF's drafts up to
    /// draft-ietf-httpapi-ratelimit-headers-07.
    #[must_use]
    pub const fn older_draft(self, older_draft: bool) -> Self {
        Self { older_draft, ..self }
    }

    pub(super) const fn is_none(self) -> bool {
        !self.ietf && !self.legacy && !self.older_draft
    }
}

/// The terms of all that a request is charged, in their order: mostly of one limit.
pub(super) type AllTerms = SmallVec<[Terms; 1]>;

/// Who hears of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience {
    /// How the client is told.
    pub(super) headers: RateLimitHeaders,
    /// Whether a layer further out tells of limits as well.
    pub(super) is_heard: bool,
}

/// What an answer says of a layer that it has passed, for those further out: how much remains of what its client is told of.
#[derive(Clone, Copy)]
struct LeastRemaining(u64);

/// What one answer is told.
#[derive(Debug)]
pub(super) struct Report {
    to: Audience,
    /// Those that are described.
    terms: Terms,
    /// Where there are several, all of them in their order. In a box, as whatever waits for an answer moves with it.
    all: Option<Box<AllTerms>>,
    remaining: u64,
    /// In seconds.
    resets_in: u32,
    /// In seconds since 1970.
    resets_at: u64,
}

impl Report {
    /// What the decision that was just made says of the only quota.
    #[inline(always)]
    pub(super) fn new(to: Audience, terms: Terms, decision: &Decision, clock: &Clock) -> Self {
        let (resets_in, resets_at) = resets(to.headers, decision, clock);
        Self { to, terms, all: None, remaining: decision.remaining, resets_in, resets_at }
    }

    /// What it says of several, or of one. None where it is of none of them.
    pub(super) fn of_all(to: Audience, all: AllTerms, decision: &Decision, clock: &Clock) -> Option<Self> {
        let mut report = Self::new(to, all.get(decision.charge)?.clone(), decision, clock);
        report.all = (all.len() > 1).then(|| Box::new(all));
        Some(report)
    }

    /// How things stand by a decision that was made since.
    pub(super) fn update(&mut self, decision: &Decision, clock: &Clock) {
        self.remaining = decision.remaining;
        (self.resets_in, self.resets_at) = resets(self.to.headers, decision, clock);
    }

    /// Tells the client, and the layers further out.
    pub(super) fn tell<R>(&self, response: &mut Response<R>) {
        let behind = response.extensions().get().map(|LeastRemaining(remaining)| *remaining);
        self.write(response.headers_mut(), behind);
        if self.to.is_heard {
            let least = behind.map_or(self.remaining, |behind| behind.min(self.remaining));
            response.extensions_mut().insert(LeastRemaining(least));
        } else if behind.is_some() {
            response.extensions_mut().remove::<LeastRemaining>();
        }
    }

    /// Writes the fields. A layer behind may have told of a quota of which so much remains.
    fn write(&self, map: &mut HeaderMap, behind: Option<u64>) {
        let value = |field| match field {
            Field::Policy => self.policy(),
            Field::State => self.terms.state(self.remaining, self.resets_in.into()),
            Field::Limit | Field::OlderLimit => self.terms.limit().clone(),
            Field::Remaining | Field::OlderRemaining => numbers::value(self.remaining),
            Field::Reset => numbers::date(self.resets_at),
            Field::OlderReset => numbers::value(self.resets_in.into()),
        };
        let headers = self.to.headers;
        if behind.is_none() && template::write(self, map) {
            return;
        }
        let others = map.len();
        // At once for all: a map grows even where it replaces.
        map.reserve(headers.count());
        headers.each_list(|name, field| match behind {
            None => drop(map.insert(name, value(field))),
            Some(_) => {
                map.append(name, value(field));
            }
        });
        // Of two layers the tighter quota is told.
        if behind.is_none_or(|behind| self.remaining < behind) {
            headers.each_of_one(|name, field| drop(map.insert(name, value(field))));
        }
        if behind.is_none() {
            template::learn(self, map, others);
        }
    }

    fn policy(&self) -> HeaderValue {
        let Some(all) = &self.all else { return self.terms.policy().clone() };
        let mut list = Vec::with_capacity(all.iter().map(|terms| terms.policy().len() + 2).sum());
        for (n, terms) in all.iter().enumerate() {
            if n > 0 {
                list.extend_from_slice(b", ");
            }
            list.extend_from_slice(terms.policy().as_bytes());
        }
        value(list.into())
    }
}

/// In how many seconds the quota is whole again, and the date of that where it is told.
#[inline(always)]
fn resets(headers: RateLimitHeaders, decision: &Decision, clock: &Clock) -> (u32, u64) {
    let date = || seconds(clock.date_or_a_tick_ahead().saturating_add(decision.reset_after));
    // No window is longer.
    let resets_in = u32::try_from(seconds(decision.reset_after)).unwrap_or(u32::MAX);
    (resets_in, if headers.legacy { date() } else { 0 })
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// Of visible ASCII.
fn value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::rate_limit::Quota;

    fn written(headers: RateLimitHeaders, reported: Option<u64>, map: HeaderMap) -> Vec<String> {
        let terms = [Quota::per_second(10), Quota::per_hour(1000)];
        let terms = [Terms::new("burst", terms[0]), Terms::new("hour \"of\" é", terms[1])];
        let (clock, hand) = Clock::manual();
        let now = clock.wall().duration_since(UNIX_EPOCH).unwrap();
        hand.step_wall(1_000_500 - i64::try_from(now.as_millis()).unwrap());
        let decision = Decision::admit(7, Duration::from_millis(2_001)).of_charge(1);
        let mut map = map;
        let to = Audience { headers, is_heard: false };
        Report::of_all(to, terms.into_iter().collect(), &decision, &clock).unwrap().write(&mut map, reported);
        let mut lines: Vec<_> =
            map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn each_kind_of_field_is_written_as_its_draft_says() {
        assert_eq!(
            written(RateLimitHeaders::none().ietf(true), None, HeaderMap::new()),
            [
                r#"ratelimit-policy: "burst";q=10;w=1, "hour \"of\" _";q=1000;w=3600"#,
                r#"ratelimit: "hour \"of\" _";r=7;t=3"#
            ]
        );
        assert_eq!(
            written(RateLimitHeaders::none().legacy(true), None, HeaderMap::new()),
            ["x-ratelimit-limit: 1000", "x-ratelimit-remaining: 7", "x-ratelimit-reset: 1003"]
        );
        assert_eq!(
            written(RateLimitHeaders::none().older_draft(true), None, HeaderMap::new()),
            ["ratelimit-limit: 1000", "ratelimit-remaining: 7", "ratelimit-reset: 3"]
        );
        assert!(written(RateLimitHeaders::none(), None, HeaderMap::new()).is_empty());
    }

    #[test]
    fn an_origins_own_fields_are_replaced_and_a_tighter_layers_are_kept() {
        let inner = || {
            let mut map = HeaderMap::new();
            map.insert("ratelimit", HeaderValue::from_static(r#""inner";r=3;t=9"#));
            map.insert("x-ratelimit-remaining", HeaderValue::from_static("3"));
            map
        };
        let both = RateLimitHeaders::default();
        let replaced = written(both, None, inner());
        assert!(
            replaced.contains(&"x-ratelimit-remaining: 7".to_owned())
                && !replaced.iter().any(|line| line.contains("inner"))
        );
        let kept = written(both, Some(3), inner());
        assert!(kept.contains(&"x-ratelimit-remaining: 3".to_owned()), "{kept:?}");
        assert_eq!(kept.iter().filter(|line| line.starts_with("ratelimit: ")).count(), 2);
        let looser = written(both, Some(8), inner());
        assert!(looser.contains(&"x-ratelimit-remaining: 7".to_owned()), "{looser:?}");
    }
}
