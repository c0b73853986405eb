//! Sets of header names, in every spelling an origin may take for the same.

mod forwarding;

pub(crate) use self::forwarding::{FORWARDING, FORWARDING_NAMES};

use std::fmt;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A set of header names that also matches their other spellings.
///
/// Case is folded by [`HeaderName`] already. CGI and its descendants (RFC 3875 section 4.1.18) also turn `-` into `_`,
/// so to many origins `X_User_Id` is `X-User-Id`: a gateway that removes one and lets the other pass has removed nothing.
#[derive(Clone, Default)]
pub struct NameSet {
    names: Vec<HeaderName>,
    /// One bit for each length that a name has, 63 for those that are longer: most names are dismissed by that.
    lengths: u64,
    /// One bit for what each name's ends come to: most of the others are dismissed by that.
    ends: u64,
    /// The marks of the names, one bit each: a second test dismisses nearly every other name that is not in the set.
    marks: [u64; 16],
}

impl NameSet {
    /// The set of `names`.
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        let (mut lengths, mut ends, mut marks) = (0, 0, [0; 16]);
        for name in &names {
            lengths |= length_bit(name);
            ends |= ends_bit(name);
            let (word, bit) = mark(name);
            marks[word] |= bit;
        }
        Self { names, lengths, ends, marks }
    }

    /// True when the set is empty.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// True when `name`, in any spelling, is in the set.
    pub fn contains(&self, name: &HeaderName) -> bool {
        if self.lengths & length_bit(name) == 0 || self.ends & ends_bit(name) == 0 {
            return false;
        }
        let (word, bit) = mark(name);
        self.marks[word] & bit != 0 && self.names.iter().any(|own| same_name(own.as_str(), name.as_str()))
    }

    /// Removes every field of the set from `headers`, in one pass, which allocates nothing where there is one or none.
    pub fn remove_from(&self, headers: &mut HeaderMap) {
        // A map cannot be changed while it is walked. One walk for all of them, not one for each: whoever sends a thousand
        // fields in a hundred spellings chooses how often it would be walked.
        let mut found = headers.keys().filter(|name| self.contains(name));
        let Some(first) = found.next().cloned() else { return };
        // Hardly ever are there more, and no place is made for none.
        let more: Vec<_> = found.cloned().collect();
        for name in std::iter::once(first).chain(more) {
            headers.remove(name);
        }
    }
}

impl FromIterator<HeaderName> for NameSet {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        Self::new(names)
    }
}

impl fmt::Debug for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.names).finish()
    }
}

/// Sets a field that a layer has for the origin, and sees to it that it gets there: a client that names it in `Connection`
/// would have it removed at the end of the stack, as a field of the client's own (RFC 9110 section 7.6.1).
pub(crate) fn set_for_origin(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    ForOrigin::of(headers).set(name, value);
}

/// The same for several fields.
pub(crate) struct ForOrigin<'a> {
    headers: &'a mut HeaderMap,
    may_be_named: bool,
}

impl<'a> ForOrigin<'a> {
    pub(crate) fn of(headers: &'a mut HeaderMap) -> Self {
        Self { may_be_named: headers.contains_key(CONNECTION), headers }
    }

    pub(crate) fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
        if self.may_be_named {
            take_from_connection(self.headers, name);
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// Removes a field that is hardly ever there, which a walk over the names shows sooner than a look into the map.
    pub(crate) fn remove(&mut self, name: &HeaderName) {
        if self.headers.keys().any(|own| own == name) {
            self.headers.remove(name);
        }
    }
}

/// Sees to it that `Connection` does not name `name`.
fn take_from_connection(headers: &mut HeaderMap, name: &HeaderName) {
    let options = |line: &HeaderValue| -> Vec<Vec<u8>> {
        line.as_bytes().split(|byte| *byte == b',').map(|option| option.trim_ascii().to_vec()).collect()
    };
    let names_it = |option: &[u8]| option.eq_ignore_ascii_case(name.as_str().as_bytes());
    let is_named = headers
        .get_all(CONNECTION)
        .iter()
        .any(|line| line.as_bytes().split(|byte| *byte == b',').any(|option| names_it(option.trim_ascii())));
    if is_named {
        let kept: Vec<_> =
            headers.get_all(CONNECTION).iter().flat_map(options).filter(|option| !names_it(option)).collect();
        headers.remove(CONNECTION);
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(kept.join(&b", "[..]))) {
            headers.insert(CONNECTION, value);
        }
    }
}

fn length_bit(name: &HeaderName) -> u64 {
    1 << name.as_str().len().min(63)
}

fn ends_bit(name: &HeaderName) -> u64 {
    let bytes = name.as_str().as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return 1 };
    1 << ((fold(*first).wrapping_mul(7) ^ fold(*last)) % 64)
}

/// One of 1024 bits, the same for every spelling of a name: what its length, ends and middle come to.
fn mark(name: &HeaderName) -> (usize, u64) {
    let bytes = name.as_str().as_bytes();
    let at = |index: usize| bytes.get(index).map_or(0, |byte| u32::from(fold(*byte)));
    let (length, last) = (bytes.len() as u32, bytes.len().saturating_sub(1));
    let sum = length | at(0) << 8 | at(bytes.len() / 2) << 16 | at(last) << 24;
    // Multiplied by 2^32 over the golden ratio, the upper bits depend on all of them.
    let mark = sum.wrapping_mul(0x9e37_79b9) >> 22;
    ((mark >> 6) as usize, 1 << (mark & 63))
}

fn same_name(own: &str, other: &str) -> bool {
    own.len() == other.len() && own.bytes().map(fold).eq(other.bytes().map(fold))
}

fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
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
    fn long_names_that_differ_in_one_byte_are_told_apart() {
        let long = |last: &str| HeaderName::from_bytes(format!("{}{last}", "x".repeat(70)).as_bytes()).unwrap();
        let set = NameSet::new([long("a")]);
        assert!(set.contains(&long("a")));
        assert!(!set.contains(&long("b")));
    }

    #[test]
    fn every_spelling_has_the_same_mark() {
        for (own, other) in [("a-b", "a_b"), ("-a-b-", "_a_b_"), ("a", "a"), ("x-real-ip", "x_real_ip")] {
            let (own, other) = (HeaderName::from_static(own), HeaderName::from_static(other));
            assert_eq!(mark(&own), mark(&other));
            assert!(NameSet::new([own]).contains(&other));
        }
    }
}
