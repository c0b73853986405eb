//! A connection's bytes, both ways.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use super::out::Out;
use crate::aside::aside;
use crate::serve::socket::Socket;

/// How much is read at once: little for the small requests that most are, more for those that fill what was read.
const FIRST_READ: usize = 8 << 10;
const LARGEST_READ: usize = 64 << 10;

/// How many buffers a thread keeps for its connections.
const KEPT: usize = 16;

thread_local! {
    /// The buffers of connections that have nothing received. The next request is read into the one that was used last, which
    /// is still in the processor's cache, and an idle connection holds none.
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// A socket, what was received from it and not taken yet, and what is to be sent.
pub(super) struct Line<D> {
    pub(super) socket: Socket,
    pub(super) received: BytesMut,
    pub(super) out: Out<D>,
    /// The client has closed its sending side.
    pub(super) has_ended: bool,
    /// The client took bytes since the last look.
    wrote: bool,
    read_size: usize,
}

impl<D: Buf> Line<D> {
    pub(super) fn new(socket: Socket) -> Self {
        let out = Out::default();
        Self { socket, received: BytesMut::new(), out, has_ended: false, wrote: false, read_size: FIRST_READ }
    }

    /// Receives more. `Ok(0)` is the end of what the client sends.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.has_ended {
            aside();
            return Poll::Ready(Ok(0));
        }
        if self.received.is_empty() && self.socket.transport.poll_readable(cx).is_pending() {
            self.put_buffer_back();
            return Poll::Pending;
        }
        if self.received.capacity() == 0 {
            self.received = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        self.received.reserve(self.read_size);
        let room = self.received.capacity() - self.received.len();
        let Poll::Ready(read) = pin!(self.socket.transport.read_buf(&mut self.received)).poll(cx) else {
            aside();
            if self.received.is_empty() {
                self.put_buffer_back();
            }
            return Poll::Pending;
        };
        let read = read?;
        self.has_ended = read == 0;
        if read == room {
            aside();
            self.read_size = (self.read_size * 2).min(LARGEST_READ);
        }
        Poll::Ready(Ok(read))
    }

    /// Sends what is to be sent. True when nothing is left.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.out.poll_send(&mut self.socket.transport, &mut self.wrote, cx)
    }

    /// Whether the client took bytes since the last time that this was asked.
    pub(super) fn take_wrote(&mut self) -> bool {
        std::mem::take(&mut self.wrote)
    }

    /// A request is over: the next may be smaller.
    pub(super) fn rest(&mut self) {
        if self.read_size != FIRST_READ {
            aside();
            self.read_size = FIRST_READ;
            if self.received.is_empty() {
                self.received = BytesMut::new();
            }
        }
    }

    /// Gives away a buffer that holds nothing; one that has grown is freed.
    fn put_buffer_back(&mut self) {
        if self.received.capacity() == 0 {
            return;
        }
        let buffer = std::mem::take(&mut self.received);
        if self.read_size == FIRST_READ {
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.len() < KEPT {
                    buffers.push(buffer);
                }
            });
        }
    }
}
