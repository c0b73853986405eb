//! HTTP/2 to a server: connections that carry many requests each.
//!
//! Frames, flow control and compression are the `h2` crate's. Here is how many connections there are and which one a request
//! goes over ([`connections`]), what keeps one and what ends it ([`driver`]), and one exchange ([`exchange`], [`download`]).

pub(super) mod connections;
pub(super) mod download;
mod driver;
pub(super) mod exchange;
mod heard;
pub(super) mod request;
