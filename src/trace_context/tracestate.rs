//! The list in `tracestate` (W3C Trace Context section 3.3): read, checked, and cut to what a hop has to pass on.

use http::HeaderValue;
use http::header::GetAll;

const MAX_MEMBERS: usize = 32;
/// What a hop has to pass on at the least ("tracestate Limits"); this one passes on no more.
const MAX_LENGTH: usize = 512;
/// A member longer than this is among the first to go ("tracestate Limits").
const LARGE_MEMBER: usize = 128;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// The lines as one list. `None` when nothing is in it or anything in it is malformed.
pub(super) fn read(lines: GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut others = lines.iter();
    let first = others.next()?;
    let mut list = List::default();
    list.read_line(first.as_bytes())?;
    let mut is_one_line = true;
    for line in others {
        list.read_line(line.as_bytes())?;
        is_one_line = false;
    }
    if is_one_line && list.is_as_written && first.len() <= MAX_LENGTH {
        return Some(first.clone());
    }
    list.shorten();
    list.join()
}

/// Members as slices of the lines they came in, so that a list that passes as it is costs no allocation.
struct List<'a> {
    members: [&'a [u8]; MAX_MEMBERS],
    kept: usize,
    read: usize,
    is_as_written: bool,
}

impl Default for List<'_> {
    fn default() -> Self {
        Self { members: [&[]; MAX_MEMBERS], kept: 0, read: 0, is_as_written: true }
    }
}

impl<'a> List<'a> {
    fn read_line(&mut self, line: &'a [u8]) -> Option<()> {
        for member in line.split(|&byte| byte == b',') {
            let member = trim(member);
            // Empty members are allowed (the grammar of `list-member`), and not passed on.
            if member.is_empty() {
                self.is_as_written = false;
                continue;
            }
            let key_and_equals = key_and_equals(member)?;
            self.read += 1;
            if self.read > MAX_MEMBERS {
                return None;
            }
            if self.members().iter().any(|other| other.starts_with(key_and_equals)) {
                self.is_as_written = false;
                continue;
            }
            self.members[self.kept] = member;
            self.kept += 1;
        }
        Some(())
    }

    fn members(&self) -> &[&'a [u8]] {
        &self.members[..self.kept]
    }

    /// The length of the members with a comma between each two.
    fn length(&self) -> usize {
        let commas = self.kept.saturating_sub(1);
        self.members().iter().map(|member| member.len()).sum::<usize>() + commas
    }

    fn shorten(&mut self) {
        while self.length() > MAX_LENGTH {
            let last_large = self.members().iter().rposition(|member| member.len() > LARGE_MEMBER);
            let dropped = last_large.unwrap_or(self.kept - 1);
            self.members.copy_within(dropped + 1..self.kept, dropped);
            self.kept -= 1;
        }
    }

    fn join(&self) -> Option<HeaderValue> {
        if self.kept == 0 {
            return None;
        }
        HeaderValue::try_from(self.members().join(&b',')).ok()
    }
}

/// The key of a member with its equals sign, which no other key with its own begins with. `None` when the member is
/// malformed.
///
/// The grammar is level 2's, in which `@` is a character of a key like others; level 1's is a part of it.
fn key_and_equals(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let starts_a_key = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let is_key = key.first().copied().is_some_and(starts_a_key)
        && key.len() <= MAX_KEY
        && key.iter().all(|&byte| starts_a_key(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@'));
    // A space may not end a value, and does not: the member was trimmed.
    let is_value = (1..=MAX_VALUE).contains(&value.len())
        && value.iter().all(|&byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=');
    (is_key && is_value).then_some(&member[..=equals])
}

/// Without the optional white space around it (RFC 9110 section 5.6.3).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
