//! Numbers as text.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderValue;

/// All numbers of four digits, one behind the other.
static FOUR: [u8; 40_000] = {
    let mut text = [b'0'; 40_000];
    let mut number = 0;
    while number < 10_000 {
        let (mut at, mut rest) = (number * 4 + 4, number);
        while rest > 0 {
            at -= 1;
            text[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        number += 1;
    }
    text
};

/// As the value of a field. What limits mostly have to say has at most four digits, and is copied from nowhere: it allocates
/// nothing, and has no owners to be counted.
pub(super) fn value(number: u64) -> HeaderValue {
    if number < 10_000 {
        let end = (number as usize + 1) * 4;
        return super::value(Bytes::from_static(&FOUR[end - digits(number)..end]));
    }
    let mut line = Line::new();
    line.push_number(number);
    super::value(Bytes::copy_from_slice(line.as_bytes()))
}

/// Of a date in seconds, as the value of a field. It stays the same for a second, and is written once for all that a thread answers
/// meanwhile.
pub(super) fn date(seconds: u64) -> HeaderValue {
    /// The dates of as many seconds in a row.
    const REMEMBERED: usize = 64;
    thread_local! {
        static WRITTEN: RefCell<Vec<(u64, HeaderValue)>> = const { RefCell::new(Vec::new()) };
    }
    let remembered = |written: &RefCell<Vec<(u64, HeaderValue)>>| {
        let mut written = written.try_borrow_mut().ok()?;
        if written.is_empty() {
            written.resize(REMEMBERED, (0, HeaderValue::from_static("0")));
        }
        let (of, text) = written.get_mut(seconds as usize % REMEMBERED)?;
        if *of != seconds {
            (*of, *text) = (seconds, value(seconds));
        }
        Some(text.clone())
    };
    // A thread that ends has nothing left to remember by.
    WRITTEN.try_with(remembered).ok().flatten().unwrap_or_else(|| value(seconds))
}

/// How many a number below 10,000 has.
fn digits(number: u64) -> usize {
    1 + usize::from(number > 9) + usize::from(number > 99) + usize::from(number > 999)
}

/// A short text, with room for two numbers of any size, what stands before each, and three bytes to spare.
pub(super) struct Line {
    text: [u8; 64],
    end: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { text: [0; 64], end: 0 }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.end]
    }

    /// Writes `;r=` and the like.
    pub(super) fn push(&mut self, text: [u8; 3]) {
        self.text[self.end..self.end + 3].copy_from_slice(&text);
        self.end += 3;
    }

    pub(super) fn push_number(&mut self, number: u64) {
        if number < 10_000 {
            return self.push_four(number, digits(number));
        }
        self.push_number(number / 10_000);
        self.push_four(number % 10_000, 4);
    }

    /// The last `digits` of four, and what is written over by whatever comes next.
    fn push_four(&mut self, number: u64, digits: usize) {
        let four = number as usize * 4;
        let mut text = [0; 4];
        text.copy_from_slice(&FOUR[four..four + 4]);
        let text = u32::from_le_bytes(text) >> (8 * (4 - digits));
        self.text[self.end..self.end + 4].copy_from_slice(&text.to_le_bytes());
        self.end += digits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full_and_without_leading_zeros() {
        let powers = (1..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power / 9 * 7]);
        for number in (0..=10_100).chain(around).chain([1_795_251_163, u64::MAX]) {
            let text = number.to_string();
            assert_eq!(value(number), *text);
            assert_eq!(date(number), *text);
            let mut line = Line::new();
            for _ in 0..2 {
                line.push(*b";r=");
                line.push_number(number);
            }
            assert_eq!(line.as_bytes(), format!(";r={number};r={number}").as_bytes());
        }
    }

    #[test]
    fn a_date_is_written_once_and_not_mistaken_for_the_one_a_while_ago() {
        let (one, again, later) = (date(1_795_251_163), date(1_795_251_163), date(1_795_251_163 + 64));
        assert_eq!(one.as_bytes().as_ptr(), again.as_bytes().as_ptr());
        assert_eq!((one, later), ("1795251163".parse().unwrap(), "1795251227".parse().unwrap()));
    }
}
