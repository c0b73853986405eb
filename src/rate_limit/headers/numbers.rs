//! Numbers as text.

use std::cell::RefCell;
use std::sync::LazyLock;

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

/// The same, as it stands in a value.
const FOUR_AS_TEXT: &str = match std::str::from_utf8(&FOUR) {
    Ok(text) => text,
    Err(_) => panic!("digits are ASCII"),
};

/// The numbers that are told most, as values.
static SMALL: LazyLock<Box<[HeaderValue]>> = LazyLock::new(|| (0..1024).map(of_four_digits).collect());

/// As the value of a field. What limits mostly have to say has at most four digits, and is copied from nowhere: it allocates
/// nothing, and has no owners to be counted.
pub(super) fn value(number: u64) -> HeaderValue {
    if let Some(value) = usize::try_from(number).ok().and_then(|number| SMALL.get(number)) {
        return value.clone();
    }
    if number < 10_000 {
        return of_four_digits(number);
    }
    let mut line = Line::new();
    line.push_number(number);
    line.value()
}

/// At most four.
fn of_four_digits(number: u64) -> HeaderValue {
    let end = (number as usize + 1) * 4;
    HeaderValue::from_static(FOUR_AS_TEXT.get(end - digits(number)..end).unwrap_or("0"))
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

/// The last so many of the four digits of a number below 10,000, the first of them in the lowest byte.
fn last_of_four(number: u64, digits: usize) -> u64 {
    let at = number as usize * 4;
    let mut four = [0; 4];
    four.copy_from_slice(&FOUR[at..at + 4]);
    u64::from(u32::from_le_bytes(four) >> (8 * (4 - digits)))
}

/// A short text, with room for what it begins with, and for two numbers of any size and what stands before each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    text: [u8; LENGTH],
    end: usize,
}

const LENGTH: usize = 96;

/// How long the beginning of a line may be: two numbers have at most 23 bytes each, and the last of them is written with up to
/// seven bytes to spare.
const LONGEST_BEGINNING: usize = LENGTH - 2 * 23 - 7;

impl Line {
    pub(super) fn new() -> Self {
        Self { text: [0; LENGTH], end: 0 }
    }

    /// None where the text is too long.
    pub(super) fn beginning(text: &str) -> Option<Self> {
        let mut line = Self::new();
        if text.len() > LONGEST_BEGINNING {
            return None;
        }
        line.text[..text.len()].copy_from_slice(text.as_bytes());
        line.end = text.len();
        Some(line)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.end]
    }

    /// Of visible ASCII.
    pub(super) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static(""))
    }

    /// Writes `;r=42` and the like.
    pub(super) fn push(&mut self, [semicolon, name, equals]: [u8; 3], number: u64) {
        let key = u64::from(u32::from_le_bytes([semicolon, name, equals, 0]));
        if number < 10_000 {
            let digits = digits(number);
            return self.push_eight(key | last_of_four(number, digits) << 24, 3 + digits);
        }
        self.push_eight(key, 3);
        self.push_number(number);
    }

    pub(super) fn push_number(&mut self, number: u64) {
        if number < 10_000 {
            let digits = digits(number);
            return self.push_eight(last_of_four(number, digits), digits);
        }
        self.push_number(number / 10_000);
        self.push_eight(last_of_four(number % 10_000, 4), 4);
    }

    /// The first so many of eight bytes, and what is written over by whatever comes next.
    fn push_eight(&mut self, bytes: u64, count: usize) {
        self.text[self.end..self.end + 8].copy_from_slice(&bytes.to_le_bytes());
        self.end += count;
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
            for beginning in [String::new(), "b".repeat(LONGEST_BEGINNING)] {
                let mut line = Line::beginning(&beginning).unwrap();
                line.push(*b";r=", number);
                line.push(*b";t=", number);
                assert_eq!(line.value(), *format!("{beginning};r={number};t={number}"));
            }
        }
    }

    #[test]
    fn a_line_does_not_begin_with_more_than_leaves_room_for_its_numbers() {
        assert!(Line::beginning(&"b".repeat(LONGEST_BEGINNING + 1)).is_none());
    }

    #[test]
    fn a_date_is_written_once_and_not_mistaken_for_the_one_a_while_ago() {
        let (one, again, later) = (date(1_795_251_163), date(1_795_251_163), date(1_795_251_163 + 64));
        assert_eq!(one.as_bytes().as_ptr(), again.as_bytes().as_ptr());
        assert_eq!((one, later), ("1795251163".parse().unwrap(), "1795251227".parse().unwrap()));
    }
}
