//! Two connections as one: what either side sends goes to the other, as fast as that takes it.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::timeouts::{Timer, deadline};

/// How much is read at once, and so the most that waits in either direction for a side that does not read.
const PIECE: usize = 16 << 10;

/// How many pieces go one way before it is the other way's turn.
const ROUND: usize = 8;

pin_project! {
    /// Ready when both sides have ended, one of them has failed, or nothing has come from either for `idle`. Dropping it
    /// closes both. One side that ends is told to the other, which may go on (RFC 9110 section 9.3.6 has it so for
    /// CONNECT).
    pub(super) struct Tunnel<A, B> {
        #[pin]
        a: A,
        #[pin]
        b: B,
        a_to_b: Flow,
        b_to_a: Flow,
        idle: Option<Duration>,
        moved: Instant,
        #[pin]
        timer: Timer,
    }
}

impl<A, B> Tunnel<A, B> {
    pub(super) fn new(a: A, b: B, idle: Option<Duration>) -> Self {
        let (a_to_b, b_to_a) = (Flow::default(), Flow::default());
        Self { a, b, a_to_b, b_to_a, idle, moved: Instant::now(), timer: Timer::default() }
    }
}

impl<A, B> Future for Tunnel<A, B>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let before = this.a_to_b.moved + this.b_to_a.moved;
        let there = this.a_to_b.poll(this.a.as_mut(), this.b.as_mut(), cx);
        let back = this.b_to_a.poll(this.b, this.a, cx);
        match (there, back) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(()),
            // What a side that has failed did not take can be given to nobody.
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
            _ => {}
        }
        if this.a_to_b.moved + this.b_to_a.moved != before {
            *this.moved = Instant::now();
        }
        match deadline(*this.moved, *this.idle) {
            Some(deadline) => this.timer.poll_until(cx, deadline),
            None => Poll::Pending,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    /// What was read and is not written yet. Empty, and without memory, while the writer keeps up.
    left: Vec<u8>,
    written: usize,
    /// Bytes that have passed.
    moved: u64,
    unflushed: bool,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Open,
    /// The reader's side has ended; the writer is to be told.
    Ending,
    Ended,
}

impl Flow {
    /// Ready when the reader has ended and the writer knows.
    fn poll<R, W>(
        &mut self,
        mut reader: Pin<&mut R>,
        mut writer: Pin<&mut W>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + ?Sized,
        W: AsyncWrite + ?Sized,
    {
        for _ in 0..ROUND {
            ready!(self.poll_write_left(writer.as_mut(), cx))?;
            match self.stage {
                Stage::Open => {}
                Stage::Ending => {
                    ready!(writer.poll_shutdown(cx))?;
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(()));
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            match reader.as_mut().poll_read(cx, &mut piece)? {
                Poll::Ready(()) if piece.filled().is_empty() => self.stage = Stage::Ending,
                Poll::Ready(()) => self.pass_on(piece.filled(), writer.as_mut(), cx)?,
                Poll::Pending => {
                    self.left = Vec::new();
                    if self.unflushed {
                        ready!(writer.poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes `piece` as far as the writer takes it, and keeps the rest.
    fn pass_on<W>(&mut self, piece: &[u8], writer: Pin<&mut W>, cx: &mut Context<'_>) -> io::Result<()>
    where
        W: AsyncWrite + ?Sized,
    {
        let taken = match writer.poll_write(cx, piece)? {
            Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(taken) => taken,
            Poll::Pending => 0,
        };
        self.moved += piece.len() as u64;
        self.unflushed = true;
        self.left.extend_from_slice(&piece[taken..]);
        Ok(())
    }

    fn poll_write_left<W>(&mut self, mut writer: Pin<&mut W>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + ?Sized,
    {
        while self.written < self.left.len() {
            match ready!(writer.as_mut().poll_write(cx, &self.left[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.written += taken,
            }
            self.moved += 1;
        }
        self.left.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    const HOUR: Duration = Duration::from_secs(3600);

    fn tunnel(capacity: usize) -> (DuplexStream, DuplexStream, JoinHandle<()>) {
        let ((left, a), (right, b)) = (duplex(capacity), duplex(capacity));
        (left, right, tokio::spawn(Tunnel::new(a, b, Some(HOUR))))
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_both_ways_whole_and_in_order() {
        let (left, right, tunnel) = tunnel(100);
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let halves = [left, right].map(tokio::io::split);
        let ends = halves.map(|(mut reader, mut writer)| {
            let sent = bytes.clone();
            let sending = tokio::spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let receiving = tokio::spawn(async move {
                let mut received = Vec::new();
                reader.read_to_end(&mut received).await.unwrap();
                received
            });
            (sending, receiving)
        });
        for (sending, receiving) in ends {
            sending.await.unwrap();
            assert!(receiving.await.unwrap() == bytes);
        }
        tunnel.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_side_may_end_and_still_be_answered() {
        let (mut left, mut right, tunnel) = tunnel(100);
        left.write_all(b"question").await.unwrap();
        left.shutdown().await.unwrap();
        let mut question = String::new();
        right.read_to_string(&mut question).await.unwrap();
        right.write_all(b"answer").await.unwrap();
        drop(right);
        let mut answer = String::new();
        left.read_to_string(&mut answer).await.unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        tunnel.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_does_not_read_holds_the_other_back() {
        let (mut left, _right, tunnel) = tunnel(1);
        let too_much = vec![0; PIECE * 4];
        let sending = tokio::time::timeout(HOUR / 2, left.write_all(&too_much));
        assert!(sending.await.is_err(), "more is taken than can be given on");
        assert!(!tunnel.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_a_byte_either_way_is_none() {
        let (mut left, mut right, tunnel) = tunnel(100);
        for _ in 0..3 {
            tokio::time::sleep(HOUR - Duration::from_secs(1)).await;
            left.write_all(b"x").await.unwrap();
            tokio::time::sleep(HOUR - Duration::from_secs(1)).await;
            right.write_all(b"y").await.unwrap();
        }
        assert!(!tunnel.is_finished());
        let silent_since = Instant::now();
        tunnel.await.unwrap();
        assert_eq!(silent_since.elapsed().as_secs(), HOUR.as_secs());
        let mut rest = Vec::new();
        left.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"yyy");
    }
}
