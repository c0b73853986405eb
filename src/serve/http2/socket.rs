use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::PREFACE;
use super::frames::FrameWatch;
use super::shared::Shared;
use crate::serve::socket::Socket;

/// A socket that tells what frames come through it, and that is closed so that the last of ours are not lost.
#[derive(Debug)]
pub(super) struct FrameSocket {
    socket: Socket,
    frames: FrameWatch,
    shared: Arc<Shared>,
    /// What [`Socket::poll_close`] remembers between two looks. The last word itself is h2's.
    last_word: Option<&'static [u8]>,
}

impl FrameSocket {
    pub(super) fn new(socket: Socket, shared: Arc<Shared>) -> Self {
        Self { socket, frames: FrameWatch::after_preface(PREFACE.len()), shared, last_word: Some(b"") }
    }
}

impl AsyncRead for FrameSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        let seen = this.frames.scan(&buf.filled()[before..]);
        this.shared.received(seen, this.frames.is_within());
        if this.frames.began_badly() {
            // No GOAWAY is owed to a peer that does not speak HTTP/2 (RFC 9113 section 3.4).
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FrameSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Ready when the client has closed its side too: a socket that is closed over unread bytes resets the connection, and
    /// the client may lose the GOAWAY, or an answer before it. The connection's task sets it a time.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shared.end();
        this.socket.poll_close(&mut this.last_word, cx).map(Ok)
    }
}
