//! Reading the head of an answer.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{HeaderMap, StatusCode, Version};

use crate::h1::Malformed;
use crate::h1::names::Fields;

/// The longest head that is read, and how many fields it may have.
pub(crate) const MAX_HEAD: usize = 64 << 10;
const MAX_FIELDS: usize = 128;
const FEW_FIELDS: usize = 24;
/// How many fields layers add to an answer, as a rule.
const ADDED_FIELDS: usize = 2;

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// Takes a head from the front of `buffer` once all of it is there. The values share the buffer's memory.
pub(crate) fn read_head(buffer: &mut BytesMut) -> Result<Option<Head>, Malformed> {
    // Almost every head has few fields, and room for many costs its clearing.
    match read_head_of::<FEW_FIELDS>(buffer) {
        Err(TooManyFields) => read_long_head(buffer),
        Ok(read) => read,
    }
}

#[cold]
fn read_long_head(buffer: &mut BytesMut) -> Result<Option<Head>, Malformed> {
    read_head_of::<MAX_FIELDS>(buffer).unwrap_or(Err(Malformed))
}

struct TooManyFields;

fn read_head_of<const FIELDS: usize>(buffer: &mut BytesMut) -> Result<Result<Option<Head>, Malformed>, TooManyFields> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, buffer, &mut fields);
    let end = match parsed {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD => return Ok(Ok(None)),
        Err(httparse::Error::TooManyHeaders) => return Err(TooManyFields),
        Ok(httparse::Status::Partial) | Err(_) => return Ok(Err(Malformed)),
    };
    let (minor, code) = (response.version, response.code.unwrap_or_default());
    let version = if minor == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    // RFC 9110 section 15: what is outside of 100 to 599 is not a status.
    let Some(status) = StatusCode::from_u16(code).ok().filter(|_| code < 600) else { return Ok(Err(Malformed)) };
    let fields = Fields::find(buffer, response.headers);
    let bytes = buffer.split_to(end).freeze();
    Ok(fields.read(&bytes, ADDED_FIELDS).map(|headers| Some(Head { version, status, headers })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<Head>, Malformed> {
        read_head(&mut BytesMut::from(text))
    }

    #[test]
    fn a_head_is_taken_off_the_front() {
        let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nA: 1\r\nEmpty:\r\na:  2 \r\n\r\nbody");
        let head = read_head(&mut buffer).unwrap().unwrap();
        assert_eq!((head.version, head.status), (Version::HTTP_11, StatusCode::OK));
        assert_eq!(head.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(head.headers["empty"], "");
        assert_eq!(&buffer[..], b"body");
    }

    #[test]
    fn half_a_head_waits_for_the_rest() {
        assert!(read("HTTP/1.1 200 OK\r\nA: 1\r\n").unwrap().is_none());
        assert!(read("").unwrap().is_none());
    }

    #[test]
    fn a_reason_may_be_missing_and_a_version_old() {
        assert_eq!(read("HTTP/1.1 204\r\n\r\n").unwrap().unwrap().status, StatusCode::NO_CONTENT);
        assert_eq!(read("HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap().version, Version::HTTP_10);
    }

    #[test]
    fn what_is_not_a_head_is_malformed() {
        for bad in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 600 x\r\n\r\n",
            "HTTP/1.1 20 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        ] {
            assert_eq!(read(bad).err(), Some(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn endless_heads_are_given_up() {
        assert_eq!(read(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD))).err(), Some(Malformed));
        assert_eq!(
            read(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1))).err(),
            Some(Malformed)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = read_head(&mut BytesMut::from(&bytes[..]));
        }

        #[test]
        fn no_tail_of_a_status_line_panics(tail: Vec<u8>) {
            let mut bytes = BytesMut::from("HTTP/1.1 200 OK\r\n");
            bytes.extend_from_slice(&tail);
            let _ = read_head(&mut bytes);
        }
    }
}
