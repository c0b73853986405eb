//! Which HTTP a plain connection speaks, told from its first bytes.

use crate::serve::http2::PREFACE;

/// What the first bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Too few to tell.
    Undecided,
    Http1,
    Http2,
}

/// Looks at all that has come of a connection so far.
///
/// A request of HTTP/1.1 is told from HTTP/2 by its second byte at the latest but for methods that begin like `PRI`.
pub(super) fn opening(bytes: &[u8]) -> Opening {
    let length = PREFACE.len().min(bytes.len());
    match bytes[..length] == PREFACE[..length] {
        false => Opening::Http1,
        true if length < PREFACE.len() => Opening::Undecided,
        true => Opening::Http2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_preface_is_http_2_whatever_follows() {
        assert_eq!(opening(PREFACE), Opening::Http2);
        assert_eq!(opening(&[&PREFACE[..], b"frames"].concat()), Opening::Http2);
    }

    #[test]
    fn its_beginning_may_be_either() {
        for length in 0..PREFACE.len() {
            assert_eq!(opening(&PREFACE[..length]), Opening::Undecided);
        }
    }

    #[test]
    fn a_request_is_told_at_once() {
        for request in ["GET / HTTP/1.1\r\n", "POST /", "\r\nGET", "PRIV", "P\0", "PROPFIND / HTTP/1.1"] {
            assert_eq!(opening(request.as_bytes()), Opening::Http1, "{request:?}");
        }
    }
}
