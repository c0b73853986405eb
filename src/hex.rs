//! Lower-case hexadecimal text, which ids and trace contexts are written in.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` as text, two digits each. `text` is twice as long.
pub(crate) fn write(bytes: &[u8], text: &mut [u8]) {
    debug_assert_eq!(text.len(), bytes.len() * 2);
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

/// The digit of a number below 16.
pub(crate) fn digit(number: u8) -> char {
    char::from(DIGITS[usize::from(number & 0x0f)])
}

/// True for text of digits that [`write`] would write: upper case is none.
pub(crate) fn is_lower(text: &[u8]) -> bool {
    // Without an early end the loop is a few vector instructions.
    text.iter().fold(true, |all, digit| all & matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}
