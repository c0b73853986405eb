use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::admission::Ticket;
use super::framing::FramingWatch;
use super::preface::{Opening, Preface};
use super::signals::Signals;

/// What carries a connection.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// From now on, dropping it resets the connection (RST), and what was not sent yet is thrown away.
    fn reset_when_dropped(&self);

    /// How many bytes the kernel has taken, of a transport that takes more than the kernel does and keeps it until it is
    /// flushed.
    fn bytes_sent(&self) -> Option<u64> {
        None
    }

    /// Says that nothing more is coming, where that is to be said before the socket is closed. As far as it goes at once.
    fn say_end(&mut self, _: &mut Context<'_>) {}
}

impl Transport for TcpStream {
    fn reset_when_dropped(&self) {
        // A socket that refuses the option is closed in the usual way.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

/// A transport that tells the connection's task what passes through it, and holds the connection's place in the limits
/// for as long as it lives, also after an upgrade.
#[derive(Debug)]
pub(super) struct Socket<T: Transport> {
    transport: T,
    signals: Arc<Signals>,
    preface: Preface,
    framing: FramingWatch,
    ticket: Ticket,
    /// No part of a message has been written that is not whole.
    between_messages: bool,
}

impl<T: Transport> Socket<T> {
    pub(super) fn new(transport: T, signals: Arc<Signals>, ticket: Ticket) -> Self {
        let (preface, framing) = (Preface::default(), FramingWatch::default());
        Self { transport, signals, preface, framing, ticket, between_messages: true }
    }

    /// It is known what this connection speaks before its first byte.
    pub(super) fn is_http2(&mut self) {
        self.preface = Preface::known();
        self.signals.preface_came();
    }

    pub(super) fn reset_when_dropped(&self) {
        self.transport.reset_when_dropped();
    }

    pub(super) fn say_end(&mut self, cx: &mut Context<'_>) {
        if !self.signals.close_would_mislead() {
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

    /// Before any of hyper's bytes: interim answers go out first, where a message may begin.
    fn poll_before_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = self.signals.interim().hyper_writes();
        if self.between_messages && waiting {
            ready!(self.poll_interim(cx))?;
        }
        self.between_messages = false;
        Poll::Ready(Ok(()))
    }

    /// Finds out from the first bytes which HTTP this is. Of HTTP/2 the protocol that reads here is given none: the task
    /// takes the socket away from it.
    fn poll_opening(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
            let opening = match &buf.filled()[before..] {
                // An end is for the protocol to make sense of.
                [] => Opening::Http1 { held: false },
                bytes => {
                    self.signals.bytes_arrived();
                    self.preface.look(bytes)
                }
            };
            match opening {
                Opening::Http1 { held: false } => return Poll::Ready(Ok(())),
                Opening::Http1 { held: true } => {
                    buf.set_filled(before);
                    self.read_held(buf);
                    return Poll::Ready(Ok(()));
                }
                Opening::Undecided => buf.set_filled(before),
                Opening::Http2 => {
                    buf.set_filled(before);
                    self.signals.preface_came();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads again what was held back. False when there is nothing.
    #[inline]
    fn read_held(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let held = self.preface.held();
        if held.is_empty() {
            return false;
        }
        let length = held.len().min(buf.remaining());
        buf.put_slice(&held[..length]);
        held.drain(..length);
        if held.is_empty() {
            *held = Vec::new();
        }
        true
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.signals.interim().poll_write(&mut self.transport, cx);
        self.written(result)
    }
}

impl<T: Transport> AsyncRead for Socket<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.signals.body_is_too_slow() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if self.signals.holds_eof() && self.signals.hold_eof() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if !self.preface.is_decided() {
            ready!(self.poll_opening(cx, buf))?;
        } else if !self.read_held(buf) {
            ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        }
        if buf.filled().len() > before {
            self.signals.bytes_arrived();
            if !self.signals.is_tunnel()
                && let Some(request) = self.framing.scan(&buf.filled()[before..])
            {
                self.signals.doubt_framing_from(request);
            }
        } else if self.signals.hold_eof() {
            // hyper takes it for a client that left, and drops the request. It may also be one that has sent all it
            // has and waits for the answer; the task gives it a moment.
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// Up to so many bytes are copied together and sent as one piece: for the kernel that is less work than a list.
const SMALL: usize = 2 << 10;

thread_local! {
    /// Where they are copied to. No write of a transport leads to another, so one is enough for all of a thread.
    static GATHERED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SMALL));
}

impl<T: Transport> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        let result = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before_write(cx))?;
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if length > SMALL {
            let result = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
            return self.written(result);
        }
        let result = GATHERED.with_borrow_mut(|gathered| {
            gathered.clear();
            bufs.iter().for_each(|buf| gathered.extend_from_slice(buf));
            Pin::new(&mut self.transport).poll_write(cx, gathered)
        });
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all it has.
        self.between_messages = true;
        if self.signals.interim().hyper_has_written() {
            ready!(self.poll_interim(cx))?;
        }
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

impl<T: Transport> Drop for Socket<T> {
    fn drop(&mut self) {
        if self.signals.close_would_mislead() {
            self.transport.reset_when_dropped();
        }
        if self.signals.matters_to_drain() {
            self.ticket.report_to_drain();
        }
    }
}
