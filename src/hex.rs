//! Lower-case hexadecimal text, which ids and trace contexts are written in.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` as text, two digits each. `text` is twice as long.
pub(crate) fn write(bytes: &[u8], text: &mut [u8]) {
    debug_assert_eq!(text.len(), bytes.len() * 2);
    let (fours, rest) = bytes.as_chunks::<4>();
    let (eights, pairs) = text.split_at_mut(fours.len() * 8);
    for (four, eight) in fours.iter().zip(eights.chunks_exact_mut(8)) {
        eight.copy_from_slice(&eight_digits(u32::from_be_bytes(*four)).to_be_bytes());
    }
    for (byte, pair) in rest.iter().zip(pairs.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

/// The digits of a number, all at once, the first one in the highest byte.
fn eight_digits(number: u32) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Half of what is there moves away from the other half, until every digit has a byte of its own.
    let spread = u64::from(number);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Those from 10 on have a carry when 6 is added.
    let letters = (spread + 6 * EACH) >> 4 & EACH;
    spread + u64::from(b'0') * EACH + letters * u64::from(b'a' - b'0' - 10)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_those_that_formatting_writes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut text = vec![0; bytes.len() * 2];
            write(&bytes, &mut text);
            let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
            prop_assert!(is_lower(&text));
        }
    }
}
