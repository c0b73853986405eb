//! What an answer says of how the cache handled it: `Cache-Status` (RFC 9211), and `X-Cache` for eyes.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::CacheOutcome;

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Why a request went on towards the origin (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// One handling of one request.
#[derive(Clone, Debug)]
pub(super) struct Handling<'a> {
    pub(super) outcome: CacheOutcome,
    pub(super) forward: Option<Forward>,
    /// The status of an answer that was not passed on: 304, or that of a failure.
    pub(super) forward_status: Option<u16>,
    /// Seconds that what is stored stays fresh, negative when it is stale.
    pub(super) ttl: Option<i64>,
    pub(super) stored: bool,
    pub(super) collapsed: bool,
    pub(super) key: Option<&'a str>,
}

impl Handling<'_> {
    pub(super) fn of(outcome: CacheOutcome) -> Self {
        Self { outcome, forward: None, forward_status: None, ttl: None, stored: false, collapsed: false, key: None }
    }

    /// Adds the fields to `headers`. `name` is this cache's; `appends` after those of caches nearer to the origin.
    pub(super) fn describe(&self, headers: &mut HeaderMap, name: &str, x_cache: bool, appends: bool) {
        let mut text = String::with_capacity(name.len() + 40 + self.key.map_or(0, str::len));
        text.push_str(name);
        // An answer from the store is a hit, also when it is stale; what was validated was forwarded.
        match self.forward {
            None => text.push_str("; hit"),
            Some(forward) => {
                text.push_str("; fwd=");
                text.push_str(forward.as_str());
            }
        }
        // Writing to a String cannot fail.
        if let Some(status) = self.forward_status {
            let _ = write!(text, "; fwd-status={status}");
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(key) = self.key {
            text.push_str("; key=");
            push_string(&mut text, key);
        }
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
            if appends {
                headers.append(CACHE_STATUS, value);
            } else {
                headers.insert(CACHE_STATUS, value);
            }
        }
        if x_cache {
            headers.insert(X_CACHE, HeaderValue::from_static(self.outcome.as_str()));
        }
    }
}

/// An sf-string (RFC 9651 section 3.3.3), which is printable ASCII.
fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for char in value.chars() {
        match char {
            '"' | '\\' => {
                text.push('\\');
                text.push(char);
            }
            ' '..='~' => text.push(char),
            _ => text.push(' '),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handling_is_one_member_of_a_structured_list() {
        let mut headers = HeaderMap::new();
        let hit = Handling { ttl: Some(-5), key: Some("http://a/\nq \"x\""), ..Handling::of(CacheOutcome::Stale) };
        hit.describe(&mut headers, "gateway", true, true);
        assert_eq!(headers[CACHE_STATUS], r#"gateway; hit; ttl=-5; key="http://a/ q \"x\"""#);
        assert_eq!(headers[X_CACHE], "STALE");

        let miss = Handling {
            forward: Some(Forward::VaryMiss),
            forward_status: Some(200),
            stored: true,
            collapsed: true,
            ..Handling::of(CacheOutcome::Miss)
        };
        miss.describe(&mut headers, "gateway", false, false);
        assert_eq!(headers[CACHE_STATUS], "gateway; fwd=vary-miss; fwd-status=200; stored; collapsed");
    }
}
