//! Which HTTP a plain connection speaks, told from its first bytes.

/// What every HTTP/2 connection begins with (RFC 9113 section 3.4). It was chosen so that no HTTP/1.1 request does.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at the first bytes of a connection, which may come one by one.
///
/// A request of HTTP/1.1 is told from HTTP/2 by its second byte at the latest but for methods that begin like `PRI`, so
/// next to nothing is ever held back.
#[derive(Debug, Default)]
pub(super) struct Preface {
    decided: bool,
    /// What has come and may be the beginning of a preface, and later what is still to be read again.
    held: Vec<u8>,
}

/// What the first bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Too few to tell. They are held.
    Undecided,
    /// HTTP/1.1. What was held, if anything, comes before the bytes that were shown now.
    Http1 { held: bool },
    /// HTTP/2. All bytes so far are held.
    Http2,
}

impl Preface {
    /// Of a connection of which is known what it speaks.
    pub(super) fn known() -> Self {
        Self { decided: true, held: Vec::new() }
    }

    #[inline]
    pub(super) fn is_decided(&self) -> bool {
        self.decided
    }

    /// Takes in what came next.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Opening {
        let expected = &PREFACE[self.held.len()..];
        let length = expected.len().min(bytes.len());
        if bytes[..length] != expected[..length] {
            self.decided = true;
            let held = !self.held.is_empty();
            if held {
                self.held.extend_from_slice(bytes);
            }
            return Opening::Http1 { held };
        }
        self.held.extend_from_slice(bytes);
        if length < expected.len() {
            return Opening::Undecided;
        }
        self.decided = true;
        Opening::Http2
    }

    /// What was held back, to be read before anything else.
    #[inline]
    pub(super) fn held(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_preface_and_what_follows_it_is_held_for_http_2() {
        let mut preface = Preface::default();
        assert_eq!(preface.look(&[&PREFACE[..], b"frames"].concat()), Opening::Http2);
        assert!(preface.is_decided());
        assert_eq!(preface.held(), &[&PREFACE[..], b"frames"].concat());
    }

    #[test]
    fn it_may_come_byte_by_byte() {
        let mut preface = Preface::default();
        for byte in &PREFACE[..23] {
            assert_eq!(preface.look(&[*byte]), Opening::Undecided);
        }
        assert_eq!(preface.look(&PREFACE[23..]), Opening::Http2);
        assert_eq!(preface.held(), PREFACE);
    }

    #[test]
    fn a_request_is_told_at_once_and_nothing_is_held() {
        for request in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "\r\nGET", "PRIV", "P\0"] {
            let mut preface = Preface::default();
            assert_eq!(preface.look(request.as_bytes()), Opening::Http1 { held: false }, "{request:?}");
            assert!(preface.held().is_empty());
        }
    }

    #[test]
    fn what_turns_out_to_be_http_1_late_is_given_back_whole() {
        let mut preface = Preface::default();
        assert_eq!(preface.look(b"PR"), Opening::Undecided);
        assert_eq!(preface.look(b"OPFIND / HTTP/1.1\r\n"), Opening::Http1 { held: true });
        assert_eq!(preface.held(), b"PROPFIND / HTTP/1.1\r\n");
    }
}
