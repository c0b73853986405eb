//! How long to wait before another try.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::random::up_to;

/// Exponential, with full jitter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Backoff {
    /// Before the try that follows `tries`, of which there was one at least.
    pub(super) fn after(&self, tries: u32) -> Duration {
        up_to(self.limit(tries))
    }

    fn limit(&self, tries: u32) -> Duration {
        let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// What the answer asks to wait, when it does so in seconds. A date is not looked at: it is wrong by as much as either clock
/// is, and what is near enough to wait for is told in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    // RFC 9110 section 10.2.3: digits and nothing else.
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_limit_doubles_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(25), longest: Duration::from_millis(250) };
        let limits: Vec<_> = (1..=6).map(|tries| backoff.limit(tries).as_millis()).collect();
        assert_eq!(limits, [25, 50, 100, 200, 250, 250]);
        assert_eq!(backoff.limit(u32::MAX), backoff.longest);
        let waits: Vec<_> = (0..1_000).map(|_| backoff.after(4)).collect();
        assert!(waits.iter().all(|wait| wait.as_millis() < 200));
        assert!(waits.iter().any(|wait| wait.as_millis() > 150) && waits.iter().any(|wait| wait.as_millis() < 50));
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let read =
            |value: &'static str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]));
        assert_eq!(read("2"), Some(Duration::from_secs(2)));
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for bad in ["", "-1", "+1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
