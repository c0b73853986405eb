//! How old a response is (RFC 9111 section 4.2.3), in whole seconds.

use http::HeaderMap;
use http::header::{AGE, DATE};

use super::date;

/// The value of `Age`: the first member of a list counts, and what is not a number of seconds is ignored (RFC 9111
/// section 5.1). A number too large to be told is as large as can be (RFC 9111 section 1.2.2).
pub(in crate::cache) fn stated(headers: &HeaderMap) -> Option<u64> {
    let line = headers.get(AGE)?.as_bytes();
    delta_seconds(line.split(|byte| *byte == b',').next()?.trim_ascii())
}

/// `delta-seconds` (RFC 9111 section 1.2.2). `None` for anything but digits.
pub(super) fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(text.iter().fold(0, add))
}

/// The age of a response when it was received, which took `delay` seconds from the request, at the second `received`.
pub(in crate::cache) fn initial(headers: &HeaderMap, received: i64, delay: u64) -> u64 {
    let value = headers.get(DATE).and_then(|value| date::parse(value.as_bytes(), received));
    let apparent = value.map_or(0, |value| u64::try_from(received.saturating_sub(value)).unwrap_or(0));
    let corrected = stated(headers).unwrap_or(0).saturating_add(delay);
    apparent.max(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;

    const NOW: i64 = 784_111_777;

    fn age(lines: &[(&str, &str)]) -> Option<u64> {
        stated(&headers(lines))
    }

    #[test]
    fn the_first_member_of_a_list_counts() {
        assert_eq!(age(&[("age", "7200, 0")]), Some(7200));
        assert_eq!(age(&[("age", "0, 7200")]), Some(0));
        assert_eq!(age(&[("age", "0"), ("age", "7200")]), Some(0));
    }

    #[test]
    fn what_is_no_number_of_seconds_is_ignored() {
        for value in ["-7200", "7200.0", "abc", "7200;a=b", "a7200", "7200a", "", "+5", "\"5\""] {
            assert_eq!(age(&[("age", value)]), None, "{value}");
        }
    }

    #[test]
    fn a_number_too_large_is_as_large_as_can_be() {
        assert_eq!(age(&[("age", "99999999999999999999999")]), Some(u64::MAX));
    }

    #[test]
    fn the_larger_of_the_apparent_and_the_stated_age_counts() {
        let fields = headers(&[("date", "Sun, 06 Nov 1994 08:49:27 GMT"), ("age", "3")]);
        assert_eq!(initial(&fields, NOW, 0), 10);
        assert_eq!(initial(&fields, NOW, 8), 11, "the delay is added to the stated age, not to the apparent one");
        assert_eq!(initial(&headers(&[("date", "Sun, 06 Nov 1994 09:00:00 GMT")]), NOW, 2), 2, "a clock ahead of ours");
        assert_eq!(initial(&headers(&[("date", "never")]), NOW, 0), 0);
    }
}
