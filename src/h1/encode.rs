//! Writing fields, and the framing of chunked bodies.

use std::io::Write as _;

use http::HeaderMap;

/// Writes what stands before a chunk's data.
pub(crate) fn write_chunk_size(buffer: &mut Vec<u8>, size: usize) {
    let _ = write!(buffer, "{size:x}\r\n");
}

/// Writes the last chunk and the trailer section (RFC 9112 section 7.1.2).
pub(crate) fn write_last_chunk(buffer: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    buffer.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        write_field(buffer, name.as_str(), value.as_bytes());
    }
    buffer.extend_from_slice(b"\r\n");
}

/// Writes a number in digits.
pub(crate) fn write_decimal(buffer: &mut Vec<u8>, mut number: u64) {
    let (mut digits, mut first) = ([b'0'; 20], 20);
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[first..]);
}

/// Writes the field that says how long a body is.
#[inline(never)]
pub(crate) fn write_length(buffer: &mut Vec<u8>, length: u64) {
    buffer.extend_from_slice(b"content-length: ");
    write_decimal(buffer, length);
    buffer.extend_from_slice(b"\r\n");
}

pub(crate) fn write_field(buffer: &mut Vec<u8>, name: &str, value: &[u8]) {
    buffer.reserve(name.len() + value.len() + 4);
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_number_is_written_as_anybody_would() {
        for number in [0, 1, 9, 10, 42, 1_048_576, u64::MAX] {
            let mut bytes = Vec::new();
            write_decimal(&mut bytes, number);
            assert_eq!(bytes, number.to_string().as_bytes());
        }
    }

    #[test]
    fn the_last_chunk_carries_the_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let mut bytes = Vec::new();
        write_chunk_size(&mut bytes, 255);
        write_last_chunk(&mut bytes, Some(&trailers));
        assert_eq!(bytes, b"ff\r\n0\r\nx-sum: 7\r\n\r\n");
    }
}
