//! What an answer says of how the cache handled it: `Cache-Status` (RFC 9211), and `X-Cache` for eyes.

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
    /// What else there is to say (RFC 9211 section 2.8): a token.
    pub(super) detail: Option<&'static str>,
    pub(super) key: Option<&'a str>,
}

impl Handling<'_> {
    pub(super) fn of(outcome: CacheOutcome) -> Self {
        Self {
            outcome,
            forward: None,
            forward_status: None,
            ttl: None,
            stored: false,
            collapsed: false,
            detail: None,
            key: None,
        }
    }

    /// True when there is nothing to tell but that it is a hit, and how long it is fresh.
    pub(super) fn is_hit_alone(&self) -> bool {
        self.outcome == CacheOutcome::Hit && self.forward.is_none() && !self.collapsed && self.key.is_none()
    }

    /// Adds the fields to `headers`. `name` is this cache's; `appends` after those of caches nearer to the origin.
    pub(super) fn describe(&self, headers: &mut HeaderMap, name: &str, x_cache: bool, appends: bool) {
        let mut text = Line::<160>::default();
        text.push_str(name);
        // An answer from the store is a hit, also when it is stale; what was validated was forwarded.
        match self.forward {
            // What the cache has made itself is neither.
            None if self.outcome == CacheOutcome::Miss => {}
            None => text.push_str("; hit"),
            Some(forward) => {
                text.push_str("; fwd=");
                text.push_str(forward.as_str());
            }
        }
        if let Some(status) = self.forward_status {
            text.push_str("; fwd-status=");
            text.push_number(status.into());
        }
        if let Some(ttl) = self.ttl {
            text.push_str(if ttl < 0 { "; ttl=-" } else { "; ttl=" });
            text.push_number(ttl.unsigned_abs());
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            text.push_str(detail);
        }
        let value = match self.key {
            None => HeaderValue::from_bytes(text.as_bytes()),
            Some(key) => {
                let mut longer = String::from_utf8_lossy(text.as_bytes()).into_owned();
                longer.push_str("; key=");
                push_string(&mut longer, key);
                HeaderValue::try_from(longer)
            }
        };
        if let Ok(value) = value {
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

/// A number as the value of a field: one allocation, of its size.
pub(super) fn number(number: u64) -> HeaderValue {
    let mut text = Line::<20>::default();
    text.push_number(number);
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// A short text on the stack. What does not fit is left out; the longest of what is written here does.
struct Line<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}

impl<const N: usize> Line<N> {
    fn push_str(&mut self, text: &str) {
        let end = self.length + text.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(text.as_bytes());
            self.length = end;
        }
    }

    fn push_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        // Digits are ASCII.
        self.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
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
    fn numbers_are_written_whole() {
        for number in [0, 9, 10, 1795, u64::MAX] {
            assert_eq!(super::number(number), number.to_string());
        }
    }

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
