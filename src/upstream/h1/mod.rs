//! HTTP/1.1 towards an origin (RFC 9112): one exchange at a time, driven by the request's own future, with no task and no
//! channel between it and the socket.
//!
//! The rules know nothing of sockets: [`encode`] writes a request, [`head`] reads an answer's head, [`framing`] says where
//! its body ends, [`decode`](crate::h1::decode) takes it apart. [`upload`] and [`download`] move the bytes over a [`connection`], and
//! [`exchange`] is one after the other.
//!
//! It is strict where a lenient reader could be made to see another message than the next one on the way: what is
//! malformed, framed twice or framed unusually ends the exchange and the connection.

pub(super) mod connection;
pub(super) mod download;
pub(super) mod encode;
pub(super) mod exchange;
pub(super) mod framing;
pub(super) mod head;
#[cfg(test)]
mod oracle;
pub(super) mod upload;
