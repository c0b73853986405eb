//! What both directions of HTTP/1.1 have in common (RFC 9112): fields, and the bodies of messages that are received.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod names;

/// Bytes that no HTTP message may hold where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// How the body of a message is framed (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; none for a message without a body.
    Length(u64),
    Chunked,
    /// Up to the end of the connection.
    UntilClose,
}

/// A number of digits alone (RFC 9110 section 8.6). `None` for anything else, and for what no `u64` holds.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "+1", "-1", " 1", "1 ", "1,1", "0x1", "1.0", "18446744073709551616", "99999999999999999999999"]
        {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
