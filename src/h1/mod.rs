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
