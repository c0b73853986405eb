//! What one answer is told, as text.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

/// A `u64` has no more digits.
const DIGITS: usize = 20;

/// Numbers of one answer, written once, in one piece of memory: `"name";r=42;t=18` has in it what the other fields say, and
/// what they say besides comes behind it.
pub(super) struct Told {
    text: Bytes,
    remaining: Range<usize>,
    resets_in: Range<usize>,
    resets_at: Range<usize>,
}

impl Told {
    /// Behind `state`, which is as far as `r=`. Times are in seconds, from now and since 1970.
    pub(super) fn new(state: &str, remaining: u64, resets_in: u64, resets_at: Option<u64>) -> Self {
        if state.len() <= Short::STATE {
            Self::written(Short { bytes: [0; Short::LENGTH], length: 0 }, state, remaining, resets_in, resets_at)
        } else {
            Self::written(Vec::new(), state, remaining, resets_in, resets_at)
        }
    }

    fn written<T: Text>(mut text: T, state: &str, remaining: u64, resets_in: u64, resets_at: Option<u64>) -> Self {
        text.push(state.as_bytes());
        let remaining = push_number(&mut text, remaining);
        text.push(b";t=");
        let resets_in = push_number(&mut text, resets_in);
        let resets_at = resets_at.map_or(0..0, |at| push_number(&mut text, at));
        Self { text: Bytes::from_owner(text), remaining, resets_in, resets_at }
    }

    /// The value of `RateLimit`.
    pub(super) fn state(&self) -> HeaderValue {
        self.value(0..self.resets_in.end)
    }

    pub(super) fn remaining(&self) -> HeaderValue {
        self.value(self.remaining.clone())
    }

    pub(super) fn resets_in(&self) -> HeaderValue {
        self.value(self.resets_in.clone())
    }

    pub(super) fn resets_at(&self) -> HeaderValue {
        self.value(self.resets_at.clone())
    }

    #[inline]
    fn value(&self, part: Range<usize>) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.text.slice(part)).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Where text is written.
trait Text: AsRef<[u8]> + Send + 'static {
    fn push(&mut self, more: &[u8]);
}

impl Text for Vec<u8> {
    fn push(&mut self, more: &[u8]) {
        self.extend_from_slice(more);
    }
}

/// Text behind a name of the usual length, which becomes one allocation together with the count of who shares it.
struct Short {
    bytes: [u8; Self::LENGTH],
    length: usize,
}

impl Short {
    const STATE: usize = 45;
    const LENGTH: usize = Self::STATE + 3 * DIGITS + b";t=".len();
}

impl Text for Short {
    #[inline]
    fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        self.bytes[self.length..end].copy_from_slice(more);
        self.length = end;
    }
}

impl AsRef<[u8]> for Short {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Writes a number, and says where it stands.
#[inline]
fn push_number(text: &mut impl Text, number: u64) -> Range<usize> {
    let mut digits = [0; DIGITS];
    let mut first = DIGITS;
    let mut rest = number;
    // Two at a time: half the divisions.
    while rest >= 10 {
        first -= 2;
        let pair = (rest % 100) as u8;
        digits[first..first + 2].copy_from_slice(&[b'0' + pair / 10, b'0' + pair % 10]);
        rest /= 100;
    }
    if rest > 0 || first == DIGITS {
        first -= 1;
        digits[first] = b'0' + rest as u8;
    }
    let start = text.as_ref().len();
    text.push(&digits[first..]);
    start..start + DIGITS - first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full_behind_a_name_of_any_length() {
        for number in [0, 7, 10, 99, 100, 1_234_567_890, u64::MAX] {
            for length in [0, 1, Short::STATE - 5, Short::STATE - 4, 500] {
                let name = "x".repeat(length);
                let told = Told::new(&format!("\"{name}\";r="), number, number, Some(number));
                assert_eq!(told.state(), format!("\"{name}\";r={number};t={number}"));
                let values = [told.remaining(), told.resets_in(), told.resets_at()];
                assert!(values.iter().all(|value| *value == number.to_string()), "{values:?}");
            }
        }
    }
}
