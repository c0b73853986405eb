//! The fields of a configuration, and a map that has them, ready to be copied.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::RateLimitHeaders;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const LEGACY: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];
const OLDER: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

/// One of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Policy,
    State,
    Limit,
    Remaining,
    /// As a date.
    Reset,
    OlderLimit,
    OlderRemaining,
    /// As a time from now.
    OlderReset,
}

impl RateLimitHeaders {
    pub(super) fn count(self) -> usize {
        2 * usize::from(self.ietf) + 3 * usize::from(self.legacy) + 3 * usize::from(self.older_draft)
    }

    /// The fields that are lists (RFC 9651 section 3.1), to which layers add.
    pub(super) fn each_list(self, mut tell: impl FnMut(HeaderName, Field)) {
        if self.ietf {
            tell(POLICY, Field::Policy);
            tell(RATE_LIMIT, Field::State);
        }
    }

    /// Those of which an answer has one of each, whichever layers report.
    pub(super) fn each_of_one(self, mut tell: impl FnMut(HeaderName, Field)) {
        if self.legacy {
            let [limit, remaining, reset] = LEGACY;
            tell(limit, Field::Limit);
            tell(remaining, Field::Remaining);
            tell(reset, Field::Reset);
        }
        if self.older_draft {
            let [limit, remaining, reset] = OLDER;
            tell(limit, Field::OlderLimit);
            tell(remaining, Field::OlderRemaining);
            tell(reset, Field::OlderReset);
        }
    }
}

/// A map that has the fields, and nothing in them.
///
/// Most of what it costs to add a field to a map is to hash its name, a byte at a time. An answer that has no field yet takes a
/// copy of the whole map instead, in which they stand where they belong, and only the values are put in.
#[derive(Debug)]
pub(super) struct Blank {
    map: HeaderMap,
    /// The fields in the map's own order.
    fields: Vec<Field>,
}

impl Blank {
    /// The one of these fields.
    pub(super) fn of(headers: RateLimitHeaders) -> &'static Self {
        static BLANKS: [OnceLock<Blank>; 8] = [const { OnceLock::new() }; 8];
        let RateLimitHeaders { ietf, legacy, older_draft } = headers;
        let which = usize::from(ietf) | usize::from(legacy) << 1 | usize::from(older_draft) << 2;
        BLANKS[which].get_or_init(|| Self::new(headers))
    }

    fn new(headers: RateLimitHeaders) -> Self {
        let mut fields = Vec::new();
        headers.each_list(|name, field| fields.push((name, field)));
        headers.each_of_one(|name, field| fields.push((name, field)));
        let map: HeaderMap = fields.iter().map(|(name, _)| (name.clone(), HeaderValue::from_static(""))).collect();
        let fields = map.keys().filter_map(|name| fields.iter().find(|(own, _)| own == name));
        Self { fields: fields.map(|(_, field)| *field).collect(), map }
    }

    /// A copy, with these values.
    pub(super) fn filled(&self, value: impl Fn(Field) -> HeaderValue) -> HeaderMap {
        let mut map = self.map.clone();
        for (place, field) in map.values_mut().zip(&self.fields) {
            *place = value(*field);
        }
        map
    }
}
