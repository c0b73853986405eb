//! A connection's bytes.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use crate::upstream::limit::Permit;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

/// How much is read at once: little for the small answers that most are, more for those that fill what was read.
const FIRST_READ: usize = 8 << 10;
const LARGEST_READ: usize = 64 << 10;

/// One connection to a server, for one exchange at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) stream: TcpStream,
    /// What was received and not taken yet.
    pub(super) received: BytesMut,
    read_size: usize,
    /// The last exchange's, kept for the next one's head.
    spare: Vec<u8>,
    used: bool,
    /// Held until the socket is closed.
    _permit: Permit<Box<Connection>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, permit: Permit<Box<Connection>>) -> Self {
        let (received, spare) = (BytesMut::new(), Vec::new());
        Self { stream, received, read_size: FIRST_READ, spare, used: false, _permit: permit }
    }

    /// True while nothing has come of an idle connection: neither its end nor bytes that nobody asked for. No system call
    /// is made unless the kernel has reported something.
    pub(crate) fn is_open(&self) -> bool {
        let silent = |result: io::Result<usize>| result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.received.is_empty() && silent(self.stream.try_read(&mut [0]))
    }

    /// True when it served a request before: the origin may be closing it right now.
    pub(crate) fn was_used(&self) -> bool {
        self.used
    }

    /// A buffer to write the next head into.
    pub(crate) fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// Fills `buf` from what was received already. False when that is nothing.
    pub(crate) fn take_received(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.received.is_empty() {
            return false;
        }
        let taken = self.received.split_to(self.received.len().min(buf.remaining()));
        buf.put_slice(&taken);
        true
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Makes it ready for the next exchange.
    pub(super) fn rest(&mut self, mut spare: Vec<u8>) {
        spare.clear();
        self.spare = spare;
        self.used = true;
        if self.read_size > FIRST_READ {
            // An idle connection holds little.
            self.read_size = FIRST_READ;
            self.received = BytesMut::new();
        }
    }

    /// Receives more. `Ok(0)` is the end of the connection.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.reserve(self.read_size);
        let room = self.received.capacity() - self.received.len();
        let read = std::task::ready!(pin!(self.stream.read_buf(&mut self.received)).poll(cx))?;
        if read == room {
            self.read_size = (self.read_size * 2).min(LARGEST_READ);
        }
        Poll::Ready(Ok(read))
    }
}
