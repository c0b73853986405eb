//! Which of the fields that framing and hops hang on a head has.

use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HOST, HeaderMap, HeaderName, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};

/// A set of such fields. Nearly every head lacks nearly all of them, and one walk over the names it has costs less than
/// to look up a single one that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known(u16);

impl Known {
    pub(crate) const CONNECTION: Self = Self(1);
    pub(crate) const CONTENT_LENGTH: Self = Self(1 << 1);
    pub(crate) const DATE: Self = Self(1 << 2);
    pub(crate) const EXPECT: Self = Self(1 << 3);
    pub(crate) const HOST: Self = Self(1 << 4);
    pub(crate) const TE: Self = Self(1 << 5);
    pub(crate) const TRANSFER_ENCODING: Self = Self(1 << 6);
    pub(crate) const UPGRADE: Self = Self(1 << 7);
    pub(crate) const VIA: Self = Self(1 << 8);
    /// Any other that concerns one connection and never the next.
    pub(crate) const OTHER_HOP: Self = Self(1 << 9);

    /// Those of RFC 9110 section 7.6.1, whatever begins with `Proxy-`, and `Proxy` itself, which CGI would turn into the
    /// variable HTTP_PROXY.
    pub(crate) const HOP_BY_HOP: Self =
        Self::CONNECTION.and(Self::TE).and(Self::TRANSFER_ENCODING).and(Self::UPGRADE).and(Self::OTHER_HOP);

    /// Those that `headers` has.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self(0), |known, name| Self(known.0 | Self::from(name).0))
    }

    /// True when any of `fields` is in the set.
    pub(crate) fn any(self, fields: Self) -> bool {
        self.0 & fields.0 != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<&HeaderName> for Known {
    fn from(name: &HeaderName) -> Self {
        match *name {
            CONNECTION => Self::CONNECTION,
            CONTENT_LENGTH => Self::CONTENT_LENGTH,
            DATE => Self::DATE,
            EXPECT => Self::EXPECT,
            HOST => Self::HOST,
            TE => Self::TE,
            TRANSFER_ENCODING => Self::TRANSFER_ENCODING,
            UPGRADE => Self::UPGRADE,
            VIA => Self::VIA,
            _ if is_other_hop(name.as_str()) => Self::OTHER_HOP,
            _ => Self(0),
        }
    }
}

fn is_other_hop(name: &str) -> bool {
    match name.as_bytes()[0] {
        b'k' => name == "keep-alive",
        b'p' => name == "proxy" || name.starts_with("proxy-") || name.starts_with("proxy_"),
        b'h' => name == "http2-settings",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn each_field_is_itself_and_no_other() {
        let fields = [
            (CONNECTION, Known::CONNECTION),
            (CONTENT_LENGTH, Known::CONTENT_LENGTH),
            (DATE, Known::DATE),
            (EXPECT, Known::EXPECT),
            (HOST, Known::HOST),
            (TE, Known::TE),
            (TRANSFER_ENCODING, Known::TRANSFER_ENCODING),
            (UPGRADE, Known::UPGRADE),
            (VIA, Known::VIA),
            (HeaderName::from_static("keep-alive"), Known::OTHER_HOP),
            (HeaderName::from_static("proxy_x"), Known::OTHER_HOP),
        ];
        for (name, own) in &fields {
            let headers = HeaderMap::from_iter([
                (HeaderName::from_static("x-other"), HeaderValue::from_static("1")),
                (name.clone(), HeaderValue::from_static("1")),
            ]);
            let known = Known::of(&headers);
            for (_, field) in &fields {
                assert_eq!(known.any(*field), field == own, "{name}");
            }
        }
    }
}
