//! Where a message ends, in one way only (RFC 9112 section 6).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

use super::refusal::Refusal;
use crate::known::Known;

const BOTH: Refusal = Refusal::of_message("Content-Length and Transfer-Encoding exclude each other");
const NOT_IN_1_1: Refusal = Refusal::of_message("Transfer-Encoding is for HTTP/1.1 alone");
const NOT_PLAIN: Refusal = Refusal::of_message("Transfer-Encoding has to be one plain \"chunked\"");
const UNKNOWN_CODING: Refusal = Refusal::not_implemented("this transfer coding is not supported").closing();
const NOT_A_LENGTH: Refusal = Refusal::of_message("Content-Length has to be one decimal number");

/// Refuses every framing but a single `Transfer-Encoding: chunked` of HTTP/1.1, or a single decimal `Content-Length`.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    if !Known::of(headers).any(Known::CONTENT_LENGTH.and(Known::TRANSFER_ENCODING)) {
        return Ok(());
    }
    check_stated(version, headers)
}

#[inline(never)]
fn check_stated(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // RFC 9112 section 6.1: in HTTP/1.0 it is faulty framing; RFC 9113 section 8.2.2: in HTTP/2 it is malformed.
        if version != Version::HTTP_11 {
            return Err(NOT_IN_1_1);
        }
        if length.is_some() {
            return Err(BOTH);
        }
        if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
            return Ok(());
        }
        return Err(unsupported(headers));
    }
    // RFC 9110 section 8.6 lets a recipient take a repeated length for one; whoever is behind us may take another.
    match length {
        None => Ok(()),
        Some(length) if lengths.next().is_none() && is_length(length.as_bytes()) => Ok(()),
        Some(_) => Err(NOT_A_LENGTH),
    }
}

/// RFC 9112 section 6.1: a coding that is not understood is a 501; whatever else is wrong is a 400.
fn unsupported(headers: &HeaderMap) -> Refusal {
    let lines = headers.get_all(TRANSFER_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let is_unknown = |coding: &[u8]| {
        let name = coding.split(|byte| *byte == b';').next().unwrap_or(coding).trim_ascii_end();
        !name.eq_ignore_ascii_case(b"chunked") && !name.is_empty() && name.iter().all(|byte| is_token(*byte))
    };
    if codings.any(is_unknown) { UNKNOWN_CODING } else { NOT_PLAIN }
}

/// `1*DIGIT` that a u64 can hold. `str::parse` would take a sign as well.
fn is_length(value: &[u8]) -> bool {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits && std::str::from_utf8(value).is_ok_and(|value| value.parse::<u64>().is_ok())
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn of(version: Version, lines: &[(HeaderName, &[u8])]) -> Result<(), (u16, bool)> {
        let value = |value: &[u8]| HeaderValue::from_bytes(value).unwrap();
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(name, value(line));
        }
        check(version, &headers).map_err(Refusal::what)
    }

    fn transfer_encoding(lines: &[&str]) -> Result<(), (u16, bool)> {
        let lines: Vec<_> = lines.iter().map(|line| (TRANSFER_ENCODING, line.as_bytes())).collect();
        of(Version::HTTP_11, &lines)
    }

    fn content_length(lines: &[&str]) -> Result<(), (u16, bool)> {
        let lines: Vec<_> = lines.iter().map(|line| (CONTENT_LENGTH, line.as_bytes())).collect();
        of(Version::HTTP_11, &lines)
    }

    #[test]
    fn one_length_or_plain_chunked_or_no_body_passes() {
        assert_eq!(content_length(&[]), Ok(()));
        for length in ["0", "5", "0005", "18446744073709551615"] {
            assert_eq!(content_length(&[length]), Ok(()), "{length}");
        }
        assert_eq!(transfer_encoding(&["chunked"]), Ok(()));
        assert_eq!(transfer_encoding(&["Chunked"]), Ok(()));
    }

    #[test]
    fn a_length_that_is_not_one_decimal_number_is_a_400() {
        for length in ["", "+5", "-5", "5 5", "5,5", "5, 5", "0x5", "5.0", "18446744073709551616"] {
            assert_eq!(content_length(&[length]), Err((400, true)), "{length}");
        }
        assert_eq!(content_length(&["5", "5"]), Err((400, true)));
        assert_eq!(content_length(&["5", "6"]), Err((400, true)));
    }

    #[test]
    fn an_unknown_transfer_coding_is_a_501() {
        for coding in ["gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked", "x;q=1, chunked"] {
            assert_eq!(transfer_encoding(&[coding]), Err((501, true)), "{coding}");
        }
        assert_eq!(transfer_encoding(&["gzip", "chunked"]), Err((501, true)));
    }

    #[test]
    fn chunked_with_anything_to_it_is_a_400() {
        for coding in ["", ",", "chunked,", ",chunked", "chunked, chunked", "chunked;q=1", "\"chunked\"", "chu nked"] {
            assert_eq!(transfer_encoding(&[coding]), Err((400, true)), "{coding}");
        }
        assert_eq!(transfer_encoding(&["chunked", "chunked"]), Err((400, true)));
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_a_400() {
        let both: [(HeaderName, &[u8]); 2] = [(TRANSFER_ENCODING, b"chunked"), (CONTENT_LENGTH, b"5")];
        assert_eq!(of(Version::HTTP_11, &both), Err((400, true)));
    }

    #[test]
    fn transfer_encoding_is_for_http_1_1_alone() {
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(of(version, &[(TRANSFER_ENCODING, b"chunked")]), Err((400, true)));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_chunked_passes_for_a_transfer_coding(value in "[ -~]{0,12}|(?i:chunked)[ -~]{0,3}") {
            let passes = transfer_encoding(&[&value]).is_ok();
            prop_assert_eq!(passes, value.eq_ignore_ascii_case("chunked"));
        }

        #[test]
        fn nothing_but_digits_passes_for_a_length(value in "[ -~]{0,6}|[0-9]{1,6}") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(content_length(&[&value]).is_ok(), digits);
        }
    }
}
