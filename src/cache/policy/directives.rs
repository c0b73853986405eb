//! Cache directives (RFC 9111 section 5.2, RFC 5861, RFC 9213), of requests and of responses.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

use super::age::delta_seconds;
use super::structured::{self, Value};

/// The field that speaks to shared caches alone and goes before `Cache-Control` and `Expires` (RFC 9213 section 3).
pub(in crate::cache) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// A directive's number of seconds. The first occurrence counts (RFC 9111 section 4.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) enum Delta {
    #[default]
    Absent,
    Seconds(u64),
    /// There, and not a number: what it was to keep fresh is stale.
    Invalid,
}

impl Delta {
    pub(super) fn is_present(self) -> bool {
        self != Self::Absent
    }

    pub(super) fn seconds(self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Absent | Self::Invalid => None,
        }
    }

    fn first(&mut self, value: Option<u64>) {
        if *self == Self::Absent {
            *self = value.map_or(Self::Invalid, Self::Seconds);
        }
    }
}

/// What a response says of its being stored and reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct ResponseDirectives {
    /// They come from a field for shared caches, so that `Cache-Control` and `Expires` say nothing to this one.
    pub(super) targeted: bool,
    pub(super) max_age: Delta,
    pub(super) s_maxage: Delta,
    pub(super) stale_while_revalidate: Delta,
    pub(super) stale_if_error: Delta,
    pub(super) no_store: bool,
    /// Also with field names: a cache that cannot leave fields out reads it as if there were none.
    pub(super) no_cache: bool,
    /// Also with field names, for the same reason.
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
}

impl ResponseDirectives {
    /// The directives that apply to this cache: those of `CDN-Cache-Control` where it is there and well formed.
    pub(in crate::cache) fn of(headers: &HeaderMap) -> Self {
        if let Some(targeted) = Self::targeted(headers) {
            return targeted;
        }
        let mut own = Self::default();
        each_directive(headers, |directive| match &*directive.name {
            b"max-age" => own.max_age.first(directive.seconds()),
            b"s-maxage" => own.s_maxage.first(directive.seconds()),
            b"stale-while-revalidate" => own.stale_while_revalidate.first(directive.seconds()),
            b"stale-if-error" => own.stale_if_error.first(directive.seconds()),
            b"no-store" => own.no_store = true,
            b"no-cache" => own.no_cache = true,
            b"private" => own.private = true,
            b"public" => own.public = true,
            b"must-revalidate" => own.must_revalidate = true,
            b"proxy-revalidate" => own.proxy_revalidate = true,
            b"must-understand" => own.must_understand = true,
            _ => {}
        });
        own
    }

    /// RFC 9213 section 2.1: an empty field and one that does not parse are as if they were absent.
    fn targeted(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CDN_CACHE_CONTROL).iter();
        let mut text = lines.next()?.to_str().ok()?.to_owned();
        for line in lines {
            text.push_str(", ");
            text.push_str(line.to_str().ok()?);
        }
        let members = structured::dictionary(&text).filter(|members| !members.is_empty())?;
        let mut own = Self { targeted: true, ..Self::default() };
        for (name, value) in members {
            let seconds = match value {
                Value::Integer(seconds) => u64::try_from(seconds).ok(),
                Value::Boolean(_) | Value::Other => None,
            };
            let holds = value != Value::Boolean(false);
            match name {
                "max-age" => own.max_age.first(seconds),
                "s-maxage" => own.s_maxage.first(seconds),
                "stale-while-revalidate" => own.stale_while_revalidate.first(seconds),
                "stale-if-error" => own.stale_if_error.first(seconds),
                "no-store" => own.no_store = holds,
                "no-cache" => own.no_cache = holds,
                "private" => own.private = holds,
                "public" => own.public = holds,
                "must-revalidate" => own.must_revalidate = holds,
                "proxy-revalidate" => own.proxy_revalidate = holds,
                "must-understand" => own.must_understand = holds,
                _ => {}
            }
        }
        Some(own)
    }

    /// RFC 9111 section 4.2.4: what must not be served stale, whatever the reason.
    pub(super) fn forbids_stale(&self) -> bool {
        // s-maxage brings the meaning of proxy-revalidate with it (RFC 9111 section 5.2.2.10).
        self.no_cache || self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_present()
    }
}

/// What a client asks of caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct RequestDirectives {
    pub(in crate::cache) no_cache: bool,
    pub(in crate::cache) no_store: bool,
    pub(in crate::cache) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// `u64::MAX` without a value: however stale.
    pub(super) max_stale: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

impl RequestDirectives {
    pub(in crate::cache) fn of(headers: &HeaderMap) -> Self {
        let mut own = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // RFC 9111 section 5.4: Pragma counts where there is no Cache-Control.
            own.no_cache = has_pragma_no_cache(headers);
            return own;
        }
        each_directive(headers, |directive| match &*directive.name {
            b"no-cache" => own.no_cache = true,
            b"no-store" => own.no_store = true,
            b"only-if-cached" => own.only_if_cached = true,
            b"max-age" => own.max_age = own.max_age.or(directive.seconds()),
            b"min-fresh" => own.min_fresh = own.min_fresh.or(directive.seconds()),
            b"max-stale" if directive.value.is_none() => own.max_stale = Some(u64::MAX),
            b"max-stale" => own.max_stale = own.max_stale.or(directive.seconds()),
            b"stale-if-error" => own.stale_if_error = own.stale_if_error.or(directive.seconds()),
            _ => {}
        });
        own
    }
}

fn has_pragma_no_cache(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(PRAGMA).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
}

struct Directive<'a> {
    /// In lower case. Longer names than any known one are cut, and so are unknown.
    name: Name,
    /// What stands after `=`, a quoted string without its quotes.
    value: Option<&'a [u8]>,
    /// Whitespace beside the `=`, which no directive has.
    well_formed: bool,
}

impl Directive<'_> {
    fn seconds(&self) -> Option<u64> {
        self.value.filter(|_| self.well_formed).and_then(delta_seconds)
    }
}

/// A name in lower case, without an allocation: this is read for every request.
struct Name {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl Name {
    /// One more than `stale-while-revalidate`.
    const LONGEST: usize = 23;

    fn new(name: &[u8]) -> Self {
        let length = name.len().min(Self::LONGEST);
        let mut bytes = [0; Self::LONGEST];
        bytes[..length].copy_from_slice(&name[..length]);
        bytes.make_ascii_lowercase();
        Self { bytes, length }
    }
}

impl std::ops::Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The directives of every `Cache-Control` line. Commas within a quoted string part nothing; a string that is never
/// closed swallows the rest of its line.
fn each_directive(headers: &HeaderMap, mut each: impl FnMut(Directive<'_>)) {
    for line in headers.get_all(CACHE_CONTROL) {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let (element, after) = split_list(rest);
            rest = after;
            let element = element.trim_ascii();
            if element.is_empty() {
                continue;
            }
            let (name, value) = match element.iter().position(|byte| *byte == b'=') {
                None => (element, None),
                Some(at) => (&element[..at], Some(&element[at + 1..])),
            };
            let trimmed = value.map(<[u8]>::trim_ascii);
            let well_formed = name.trim_ascii() == name && trimmed == value;
            each(Directive { name: Name::new(name.trim_ascii()), value: trimmed.map(unquoted), well_formed });
        }
    }
}

/// The first element of a comma-separated list, and what follows its comma. Quoted strings are stepped over.
pub(super) fn split_list(list: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&list[..at], &list[at + 1..]),
            _ => {}
        }
    }
    (list, &[])
}

/// Numbers are also accepted in quotes (RFC 9111 section 5.2). Escapes stay: no number has one.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;
    use proptest::prelude::*;

    fn response(value: &str) -> ResponseDirectives {
        ResponseDirectives::of(&headers(&[("cache-control", value)]))
    }

    fn request(value: &str) -> RequestDirectives {
        RequestDirectives::of(&headers(&[("cache-control", value)]))
    }

    #[test]
    fn names_are_read_in_any_case_and_unknown_ones_are_ignored() {
        let read = response("MaX-aGe=3600, foobar, NO-STORE, x=\"y\"");
        assert_eq!(read.max_age, Delta::Seconds(3600));
        assert!(read.no_store);
    }

    #[test]
    fn no_directive_is_read_from_inside_a_quoted_string() {
        let read = response(r#"foo="a, no-store, max-age=1 \", private", max-age=60"#);
        assert_eq!(read.max_age, Delta::Seconds(60));
        assert!(!read.no_store && !read.private);
    }

    #[test]
    fn numbers_are_digits_quoted_or_not_and_never_overflow() {
        for (text, expected) in [
            ("max-age=\"3600\"", Delta::Seconds(3600)),
            ("max-age=003600", Delta::Seconds(3600)),
            ("max-age=99999999999999999999999", Delta::Seconds(u64::MAX)),
            ("max-age='3600'", Delta::Invalid),
            ("max-age=-1", Delta::Invalid),
            ("max-age=1.0", Delta::Invalid),
            ("max-age=100a", Delta::Invalid),
            ("max-age=a100", Delta::Invalid),
            ("max-age =100", Delta::Invalid),
            ("max-age= 100", Delta::Invalid),
            ("max-age=", Delta::Invalid),
            ("max-age", Delta::Invalid),
            ("foo-max-age=100", Delta::Absent),
        ] {
            assert_eq!(response(text).max_age, expected, "{text}");
        }
    }

    #[test]
    fn the_first_of_duplicates_counts_in_one_line_or_in_two() {
        assert_eq!(response("max-age=1, max-age=3600").max_age, Delta::Seconds(1));
        let lines = headers(&[("cache-control", "max-age=3600"), ("cache-control", "max-age=1")]);
        assert_eq!(ResponseDirectives::of(&lines).max_age, Delta::Seconds(3600));
    }

    #[test]
    fn directives_with_field_names_count_as_those_without() {
        let read = response(r#"private="set-cookie", no-cache="a""#);
        assert!(read.private && read.no_cache);
    }

    #[test]
    fn a_field_for_shared_caches_goes_before_cache_control() {
        let lines = headers(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")]);
        let read = ResponseDirectives::of(&lines);
        assert!(read.targeted && !read.no_store);
        assert_eq!(read.max_age, Delta::Seconds(60));
    }

    #[test]
    fn a_field_for_shared_caches_that_does_not_parse_is_as_if_absent() {
        for bad in ["MAX-AGE=60", "max-age =60", "max-age=60,", "", "max-age=6 0"] {
            let lines = headers(&[("cache-control", "no-store"), ("cdn-cache-control", bad)]);
            let read = ResponseDirectives::of(&lines);
            assert!(!read.targeted && read.no_store, "{bad}");
        }
    }

    #[test]
    fn a_number_of_another_type_is_invalid_in_a_field_for_shared_caches() {
        for bad in ["max-age=\"60\"", "max-age=60.0", "max-age", "max-age=-1"] {
            assert_eq!(
                ResponseDirectives::of(&headers(&[("cdn-cache-control", bad)])).max_age,
                Delta::Invalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn requests_say_how_fresh_and_how_stale() {
        let read = request("max-age=1, min-fresh=2, max-stale=3, stale-if-error=4, only-if-cached");
        assert_eq!((read.max_age, read.min_fresh, read.max_stale), (Some(1), Some(2), Some(3)));
        assert!(read.only_if_cached && read.stale_if_error == Some(4));
        assert_eq!(request("max-stale").max_stale, Some(u64::MAX));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        assert!(RequestDirectives::of(&headers(&[("pragma", "foo, No-Cache")])).no_cache);
        assert!(!RequestDirectives::of(&headers(&[("pragma", "no-cache"), ("cache-control", "max-age=1")])).no_cache);
        assert!(!RequestDirectives::of(&headers(&[("pragma", "no-cachex")])).no_cache);
    }

    proptest! {
        #[test]
        fn no_value_panics(value in "[ -~]*") {
            let _ = (response(&value), request(&value), ResponseDirectives::of(&headers(&[("cdn-cache-control", &value)])));
        }
    }
}
