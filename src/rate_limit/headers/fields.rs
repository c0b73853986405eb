//! The fields of one configuration, ready to be copied.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{LEGACY, OLDER, POLICY, RATE_LIMIT, RateLimitHeaders};

/// What a field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Policy,
    State,
    Limit,
    Remaining,
    /// As a date.
    ResetsAt,
    /// As a time from now.
    ResetsIn,
}

/// Which fields answers carry, and a map that has them.
///
/// Most of what it costs to add a field to a map is to hash its name, a byte at a time. An answer that has no field yet takes a
/// copy of the whole map instead, in which they stand where they belong, and only the values are put in.
#[derive(Clone, Debug)]
pub(in crate::rate_limit) struct Fields {
    pub(in crate::rate_limit) headers: RateLimitHeaders,
    map: HeaderMap,
    /// What the fields say, in the map's own order.
    says: Vec<Says>,
}

impl Fields {
    pub(in crate::rate_limit) fn new(headers: RateLimitHeaders) -> Self {
        let mut map = HeaderMap::new();
        let fields: Vec<_> = headers.fields().collect();
        map.extend(fields.iter().map(|(name, _)| ((*name).clone(), HeaderValue::from_static(""))));
        let says = map.keys().filter_map(|name| fields.iter().find(|(own, _)| *own == name));
        let says = says.map(|(_, says)| *says).collect();
        Self { headers, map, says }
    }

    /// Writes the fields into a map that is empty.
    pub(super) fn write(&self, map: &mut HeaderMap, value: impl Fn(Says) -> HeaderValue) {
        *map = self.map.clone();
        for (place, says) in map.values_mut().zip(&self.says) {
            *place = value(*says);
        }
    }
}

impl RateLimitHeaders {
    /// Which fields these are.
    pub(super) fn fields(self) -> impl Iterator<Item = (&'static HeaderName, Says)> {
        let ietf = [(&POLICY, Says::Policy), (&RATE_LIMIT, Says::State)];
        ietf.into_iter().filter(move |_| self.ietf).chain(self.of_one())
    }

    /// Those of which an answer has one of each, whichever layers report.
    pub(super) fn of_one(self) -> impl Iterator<Item = (&'static HeaderName, Says)> {
        let three = |names: &'static [HeaderName; 3], reset| names.iter().zip([Says::Limit, Says::Remaining, reset]);
        let legacy = three(&LEGACY, Says::ResetsAt).filter(move |_| self.legacy);
        legacy.chain(three(&OLDER, Says::ResetsIn).filter(move |_| self.older_draft))
    }
}
