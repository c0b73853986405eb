//! A connection's bytes.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use super::decode::Malformed;
use super::head::{Head, read_head};
use super::names::Names;
use super::upload::Upload;
use crate::upstream::limit::Permit;

/// How much is read at once: little for the small answers that most are, more for those that fill what was read.
const FIRST_READ: usize = 8 << 10;
const LARGEST_READ: usize = 64 << 10;

/// One connection to a server, for one exchange at a time. It holds what is large of that as well: a box that is there
/// already moves at the price of a pointer, through every future and body on the way of an answer.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) stream: TcpStream,
    /// What was received and not taken yet.
    pub(super) received: BytesMut,
    names: Names,
    /// The request that is being sent; of the last one only the memory is left.
    pub(crate) upload: Upload,
    read_size: usize,
    used: bool,
    /// Held until the socket is closed.
    _permit: Permit<Box<Connection>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, permit: Permit<Box<Connection>>) -> Self {
        let (received, upload) = (BytesMut::new(), Upload::default());
        Self { stream, received, names: Names::default(), upload, read_size: FIRST_READ, used: false, _permit: permit }
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
    pub(super) fn rest(&mut self) {
        self.upload.clear();
        self.used = true;
        if self.read_size > FIRST_READ {
            // An idle connection holds little.
            self.read_size = FIRST_READ;
            self.received = BytesMut::new();
        }
    }

    /// Takes a head off what was received, once it is there.
    pub(super) fn read_head(&mut self) -> Result<Option<Head>, Malformed> {
        read_head(&mut self.received, &mut self.names)
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
