//! Ranges of bytes (RFC 9110 section 14), and what of them a stored response can answer (RFC 9111 section 3.3).

use std::ops::Range;

use http::header::{CONTENT_RANGE, HeaderMap, RANGE};

/// A range that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Wanted {
    /// From a first byte to a last one, or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}

/// Where a part stands in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Part {
    pub(in crate::cache) first: u64,
    pub(in crate::cache) last: u64,
    pub(in crate::cache) total: Option<u64>,
    /// Fewer bytes came than were announced, and this is the range that they are all of the answer to.
    pub(in crate::cache) short_of: Option<Wanted>,
}

impl Part {
    pub(in crate::cache) fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    /// What is known of a part that came with `length` bytes. Of fewer than it says it is where they begin, and which question
    /// they are the answer to; more of them, or none, are nothing that can be told.
    pub(in crate::cache) fn received(self, length: u64, wanted: Option<Wanted>) -> Option<Self> {
        if length == self.length() {
            return Some(self);
        }
        (0 < length && length < self.length()).then(|| Self { last: self.first + length - 1, short_of: wanted, ..self })
    }

    /// The value of its `Content-Range`.
    pub(in crate::cache) fn content_range(&self) -> String {
        let total = self.total.map_or_else(|| "*".to_owned(), |total| total.to_string());
        format!("bytes {}-{}/{total}", self.first, self.last)
    }
}

/// What becomes of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Answer {
    /// These bytes of what is stored.
    Bytes(Range<u64>),
    /// None of the whole's bytes: a 416.
    Unsatisfiable,
    /// What is stored does not say.
    Unknown,
}

/// The one range of bytes that a request asks for. `None` for no range, several, other units and nonsense, which may all
/// be ignored (RFC 9110 section 14.2).
pub(in crate::cache) fn of_request(headers: &HeaderMap) -> Option<Wanted> {
    let mut lines = headers.get_all(RANGE).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
    let (unit, ranges) = line.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return None;
    }
    let (first, last) = ranges.trim().split_once('-')?;
    match (number(first), number(last)) {
        (Some(first), Some(last)) => (first <= last).then_some(Wanted::From(first, Some(last))),
        (Some(first), None) if last.is_empty() => Some(Wanted::From(first, None)),
        (None, Some(length)) if first.is_empty() => Some(Wanted::Suffix(length)),
        _ => None,
    }
}

/// The place of a 206 with one part.
pub(in crate::cache) fn of_response(headers: &HeaderMap) -> Option<Part> {
    let mut lines = headers.get_all(CONTENT_RANGE).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
    let (unit, range) = line.trim().split_once(' ')?;
    let (range, total) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(number(total)?) };
    let part = Part { first: number(first)?, last: number(last)?, total, short_of: None };
    let valid = unit.eq_ignore_ascii_case("bytes")
        && part.first <= part.last
        && part.last < u64::MAX
        && part.total.is_none_or(|total| part.last < total);
    valid.then_some(part)
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX - 1))
}

/// Which bytes of the whole, of `length`, are wanted. Of nothing there is no satisfiable range.
pub(in crate::cache) fn within(wanted: Wanted, length: u64) -> Answer {
    match wanted {
        Wanted::From(first, _) if first >= length => Answer::Unsatisfiable,
        Wanted::From(first, last) => {
            Answer::Bytes(first..last.map_or(length, |last| length.min(last.saturating_add(1))))
        }
        Wanted::Suffix(0) => Answer::Unsatisfiable,
        Wanted::Suffix(_) if length == 0 => Answer::Unsatisfiable,
        Wanted::Suffix(suffix) => Answer::Bytes(length.saturating_sub(suffix)..length),
    }
}

/// Which bytes of a stored part answer what is wanted of the whole: all of them, or it does not (RFC 9111 section 3.3).
/// The bytes are counted from the beginning of the whole.
pub(in crate::cache) fn within_part(wanted: Wanted, part: &Part) -> Answer {
    let covered = |range: Range<u64>| {
        let holds = part.first <= range.start && range.end <= part.last + 1;
        if holds { Answer::Bytes(range) } else { Answer::Unknown }
    };
    match (wanted, part.total) {
        (wanted, _) if part.short_of == Some(wanted) => Answer::Bytes(part.first..part.last + 1),
        (wanted, Some(total)) => match within(wanted, total) {
            Answer::Bytes(range) => covered(range),
            other => other,
        },
        (Wanted::From(first, Some(last)), None) => covered(first..last.saturating_add(1)),
        _ => Answer::Unknown,
    }
}

/// Two parts of one whole as one, where no byte between them is missing (RFC 9111 section 3.4).
pub(in crate::cache) fn joined(one: &Part, two: &Part) -> Option<Part> {
    let same_total = one.total.is_none() || two.total.is_none() || one.total == two.total;
    let touches = one.first.max(two.first) <= one.last.min(two.last) + 1;
    (same_total && touches).then(|| Part {
        first: one.first.min(two.first),
        last: one.last.max(two.last),
        total: one.total.or(two.total),
        short_of: None,
    })
}

/// True when nothing is missing at either end.
pub(in crate::cache) fn is_whole(part: &Part) -> bool {
    part.first == 0 && part.total == Some(part.last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;
    use proptest::prelude::*;

    fn wanted(value: &str) -> Option<Wanted> {
        of_request(&headers(&[("range", value)]))
    }

    fn part(value: &str) -> Option<Part> {
        of_response(&headers(&[("content-range", value)]))
    }

    #[test]
    fn one_range_of_bytes_is_read_and_all_else_ignored() {
        assert_eq!(wanted("bytes=0-4"), Some(Wanted::From(0, Some(4))));
        assert_eq!(wanted("Bytes=5-"), Some(Wanted::From(5, None)));
        assert_eq!(wanted("bytes=-3"), Some(Wanted::Suffix(3)));
        for value in ["bytes=0-1,3-4", "lines=0-1", "bytes=4-1", "bytes=-", "bytes=a-b", "bytes", "bytes=1-x", ""] {
            assert_eq!(wanted(value), None, "{value}");
        }
    }

    #[test]
    fn ranges_of_a_whole_are_cut_at_its_end() {
        assert_eq!(within(Wanted::From(2, Some(99)), 10), Answer::Bytes(2..10));
        assert_eq!(within(Wanted::From(2, None), 10), Answer::Bytes(2..10));
        assert_eq!(within(Wanted::Suffix(99), 10), Answer::Bytes(0..10));
        assert_eq!(within(Wanted::From(10, None), 10), Answer::Unsatisfiable);
        assert_eq!(within(Wanted::Suffix(0), 10), Answer::Unsatisfiable);
        assert_eq!(within(Wanted::Suffix(1), 0), Answer::Unsatisfiable);
    }

    #[test]
    fn a_part_answers_what_lies_within_it() {
        let stored = part("bytes 2-5/10").unwrap();
        assert_eq!(within_part(Wanted::From(3, Some(4)), &stored), Answer::Bytes(3..5));
        assert_eq!(within_part(Wanted::From(1, Some(4)), &stored), Answer::Unknown);
        assert_eq!(within_part(Wanted::From(3, None), &stored), Answer::Unknown);
        assert_eq!(within_part(Wanted::From(10, None), &stored), Answer::Unsatisfiable);
        let end = part("bytes 5-9/10").unwrap();
        assert_eq!(within_part(Wanted::Suffix(3), &end), Answer::Bytes(7..10));
        let unknown = part("bytes 5-9/*").unwrap();
        assert_eq!(within_part(Wanted::Suffix(3), &unknown), Answer::Unknown);
        assert_eq!(within_part(Wanted::From(6, Some(7)), &unknown), Answer::Bytes(6..8));
    }

    #[test]
    fn parts_join_where_nothing_is_missing_between_them() {
        let join = |one: &str, two: &str| joined(&part(one).unwrap(), &part(two).unwrap());
        assert_eq!(join("bytes 0-4/10", "bytes 5-9/10"), part("bytes 0-9/10"));
        assert_eq!(join("bytes 5-9/*", "bytes 2-6/10"), part("bytes 2-9/10"));
        assert_eq!(join("bytes 0-3/10", "bytes 5-9/10"), None);
        assert_eq!(join("bytes 0-4/10", "bytes 5-9/11"), None);
        assert!(is_whole(&part("bytes 0-9/10").unwrap()) && !is_whole(&part("bytes 0-9/*").unwrap()));
    }

    #[test]
    fn a_place_that_cannot_be_is_none() {
        for value in ["bytes 4-1/10", "bytes 0-10/10", "bytes */10", "lines 0-1/2", "bytes 0-1", "bytes 0-1/x"] {
            assert_eq!(part(value), None, "{value}");
        }
    }

    #[test]
    fn a_part_that_came_short_answers_its_own_question_and_what_it_holds() {
        let stated = part("bytes 4-9/10").unwrap();
        assert_eq!(stated.received(6, wanted("bytes=-6")), Some(stated));
        assert_eq!(stated.received(7, None), None);
        assert_eq!(stated.received(0, None), None);
        let short = stated.received(5, wanted("bytes=-5")).unwrap();
        assert_eq!(short.content_range(), "bytes 4-8/10");
        assert_eq!(within_part(Wanted::Suffix(5), &short), Answer::Bytes(4..9));
        assert_eq!(within_part(Wanted::From(6, Some(8)), &short), Answer::Bytes(6..9));
        assert_eq!(within_part(Wanted::From(6, Some(9)), &short), Answer::Unknown);
        assert_eq!(within_part(Wanted::Suffix(1), &short), Answer::Unknown);
    }

    proptest! {
        #[test]
        fn no_value_panics(range in "(bytes=)?[0-9-]{0,45}", content in "bytes [0-9]{0,24}-[0-9]{0,24}/[0-9*]{0,24}", length: u64) {
            let (range, part) = (wanted(&range), part(&content));
            if let Some(range) = range {
                let _ = within(range, length);
                if let Some(part) = &part {
                    let _ = within_part(range, part);
                }
            }
            if let Some(part) = part {
                let _ = (joined(&part, &part), is_whole(&part), part.length());
            }
        }
    }
}
