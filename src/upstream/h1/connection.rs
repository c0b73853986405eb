//! A connection's bytes.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, ReadBuf};

use super::head::{Head, read_head};
use super::upload::Upload;
use crate::aside::aside;
use crate::h1::Malformed;
use crate::upstream::limit::Permit;
use crate::upstream::stream::Stream;

/// How much is read at once: little for the small answers that most are, more for those that fill what was read.
const FIRST_READ: usize = 8 << 10;
const LARGEST_READ: usize = 64 << 10;

/// How many buffers a thread keeps for its connections.
const KEPT: usize = 16;

thread_local! {
    /// The buffers of connections that have nothing received. The next answer is read into the one that was used last, which
    /// is still in the processor's cache, and an idle connection holds none.
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// One connection to a server, for one exchange at a time. It holds what is large of that as well: a box that is there
/// already moves at the price of a pointer, through every future and body on the way of an answer.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) stream: Stream,
    /// What was received and not taken yet.
    pub(super) received: BytesMut,
    /// The request that is being sent; of the last one only the memory is left.
    pub(crate) upload: Upload,
    read_size: usize,
    used: bool,
    /// Held until the socket is closed.
    _permit: Permit<Box<Connection>>,
}

impl Connection {
    pub(crate) fn new(stream: Stream, permit: Permit<Box<Connection>>) -> Self {
        let (received, upload) = (BytesMut::new(), Upload::default());
        Self { stream, received, upload, read_size: FIRST_READ, used: false, _permit: permit }
    }

    /// True while nothing has come of an idle connection: neither its end nor bytes that nobody asked for.
    pub(crate) fn is_open(&mut self) -> bool {
        self.received.is_empty() && self.stream.is_silent()
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

    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Makes it ready for the next exchange.
    pub(super) fn rest(&mut self) {
        self.upload.end();
        self.used = true;
        self.put_buffer_back();
        self.read_size = FIRST_READ;
    }

    /// Gives away a buffer that holds nothing; one that has grown is freed.
    fn put_buffer_back(&mut self) {
        let buffer = std::mem::take(&mut self.received);
        if self.read_size == FIRST_READ {
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.len() < KEPT {
                    buffers.push(buffer)
                }
            });
        }
    }

    /// Takes a head off what was received, once it is there.
    pub(super) fn read_head(&mut self) -> Result<Option<Head>, Malformed> {
        read_head(&mut self.received)
    }

    /// Receives more. `Ok(0)` is the end of the connection.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() == 0 {
            self.received = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        self.received.reserve(self.read_size);
        let room = self.received.capacity() - self.received.len();
        let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.received)).poll(cx) else {
            if self.received.is_empty() {
                self.put_buffer_back();
            }
            return Poll::Pending;
        };
        let read = read?;
        if read == room {
            aside();
            self.read_size = (self.read_size * 2).min(LARGEST_READ);
        }
        Poll::Ready(Ok(read))
    }
}
