//! What one answer is told, as text.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;

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
        // With a name of the usual length this is one allocation, with the count of who shares it.
        let mut text: SmallVec<[u8; 96]> = SmallVec::with_capacity(state.len() + 3 * DIGITS + 3);
        text.extend_from_slice(state.as_bytes());
        let remaining = push(&mut text, remaining);
        text.extend_from_slice(b";t=");
        let resets_in = push(&mut text, resets_in);
        let resets_at = resets_at.map_or(0..0, |at| push(&mut text, at));
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

    fn value(&self, part: Range<usize>) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.text.slice(part)).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Writes a number, and says where it stands.
fn push(text: &mut SmallVec<[u8; 96]>, number: u64) -> Range<usize> {
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
    let start = text.len();
    text.extend_from_slice(&digits[first..]);
    start..text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1_234_567_890, u64::MAX] {
            for name in ["x", &"a name that needs more than a hundred bytes ".repeat(3)] {
                let told = Told::new(&format!("\"{name}\";r="), number, number, Some(number));
                assert_eq!(told.state(), format!("\"{name}\";r={number};t={number}"));
                let values = [told.remaining(), told.resets_in(), told.resets_at()];
                assert!(values.iter().all(|value| *value == number.to_string()), "{values:?}");
            }
        }
    }
}
