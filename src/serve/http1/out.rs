//! What is on its way to the client.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::encode::Encoder;
use crate::aside::aside;
use crate::h1::encode::{write_chunk_size, write_last_chunk};
use crate::serve::transport::Transport;

/// Up to so many bytes are copied together and sent as one piece: for the kernel that is less work than a list.
const SMALL: usize = 2 << 10;

/// So much is gathered of small pieces before any is sent.
const GATHERED: usize = 16 << 10;

/// How many buffers a thread keeps for its connections, and how large one may be.
const KEPT: usize = 16;
const LARGEST_KEPT: usize = 32 << 10;

thread_local! {
    /// The buffers of answers that have been sent. The next one is written where the last one was, which is still in the
    /// processor's cache, and an idle connection holds none.
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that are to be sent: what was written together, then a large piece of a body, then what ends that.
#[derive(Debug)]
pub(super) struct Out<D> {
    head: Vec<u8>,
    sent: usize,
    data: Option<D>,
    tail: &'static [u8],
    /// The transport keeps some of what it took.
    unflushed: bool,
}

/// The service gave more of a body than it had announced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl<D> Default for Out<D> {
    fn default() -> Self {
        Self { head: Vec::new(), sent: 0, data: None, tail: b"", unflushed: false }
    }
}

impl<D: Buf> Out<D> {
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.data.is_none() && self.tail.is_empty() && !self.unflushed
    }

    /// More is to be sent before anything is added.
    pub(super) fn is_full(&self) -> bool {
        self.data.is_some() || !self.tail.is_empty() || self.head.len() > GATHERED
    }

    /// Where a head is written, behind whatever was before.
    pub(super) fn head(&mut self) -> &mut Vec<u8> {
        if self.head.capacity() == 0 {
            self.head = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        &mut self.head
    }

    /// Adds a piece of a body, the last one perhaps. Not to be called while it is full.
    pub(super) fn add(&mut self, mut data: D, encoder: &mut Encoder, is_last: bool) -> Result<(), TooLong> {
        let length = data.remaining();
        match encoder {
            Encoder::None => return Ok(()),
            Encoder::Length(left) => *left = left.checked_sub(length as u64).ok_or(TooLong)?,
            Encoder::Chunked if length > 0 => {
                write_chunk_size(self.head(), length);
                self.tail = if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
            }
            Encoder::Chunked if is_last => self.tail = b"0\r\n\r\n",
            Encoder::Chunked | Encoder::UntilClose => {}
        }
        if length > SMALL {
            self.data = Some(data);
            return Ok(());
        }
        let tail = std::mem::take(&mut self.tail);
        let head = self.head();
        while data.has_remaining() {
            let piece = data.chunk();
            head.extend_from_slice(piece);
            let length = piece.len();
            data.advance(length);
        }
        head.extend_from_slice(tail);
        Ok(())
    }

    /// Adds the end of a body that was not told with its last piece.
    pub(super) fn end(&mut self, encoder: Encoder, trailers: Option<&HeaderMap>) {
        if encoder == Encoder::Chunked {
            write_last_chunk(self.head(), trailers);
        }
    }

    /// Sends, as far as it goes. True when any of it went.
    pub(super) fn poll_send(
        &mut self,
        transport: &mut Transport,
        wrote: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let head = &self.head[self.sent..];
            let written = match &self.data {
                None if head.is_empty() && self.tail.is_empty() => break,
                None if self.tail.is_empty() => ready!(Pin::new(&mut *transport).poll_write(cx, head))?,
                data => {
                    aside();
                    let mut slices = [IoSlice::new(&[]); 16];
                    slices[0] = IoSlice::new(head);
                    let (mut count, mut whole) = (1, true);
                    if let Some(data) = data {
                        count += data.chunks_vectored(&mut slices[1..15]);
                        whole = slices[1..count].iter().map(|slice| slice.len()).sum::<usize>() == data.remaining();
                    }
                    if whole {
                        slices[count] = IoSlice::new(self.tail);
                        count += 1;
                    }
                    ready!(Pin::new(&mut *transport).poll_write_vectored(cx, &slices[..count]))?
                }
            };
            if written == 0 {
                aside();
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (*wrote, self.unflushed) = (true, transport.bytes_sent().is_some());
            self.advance(written);
        }
        if self.unflushed {
            aside();
            let before = transport.bytes_sent();
            let flushed = Pin::new(&mut *transport).poll_flush(cx);
            *wrote |= transport.bytes_sent() != before;
            ready!(flushed)?;
            self.unflushed = false;
        }
        self.sent = 0;
        self.head.clear();
        if (1..=LARGEST_KEPT).contains(&self.head.capacity()) {
            let head = std::mem::take(&mut self.head);
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.len() < KEPT {
                    buffers.push(head);
                }
            });
        } else {
            aside();
            self.head = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head.len() - self.sent);
        self.sent += of_head;
        let mut rest = written - of_head;
        if let Some(data) = &mut self.data {
            aside();
            let of_data = rest.min(data.remaining());
            data.advance(of_data);
            rest -= of_data;
            if !data.has_remaining() {
                self.data = None;
            }
        }
        self.tail = &self.tail[rest..];
    }
}
