//! What is spoken with one server.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// What is spoken with one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
    /// Either, as each connection's handshake agrees on (RFC 7301).
    Agreed,
}

/// What the last handshake with a server has agreed on: the next will most likely agree on the same, so whoever needs a
/// connection knows whether to wait for one that many use or to open its own.
#[derive(Debug, Default)]
pub(super) struct LastAgreed(AtomicU8);

impl LastAgreed {
    const HTTP_1: u8 = 1;
    const HTTP_2: u8 = 2;

    /// False while nothing is known.
    pub(super) fn is_http1(&self) -> bool {
        self.0.load(Relaxed) == Self::HTTP_1
    }

    pub(super) fn set(&self, is_http2: bool) {
        self.0.store(if is_http2 { Self::HTTP_2 } else { Self::HTTP_1 }, Relaxed);
    }
}
