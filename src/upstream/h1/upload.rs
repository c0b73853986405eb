//! Sending a request: its head, then its body as it comes.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::connection::Connection;
use super::encode::RequestFraming;
use crate::BoxError;
use crate::aside::aside;
use crate::h1::encode::{write_chunk_size, write_last_chunk};
use crate::upstream::body::SendBody;
use crate::upstream::stream::Stream;

/// How many heads' memory a thread keeps, and how large one may be.
const KEPT: usize = 64;
const LARGEST_KEPT: usize = 4 << 10;

thread_local! {
    /// The memory of heads whose requests have been answered. The next head is written where the last one was, which is
    /// still in the processor's cache, and an idle connection holds none.
    static HEADS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A request that is being sent: its head, then its body as it comes.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    /// The head, and later whatever frames the next piece of the body.
    head: Vec<u8>,
    sent: usize,
    data: Bytes,
    tail: &'static [u8],
    body: Option<SendBody>,
    framing: RequestFraming,
}

/// Why a request could not be sent.
pub(super) enum Unsent {
    /// Its body failed, or is not as long as it said.
    Body(BoxError),
    /// The connection broke.
    Connection(io::Error),
}

impl Connection {
    /// Sends the request, as far as it goes.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        self.upload.poll_send(&mut self.stream, cx)
    }
}

impl Upload {
    /// Begins a request in the memory of one before: its head is to be written, and its framing says what becomes of
    /// `body`.
    pub(crate) fn begin(&mut self, framing: RequestFraming, body: Option<SendBody>) -> &mut Vec<u8> {
        (self.framing, self.body) = (framing, body);
        if self.head.capacity() == 0 {
            self.head = HEADS.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        &mut self.head
    }

    fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            // The first piece of a body goes out with the head, when it is there.
            let mut waits_for_body = false;
            if self.data.is_empty()
                && let Some(body) = &mut self.body
            {
                aside();
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.stage(frame).map_err(Unsent::Body)?,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Unsent::Body(error))),
                    Poll::Ready(None) => self.stage_end().map_err(Unsent::Body)?,
                    Poll::Pending => waits_for_body = true,
                }
            }
            ready!(self.poll_write(stream, cx)).map_err(Unsent::Connection)?;
            match self.body {
                None => return Poll::Ready(Ok(())),
                Some(_) if waits_for_body => {
                    aside();
                    return Poll::Pending;
                }
                Some(_) => {
                    aside();
                    self.clear();
                }
            }
        }
    }

    /// Writes what is staged.
    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = &self.head[self.sent..];
            let written = if self.data.is_empty() && self.tail.is_empty() {
                if head.is_empty() {
                    return Pin::new(stream).poll_flush(cx);
                }
                ready!(Pin::new(&mut *stream).poll_write(cx, head))?
            } else {
                aside();
                let slices = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                aside();
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(head.len());
            self.sent += of_head;
            let of_data = (written - of_head).min(self.data.len());
            self.data.advance(of_data);
            self.tail = &self.tail[written - of_head - of_data..];
        }
    }

    fn stage(&mut self, frame: Frame<Bytes>) -> Result<(), BoxError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.body = None;
                if self.framing == RequestFraming::Chunked {
                    write_last_chunk(&mut self.head, frame.trailers_ref());
                    return Ok(());
                }
                return self.ends_as_stated();
            }
        };
        match &mut self.framing {
            RequestFraming::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or("the body is longer than its Content-Length")?;
            }
            RequestFraming::Chunked if !data.is_empty() => {
                write_chunk_size(&mut self.head, data.len());
                self.tail = b"\r\n";
            }
            RequestFraming::Chunked | RequestFraming::None | RequestFraming::WebSocket => {}
        }
        self.data = data;
        if self.body.as_ref().is_some_and(|body| body.is_end_stream()) {
            self.body = None;
            match self.framing {
                RequestFraming::Chunked if self.tail.is_empty() => self.tail = b"0\r\n\r\n",
                RequestFraming::Chunked => self.tail = b"\r\n0\r\n\r\n",
                _ => return self.ends_as_stated(),
            }
        }
        Ok(())
    }

    fn stage_end(&mut self) -> Result<(), BoxError> {
        self.body = None;
        if self.framing == RequestFraming::Chunked {
            write_last_chunk(&mut self.head, None);
        }
        self.ends_as_stated()
    }

    fn ends_as_stated(&self) -> Result<(), BoxError> {
        match self.framing {
            RequestFraming::Length(1..) => Err("the body is shorter than its Content-Length".into()),
            _ => Ok(()),
        }
    }

    /// A request without a body that has not been answered, to be sent once more.
    pub(super) fn again(&mut self) -> Self {
        Self { head: std::mem::take(&mut self.head), ..Self::default() }
    }

    /// Nothing is to be sent any more: gives the head's memory away.
    pub(super) fn end(&mut self) {
        self.clear();
        let head = std::mem::take(&mut self.head);
        if (1..=LARGEST_KEPT).contains(&head.capacity()) {
            HEADS.with_borrow_mut(|heads| {
                if heads.len() < KEPT {
                    heads.push(head);
                }
            });
        }
    }

    /// Makes room for the next piece's framing.
    fn clear(&mut self) {
        self.head.clear();
        self.sent = 0;
    }
}
