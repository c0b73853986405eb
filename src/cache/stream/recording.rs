//! What a body is recorded into, and what becomes of it without readers.

use bytes::Bytes;
use http::HeaderMap;

/// What a body is recorded into.
pub(in crate::cache) trait Recording: Send {
    /// The body has come to its end, and this is all of it.
    fn complete(self: Box<Self>, chunks: Vec<Bytes>, trailers: Option<HeaderMap>);

    /// The body is not to be stored: it failed, was too long, or nobody is left to read it.
    fn give_up(self: Box<Self>, too_long: bool);
}

/// What becomes of a body that nobody reads any more, before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenAbandoned {
    /// It is read to its end in the background, and stored.
    #[default]
    Finish,
    /// It is given up, and with it the connection to the origin.
    Drop,
}
