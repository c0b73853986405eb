use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission::Ticket;
use super::signals::Signals;
use super::transport::Transport;

/// A transport with the connection's place in the limits, which it holds for as long as it lives, also after an upgrade.
///
/// Read and written as a stream, it gives what was held back first, and tells what passes.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) transport: Transport,
    signals: Arc<Signals>,
    ticket: Ticket,
    /// What was received for whoever reads the stream.
    held: BytesMut,
    /// Whoever is answered would take the end of the connection for the end of the answer (RFC 9112 section 6.3, item 8), and
    /// it is none.
    misleads: bool,
}

impl Socket {
    pub(super) fn new(transport: Transport, signals: Arc<Signals>, ticket: Ticket) -> Self {
        Self { transport, signals, ticket, held: BytesMut::new(), misleads: false }
    }

    /// These bytes have been received, and are to be read.
    pub(super) fn hold(&mut self, received: BytesMut) {
        self.held = received;
    }

    /// Closing it now could be taken for the end of a whole answer, or could not any more.
    pub(super) fn would_mislead(&mut self, misleads: bool) {
        self.misleads = misleads;
    }

    pub(super) fn say_end(&mut self, cx: &mut Context<'_>) {
        if !self.misleads {
            self.transport.say_end(cx);
        }
    }

    /// Writes a last word, as far as the client takes it at once, and ends the stream; then throws away what still comes.
    /// Ready when the client has closed its side as well.
    pub(super) fn poll_close(&mut self, last_word: &mut Option<&'static [u8]>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(word) = *last_word {
            if !word.is_empty() {
                let _ = Pin::new(&mut self.transport).poll_write(cx, word);
            }
            *last_word = Some(b"");
            if ready!(Pin::new(&mut self.transport).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            *last_word = None;
        }
        let mut scrap = [0; 8192];
        loop {
            let mut buf = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    fn written<R>(&self, result: Poll<R>) -> Poll<R> {
        self.signals.write_finished(result.is_pending());
        result
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let length = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..length]);
        self.held.advance(length);
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(before) = self.transport.bytes_sent() else {
            return Pin::new(&mut self.transport).poll_flush(cx);
        };
        let result = Pin::new(&mut self.transport).poll_flush(cx);
        let progressed = self.transport.bytes_sent() != Some(before);
        self.signals.flushed(result.is_pending(), progressed);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.transport).poll_shutdown(cx);
        self.written(result)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.misleads || self.signals.resets_when_closed() {
            self.transport.reset_when_dropped();
        }
        if self.signals.matters_to_drain() {
            self.ticket.report_to_drain();
        }
    }
}
