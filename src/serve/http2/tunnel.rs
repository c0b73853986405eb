//! A stream that has become a tunnel (RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::Open;

/// So much is asked room for at once, which is a frame.
const PIECE: usize = 16 << 10;

/// The bytes of one stream, both ways. It counts as a request of its connection until it is dropped, which resets it unless
/// both sides have ended.
#[derive(Debug)]
pub(super) struct StreamIo {
    incoming: RecvStream,
    outgoing: SendStream<Bytes>,
    /// What has come and was not read.
    piece: Bytes,
    open: Open,
}

impl StreamIo {
    pub(super) fn new(incoming: RecvStream, outgoing: SendStream<Bytes>, open: Open) -> Self {
        Self { incoming, outgoing, piece: Bytes::new(), open }
    }
}

fn broken(error: h2::Error) -> io::Error {
    if error.is_io() { error.into_io().unwrap_or_else(gone) } else { io::Error::other(error) }
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl AsyncRead for StreamIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.incoming.poll_data(cx)) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.piece.len().min(buf.remaining());
        buf.put_slice(&self.piece[..length]);
        self.piece.advance(length);
        // It fails for a stream that has ended meanwhile, and then matters to nobody.
        let _ = self.incoming.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut room = self.outgoing.capacity();
        if room == 0 {
            self.outgoing.reserve_capacity(buf.len().min(PIECE));
            room = match ready!(self.outgoing.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(gone())),
            };
        }
        let length = room.min(buf.len());
        self.outgoing.send_data(Bytes::copy_from_slice(&buf[..length]), false).map_err(broken)?;
        self.open.sent_data();
        Poll::Ready(Ok(length))
    }

    /// The connection's task writes out what it is given.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.outgoing.send_data(Bytes::new(), true).map_err(broken))
    }
}
