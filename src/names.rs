//! Sets of header names, in every spelling an origin may take for the same.

use http::{HeaderMap, HeaderName};

/// A set of header names that also matches their other spellings.
///
/// Case is folded by [`HeaderName`] already. CGI and its descendants (RFC 3875 section 4.1.18) also turn `-` into `_`,
/// so to many origins `X_User_Id` is `X-User-Id`: a gateway that removes one and lets the other pass has removed nothing.
#[derive(Clone, Debug, Default)]
pub struct NameSet {
    names: Vec<HeaderName>,
    /// Bit `n` is set when a name of `n` bytes is in the set (63 stands for all longer ones): one test dismisses most.
    lengths: u64,
}

impl NameSet {
    /// The set of `names`.
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        let lengths = names.iter().fold(0, |bits, name| bits | length_bit(name));
        Self { names, lengths }
    }

    /// True when the set is empty.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// True when `name`, in any spelling, is in the set.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.lengths & length_bit(name) != 0 && self.names.iter().any(|own| same_name(own.as_str(), name.as_str()))
    }

    /// Removes every field of the set from `headers`, in one pass where there is none.
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        // A map cannot be changed while it is walked, and a field to remove is rare: look first.
        while let Some(name) = headers.keys().find(|name| self.contains(name)).cloned() {
            headers.remove(name);
        }
    }
}

impl FromIterator<HeaderName> for NameSet {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        Self::new(names)
    }
}

fn length_bit(name: &HeaderName) -> u64 {
    1 << name.as_str().len().min(63)
}

fn same_name(own: &str, other: &str) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    own.len() == other.len() && own.bytes().map(fold).eq(other.bytes().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn underscores_are_another_spelling_of_dashes() {
        let set = NameSet::new([HeaderName::from_static("x-user-id")]);
        let mut headers = HeaderMap::new();
        for name in ["x_user_id", "X-User_Id", "x-user-id", "x-user-idd", "xuserid"] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("v"));
        }
        set.remove_from(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-user-idd", "xuserid"]);
    }

    #[test]
    fn names_longer_than_the_length_filter_are_still_told_apart() {
        let long = |last: &str| HeaderName::from_bytes(format!("{}{last}", "x".repeat(70)).as_bytes()).unwrap();
        let set = NameSet::new([long("a")]);
        assert!(set.contains(&long("a")));
        assert!(!set.contains(&long("b")));
    }
}
