//! The lines of a field that may have one alone.

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue};

/// How often a field is on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines<'a> {
    None,
    One(&'a HeaderValue),
    /// Which of them counts, nobody can know.
    Several,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(headers: &'a HeaderMap, name: impl AsHeaderName) -> Self {
        // A head without any field twice, as nearly all are, costs one look into the map.
        if headers.len() == headers.keys_len() {
            return headers.get(name).map_or(Self::None, Self::One);
        }
        let mut lines = headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::None,
            (Some(line), None) => Self::One(line),
            (Some(_), Some(_)) => Self::Several,
        }
    }

    /// The line, when it is the only one.
    pub(crate) fn only(self) -> Option<&'a HeaderValue> {
        match self {
            Self::One(line) => Some(line),
            Self::None | Self::Several => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_told_from_none_and_from_several() {
        let one = HeaderValue::from_static("1");
        let mut headers = HeaderMap::new();
        headers.append("a", one.clone());
        assert_eq!((Lines::of(&headers, "a"), Lines::of(&headers, "b")), (Lines::One(&one), Lines::None));
        headers.append("b", one.clone());
        headers.append("b", one.clone());
        assert_eq!((Lines::of(&headers, "a"), Lines::of(&headers, "b")), (Lines::One(&one), Lines::Several));
        assert_eq!(Lines::of(&headers, "c"), Lines::None);
        assert_eq!((Lines::of(&headers, "a").only(), Lines::of(&headers, "b").only()), (Some(&one), None));
    }
}
