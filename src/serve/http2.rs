//! HTTP/2 (RFC 9113) over the same sockets, with the same timeouts and limits.
//!
//! The frames, their flow control and compression are the `h2` crate's. What it cannot see or does not do is here: how long a
//! client may take, what it may send without end, what a field's value may be, how an answer meets a client that reads
//! nothing.
//!
//! One task drives a connection, and each request has a task of its own on the same worker.

mod connection;
mod deadlines;
mod exchange;
mod flood;
mod frames;
mod request;
mod shared;
mod socket;
mod stream;
mod tunnel;
mod upload;

pub(super) use self::connection::Http2;
pub(super) use self::upload::Upload;

/// What every HTTP/2 connection begins with (RFC 9113 section 3.4). It was chosen so that no HTTP/1.1 request does.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
