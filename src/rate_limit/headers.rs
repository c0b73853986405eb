//! What clients are told of their limits.

mod fields;
mod told;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) use self::fields::Fields;
use self::fields::Says;
use self::told::Told;
use super::{Decision, Quota};

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static LEGACY: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];
static OLDER: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

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

    pub(super) const fn needs_the_date(self) -> bool {
        self.legacy
    }

    pub(super) const fn is_none(self) -> bool {
        !self.ietf && !self.legacy && !self.older_draft
    }
}

/// A quota as it is told: what does not change from request to request is written once.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) quota: Quota,
    /// The name as a string of structured fields (RFC 9651 section 3.3.3), with its quotes, and what comes behind it.
    state: Box<str>,
    policy: HeaderValue,
    limit: HeaderValue,
}

impl Terms {
    pub(super) fn new(name: &str, quota: Quota) -> Self {
        let name = quoted(name);
        let policy = format!("{name};q={};w={}", quota.limit(), seconds(quota.window()).max(1));
        Self {
            quota,
            policy: value(policy),
            limit: HeaderValue::from(quota.limit()),
            state: format!("{name};r=").into(),
        }
    }
}

/// What one answer is told.
pub(super) struct Report<'a, T> {
    pub(super) fields: &'a Fields,
    /// Of all that were charged, in their order.
    pub(super) terms: &'a [T],
    pub(super) decision: &'a Decision,
    /// What remains of the tightest quota that a layer behind this one has reported.
    pub(super) reported: Option<u64>,
    pub(super) wall: SystemTime,
}

impl<T: AsRef<Terms>> Report<'_, T> {
    pub(super) fn write(&self, map: &mut HeaderMap) {
        let Some(tightest) = self.terms.get(self.decision.charge).map(AsRef::as_ref) else { return };
        let headers = self.fields.headers;
        let told = self.told(tightest);
        let value = |says| match says {
            Says::Policy => self.policy(),
            Says::State => told.state(),
            Says::Limit => tightest.limit.clone(),
            Says::Remaining => told.remaining(),
            Says::ResetsAt => told.resets_at(),
            Says::ResetsIn => told.resets_in(),
        };
        if map.is_empty() && self.reported.is_none() {
            return self.fields.write(map, value);
        }
        // At once for all: a map grows even where it replaces.
        map.reserve(headers.fields().count());
        if self.reported.is_none() {
            for (name, says) in headers.fields() {
                map.insert(name, value(says));
            }
            return;
        }
        // Lists (RFC 9651 section 3.1), to which layers add.
        if headers.ietf {
            map.append(&POLICY, value(Says::Policy));
            map.append(&RATE_LIMIT, value(Says::State));
        }
        // Of two layers the tighter quota is reported, too.
        if self.reported.is_some_and(|reported| reported <= self.decision.remaining) {
            return;
        }
        for (name, says) in headers.of_one() {
            map.insert(name, value(says));
        }
    }

    fn told(&self, tightest: &Terms) -> Told {
        let Decision { remaining, reset_after, .. } = *self.decision;
        let resets_at = self.fields.headers.needs_the_date().then(|| {
            let at = self.wall.checked_add(reset_after).unwrap_or(self.wall);
            seconds(at.duration_since(UNIX_EPOCH).unwrap_or_default())
        });
        Told::new(&tightest.state, remaining, seconds(reset_after), resets_at)
    }

    fn policy(&self) -> HeaderValue {
        match self.terms {
            [only] => only.as_ref().policy.clone(),
            several => {
                let items: Vec<_> =
                    several.iter().map(|terms| terms.as_ref().policy.to_str().unwrap_or_default()).collect();
                value(items.join(", "))
            }
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// Only visible ASCII and spaces can be in such a string; what is not becomes `_`.
fn quoted(name: &str) -> Box<str> {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for char in name.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            ' '..='~' => quoted.push(char),
            _ => quoted.push('_'),
        }
    }
    quoted.push('"');
    quoted.into()
}

/// Of visible ASCII.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn written(headers: RateLimitHeaders, reported: Option<u64>, map: HeaderMap) -> Vec<String> {
        let terms = [Quota::per_second(10), Quota::per_hour(1000)];
        let terms = [Arc::new(Terms::new("burst", terms[0])), Arc::new(Terms::new("hour \"of\" é", terms[1]))];
        let decision = Decision::admit(7, Duration::from_millis(2_001)).of_charge(1);
        let wall = UNIX_EPOCH + Duration::from_millis(1_000_500);
        let mut map = map;
        Report { fields: &Fields::new(headers), terms: &terms, decision: &decision, reported, wall }.write(&mut map);
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
