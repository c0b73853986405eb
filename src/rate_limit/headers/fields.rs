//! The fields of a configuration.

use http::HeaderName;

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
