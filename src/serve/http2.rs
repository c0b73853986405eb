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

pub(super) use self::connection::{App, Http2};
pub(super) use self::upload::Upload;
