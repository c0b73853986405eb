//! A quota as it is told: what does not change from request to request is written once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;

use super::numbers::{self, Line};
use super::{seconds, value};
use crate::rate_limit::Quota;

/// The terms on which a key is counted, as cheap to clone as a reference.
///
/// Were they counted by their owners, that count would be what all threads write to for each request. So those of the limits that
/// are configured are kept for good, up to so many: a limit lives as long as the process, and a reload mostly finds it again.
#[derive(Clone, Debug)]
pub(in crate::rate_limit) enum Terms {
    Kept(&'static Told),
    Own(Arc<Told>),
}

#[derive(Debug)]
pub(in crate::rate_limit) struct Told {
    pub(in crate::rate_limit) quota: Quota,
    /// As a string of structured fields (RFC 9651 section 3.3.3), with its quotes.
    name: Cow<'static, str>,
    /// What `RateLimit` begins with: the name, where it is short.
    state: Option<Line>,
    policy: HeaderValue,
    limit: HeaderValue,
}

/// How many terms are kept for good, and how long a name may be that is.
const KEPT: usize = 1024;
const LONGEST: usize = 128;

type ByLimit = HashMap<(Box<str>, Quota), &'static Told>;

static KEPT_TERMS: LazyLock<Mutex<ByLimit>> = LazyLock::new(Mutex::default);

impl Terms {
    /// Of a limit that is configured.
    pub(in crate::rate_limit) fn new(name: &str, quota: Quota) -> Self {
        let own = |name: String| Self::Own(Arc::new(Told::new(name.into(), quota)));
        if name.len() > LONGEST {
            return own(quoted(name));
        }
        // Nothing that could panic is done while it is held.
        let mut kept = KEPT_TERMS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&told) = kept.get(&(name.into(), quota)) {
            return Self::Kept(told);
        }
        if kept.len() >= KEPT {
            return own(quoted(name));
        }
        let text: &'static str = Box::leak(quoted(name).into());
        // As static text they have no owners to be counted either.
        let for_good = |text: Bytes| value(Bytes::from_static(Box::leak(text.to_vec().into())));
        let policy = for_good(policy(text, &quota));
        let limit = for_good(quota.limit().to_string().into());
        let told = Told { quota, name: text.into(), state: Line::beginning(text), policy, limit };
        let told: &'static Told = Box::leak(Box::new(told));
        kept.insert((name.into(), quota), told);
        Self::Kept(told)
    }

    /// The same limit with another quota, which only a request has brought.
    pub(in crate::rate_limit) fn with_quota(&self, quota: Quota) -> Self {
        Self::Own(Arc::new(Told::new(self.name.clone(), quota)))
    }
}

impl std::ops::Deref for Terms {
    type Target = Told;

    fn deref(&self) -> &Told {
        match self {
            Self::Kept(told) => told,
            Self::Own(told) => told,
        }
    }
}

impl Told {
    fn new(name: Cow<'static, str>, quota: Quota) -> Self {
        let (state, policy, limit) =
            (Line::beginning(&name), value(policy(&name, &quota)), numbers::value(quota.limit()));
        Self { quota, name, state, policy, limit }
    }

    /// The value of `RateLimit-Policy`.
    pub(super) fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// The value of `X-RateLimit-Limit`.
    pub(super) fn limit(&self) -> &HeaderValue {
        &self.limit
    }

    /// The value of `RateLimit`.
    pub(super) fn state(&self, remaining: u64, resets_in: u64) -> HeaderValue {
        let mut line = self.state.unwrap_or(Line::new());
        line.push(*b";r=", remaining);
        line.push(*b";t=", resets_in);
        match self.state {
            Some(_) => line.value(),
            None => value(behind(&self.name, &line)),
        }
    }
}

fn policy(name: &str, quota: &Quota) -> Bytes {
    let mut line = Line::new();
    line.push(*b";q=", quota.limit());
    line.push(*b";w=", seconds(quota.window()).max(1));
    behind(name, &line)
}

fn behind(name: &str, line: &Line) -> Bytes {
    // Not one byte too many: so it becomes the value as it is.
    let mut text = Vec::with_capacity(name.len() + line.as_bytes().len());
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(line.as_bytes());
    text.into()
}

/// Only visible ASCII and spaces can be in such a string; what is not becomes `_`.
fn quoted(name: &str) -> String {
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
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_terms_are_kept_once_and_only_so_many_of_them() {
        let (Terms::Kept(one), Terms::Kept(two)) =
            (Terms::new("kept", Quota::per_second(3)), Terms::new("kept", Quota::per_second(3)))
        else {
            panic!("there is room for the first")
        };
        assert!(std::ptr::eq(one, two));
        for limit in 1..=KEPT as u32 {
            let terms = Terms::new("many", Quota::per_day(limit));
            assert_eq!(terms.quota, Quota::per_day(limit));
            assert_eq!(terms.policy(), &*format!("\"many\";q={limit};w=86400"));
        }
        assert!(matches!(Terms::new("many", Quota::per_day(KEPT as u32)), Terms::Own(_)));
        assert!(KEPT_TERMS.lock().unwrap().len() <= KEPT);
    }

    #[test]
    fn terms_that_are_not_kept_say_the_same() {
        let long = "x".repeat(LONGEST + 1);
        let own = Terms::new(&long, Quota::per_minute(7));
        assert!(matches!(own, Terms::Own(_)));
        assert_eq!(own.policy(), &*format!("\"{long}\";q=7;w=60"));
        assert_eq!(own.state(10_000, 0), *format!("\"{long}\";r=10000;t=0"));
        let brought = Terms::new("brought", Quota::per_minute(7)).with_quota(Quota::per_hour(70_000));
        assert!(matches!(brought, Terms::Own(_)));
        assert_eq!(brought.policy(), "\"brought\";q=70000;w=3600");
    }
}
