//! A connection that has been switched to another protocol.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::Lease;
use super::h1::connection::Connection;

/// The bytes behind the head of a 101, and those to come. It counts as a request in flight until it is dropped, and as one
/// of the server's connections.
#[derive(Debug)]
pub(super) struct Switched {
    connection: Box<Connection>,
    _lease: Lease,
}

impl Switched {
    pub(super) fn new(connection: Box<Connection>, lease: Lease) -> Self {
        Self { connection, _lease: lease }
    }
}

impl AsyncRead for Switched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.take_received(buf) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(self.connection.stream()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Switched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.connection.stream()).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.connection.stream()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.connection.stream()).poll_shutdown(cx)
    }
}
