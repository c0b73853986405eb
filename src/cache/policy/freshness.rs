//! How long a response is fresh (RFC 9111 section 4.2.1).

use http::header::{DATE, EXPIRES, HeaderMap, LAST_MODIFIED};
use http::{HeaderName, StatusCode};

use super::date;
use super::directives::{Delta, ResponseDirectives};

/// What decides for a response that says nothing of its freshness.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Defaults {
    /// A tenth of the time since the last change, where RFC 9111 section 4.2.2 allows.
    pub(in crate::cache) heuristic: bool,
    /// Seconds, for the statuses below.
    pub(in crate::cache) ttl: Option<u64>,
    pub(in crate::cache) ttl_statuses: Vec<StatusCode>,
}

/// How long, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Lifetime {
    /// The response itself. Zero when what it says is invalid.
    Explicit(u64),
    /// A heuristic.
    Heuristic(u64),
    /// The layer's own time.
    Configured(u64),
    /// Nobody.
    Unknown,
}

impl Lifetime {
    pub(in crate::cache) fn seconds(self) -> u64 {
        match self {
            Self::Explicit(seconds) | Self::Heuristic(seconds) | Self::Configured(seconds) => seconds,
            Self::Unknown => 0,
        }
    }

    pub(in crate::cache) fn is_explicit(self) -> bool {
        matches!(self, Self::Explicit(_))
    }
}

/// The lifetime of a response that was received at the second `received`.
pub(in crate::cache) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    received: i64,
    defaults: &Defaults,
) -> Lifetime {
    if let Some(seconds) = explicit(headers, directives, received) {
        return Lifetime::Explicit(seconds);
    }
    if defaults.heuristic
        && (is_heuristically_cacheable(status) || directives.public)
        && let Some(seconds) = heuristic(headers, received)
    {
        return Lifetime::Heuristic(seconds);
    }
    match defaults.ttl {
        Some(seconds) if defaults.ttl_statuses.contains(&status) => Lifetime::Configured(seconds),
        _ => Lifetime::Unknown,
    }
}

/// `s-maxage`, then `max-age`, then `Expires`: the first that is there decides, valid or not.
fn explicit(headers: &HeaderMap, directives: &ResponseDirectives, received: i64) -> Option<u64> {
    for delta in [directives.s_maxage, directives.max_age] {
        match delta {
            Delta::Absent => {}
            Delta::Seconds(seconds) => return Some(seconds),
            Delta::Invalid => return Some(0),
        }
    }
    if directives.targeted {
        return None;
    }
    let mut lines = headers.get_all(EXPIRES).iter();
    let expires = lines.next()?;
    // Several values that disagree: the response is taken to be stale.
    if lines.any(|other| other != expires) {
        return Some(0);
    }
    let Some(expires) = date::parse(expires.as_bytes(), received) else { return Some(0) };
    let date = field_date(headers, &DATE, received).unwrap_or(received);
    Some(u64::try_from(expires.saturating_sub(date)).unwrap_or(0))
}

/// A tenth of the time between the last change and the answer (RFC 9111 section 4.2.2).
fn heuristic(headers: &HeaderMap, received: i64) -> Option<u64> {
    let modified = field_date(headers, &LAST_MODIFIED, received)?;
    let date = field_date(headers, &DATE, received).unwrap_or(received);
    u64::try_from(date.saturating_sub(modified)).ok().map(|seconds| seconds / 10).filter(|seconds| *seconds > 0)
}

fn field_date(headers: &HeaderMap, name: &HeaderName, received: i64) -> Option<i64> {
    date::parse(headers.get(name)?.as_bytes(), received)
}

/// RFC 9110 section 15.1.
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;

    const NOW: i64 = 784_111_777;
    const NONE: Defaults = Defaults { heuristic: true, ttl: None, ttl_statuses: Vec::new() };

    fn of(status: u16, lines: &[(&str, &str)], defaults: &Defaults) -> Lifetime {
        let headers = headers(lines);
        let directives = ResponseDirectives::of(&headers);
        lifetime(StatusCode::from_u16(status).unwrap(), &headers, &directives, NOW, defaults)
    }

    #[test]
    fn s_maxage_goes_before_max_age_and_that_before_expires() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:49:47 GMT");
        assert_eq!(of(200, &[("cache-control", "max-age=5, s-maxage=7"), expires], &NONE), Lifetime::Explicit(7));
        assert_eq!(of(200, &[("cache-control", "max-age=5"), expires], &NONE), Lifetime::Explicit(5));
        assert_eq!(of(200, &[expires], &NONE), Lifetime::Explicit(10));
    }

    #[test]
    fn expires_is_measured_from_the_date_of_the_response() {
        let lines = [("expires", "Sun, 06 Nov 1994 08:49:47 GMT"), ("date", "Sun, 06 Nov 1994 08:49:17 GMT")];
        assert_eq!(of(200, &lines, &NONE), Lifetime::Explicit(30));
    }

    #[test]
    fn what_is_invalid_is_stale_and_never_heuristically_fresh() {
        let modified = ("last-modified", "Sun, 06 Nov 1983 08:49:37 GMT");
        let expires = ("expires", "Sun, 06 Nov 1994 08:59:47 GMT");
        assert_eq!(of(200, &[("expires", "0"), modified], &NONE), Lifetime::Explicit(0));
        assert_eq!(of(200, &[("cache-control", "max-age=x"), expires, modified], &NONE), Lifetime::Explicit(0));
        assert_eq!(of(200, &[expires, ("expires", "0")], &NONE), Lifetime::Explicit(0), "two that disagree");
        assert_eq!(of(200, &[expires, expires], &NONE), Lifetime::Explicit(610), "two that agree");
    }

    #[test]
    fn expires_says_nothing_beside_a_field_for_shared_caches() {
        let lines = [("cdn-cache-control", "public"), ("expires", "Sun, 06 Nov 1994 08:59:47 GMT")];
        assert_eq!(of(200, &lines, &NONE), Lifetime::Unknown);
        let lines = [("cdn-cache-control", "max-age=3"), ("cache-control", "max-age=60")];
        assert_eq!(of(200, &lines, &NONE), Lifetime::Explicit(3));
    }

    #[test]
    fn a_tenth_of_the_time_since_the_last_change_where_the_status_or_public_allows() {
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:47:57 GMT");
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(of(status, &[modified], &NONE), Lifetime::Heuristic(10), "{status}");
        }
        for status in [201, 202, 302, 403, 500, 502, 503, 504, 599] {
            assert_eq!(of(status, &[modified], &NONE), Lifetime::Unknown, "{status}");
            assert_eq!(
                of(status, &[modified, ("cache-control", "public")], &NONE),
                Lifetime::Heuristic(10),
                "{status}"
            );
        }
        let future = ("last-modified", "Sun, 06 Nov 1994 09:47:57 GMT");
        assert_eq!(of(200, &[future], &NONE), Lifetime::Unknown);
    }

    #[test]
    fn the_layers_own_time_comes_last_and_for_its_statuses() {
        let own = Defaults { heuristic: true, ttl: Some(30), ttl_statuses: vec![StatusCode::OK] };
        assert_eq!(of(200, &[], &own), Lifetime::Configured(30));
        assert_eq!(of(404, &[], &own), Lifetime::Unknown);
        assert_eq!(of(200, &[("cache-control", "max-age=0")], &own), Lifetime::Explicit(0));
        assert_eq!(of(200, &[("last-modified", "Sun, 06 Nov 1994 08:47:57 GMT")], &own), Lifetime::Heuristic(10));
    }
}
