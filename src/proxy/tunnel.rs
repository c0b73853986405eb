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

use super::frames::Frames;
use super::timeouts::{Timer, deadline};
use crate::random::random;

/// How much is read at once, and so the most that waits in either direction for a side that does not read.
const PIECE: usize = 16 << 10;

/// How many pieces go one way before it is the other way's turn.
const ROUND: usize = 8;

/// How long a client may take to answer a Close frame before the origin is told without it, and both sides to close what
/// has nothing left to say.
const PATIENCE: Duration = Duration::from_secs(1);

pin_project! {
    /// Ready when both sides have ended, one of them has failed, or nothing has come from either for `idle`. Dropping it
    /// closes both. One side that ends is told to the other, which may go on (RFC 9110 section 9.3.6 has it so for
    /// CONNECT).
    pub(super) struct Tunnel<A, B> {
        #[pin]
        client: A,
        #[pin]
        origin: B,
        there: Flow,
        back: Flow,
        idle: Option<Duration>,
        moved: Instant,
        leaving: Option<Leaving>,
        timer: Timer,
    }
}

/// The tunnel is to come to its end.
#[derive(Debug)]
struct Leaving {
    /// When the origin is told, though the client has not answered.
    tell_origin: Instant,
    /// Until when the two may close, that have said all they had to say.
    linger: Option<Instant>,
}

impl<A, B> Tunnel<A, B> {
    pub(super) fn new(client: A, origin: B, idle: Option<Duration>) -> Self {
        let (there, back) = (Flow::new(Frames::of_client()), Flow::new(Frames::of_server()));
        Self { client, origin, there, back, idle, moved: Instant::now(), leaving: None, timer: Timer::default() }
    }

    /// Tells the client that this server goes away, which has time until then. The origin hears of it from the client, whose
    /// answer passes as all that it sends; or from here, when there is none.
    pub(super) fn leave(self: Pin<&mut Self>, until: Instant) {
        let this = self.project();
        let now = Instant::now();
        let patience = PATIENCE.min(until.saturating_duration_since(now) / 2);
        // Whoever closes already is left to it.
        if !this.there.frames.has_closed() {
            this.back.farewell = Farewell::Due;
        }
        this.there.farewell = Farewell::AtEnd;
        *this.leaving = Some(Leaving { tell_origin: now + patience, linger: None });
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
        loop {
            let before = this.there.moved + this.back.moved;
            let there = this.there.poll(this.client.as_mut(), this.origin.as_mut(), cx);
            let back = this.back.poll(this.origin.as_mut(), this.client.as_mut(), cx);
            let have_ended = match (there, back) {
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => true,
                // What a side that has failed did not take can be given to nobody.
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
                _ => false,
            };
            if this.there.moved + this.back.moved != before {
                *this.moved = Instant::now();
            }
            let mut next = deadline(*this.moved, *this.idle);
            match this.leaving {
                None if have_ended => return Poll::Ready(()),
                None => {}
                Some(leaving) if have_ended => {
                    let (client, origin) = (poll_end(this.client.as_mut(), cx), poll_end(this.origin.as_mut(), cx));
                    if client.is_ready() && origin.is_ready() {
                        return Poll::Ready(());
                    }
                    next = Some(*leaving.linger.get_or_insert_with(|| Instant::now() + PATIENCE));
                }
                Some(_) if this.there.is_over() && this.back.is_over() => {
                    let news = this.there.end() | this.back.end();
                    if news {
                        continue;
                    }
                }
                Some(leaving) if this.there.farewell == Farewell::AtEnd => {
                    let at = leaving.tell_origin;
                    if this.timer.poll_until(cx, at).is_ready() {
                        this.there.farewell = Farewell::Due;
                        continue;
                    }
                    next = next.filter(|next| *next < at);
                }
                Some(_) => {}
            }
            return match next {
                Some(deadline) => this.timer.poll_until(cx, deadline),
                None => Poll::Pending,
            };
        }
    }
}

/// Reads, for nobody, until there is no more.
fn poll_end<R: AsyncRead + ?Sized>(mut reader: Pin<&mut R>, cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..ROUND {
        let mut piece = [MaybeUninit::uninit(); 1 << 10];
        let mut piece = ReadBuf::uninit(&mut piece);
        if ready!(reader.as_mut().poll_read(cx, &mut piece)).is_err() || piece.filled().is_empty() {
            return Poll::Ready(());
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// One direction.
#[derive(Debug)]
struct Flow {
    /// What was read and is not written yet. Empty, and without memory, while the writer keeps up.
    left: Vec<u8>,
    written: usize,
    /// Bytes that have passed.
    moved: u64,
    unflushed: bool,
    stage: Stage,
    frames: Frames,
    farewell: Farewell,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// Nothing more passes; the writer is to be told.
    Ending,
    Ended,
}

/// Whether the writer is told that this is the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Farewell {
    #[default]
    None,
    /// When the reader ends without having said so itself.
    AtEnd,
    /// As soon as no frame is on its way.
    Due,
    /// It was told, and nothing more passes.
    Said,
}

impl Flow {
    fn new(frames: Frames) -> Self {
        let (stage, farewell) = (Stage::default(), Farewell::default());
        Self { left: Vec::new(), written: 0, moved: 0, unflushed: false, stage, frames, farewell }
    }

    /// True when the reader has said that it is the end, or has ended.
    fn is_over(&self) -> bool {
        self.frames.has_closed() || self.stage != Stage::Open
    }

    /// Reads no more. False when that was so already.
    fn end(&mut self) -> bool {
        let is_open = self.stage == Stage::Open;
        if is_open {
            self.stage = Stage::Ending;
        }
        is_open
    }

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
            if self.farewell == Farewell::Due {
                self.say_farewell();
            }
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
                Poll::Ready(()) if piece.filled().is_empty() => {
                    if self.farewell == Farewell::AtEnd {
                        self.say_farewell();
                    }
                    self.stage = Stage::Ending;
                }
                Poll::Ready(()) => self.take(piece.filled(), writer.as_mut(), cx)?,
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

    /// Tells the writer, unless a frame is on its way or was the last.
    fn say_farewell(&mut self) {
        if self.frames.is_between() {
            self.farewell = Farewell::Said;
            let [mask @ .., _, _, _, _] = random().to_ne_bytes();
            self.left.extend(self.frames.going_away(mask));
            self.unflushed = true;
        }
    }

    /// Passes on what was read, as far as there is anything to be passed on.
    fn take<W>(&mut self, piece: &[u8], writer: Pin<&mut W>, cx: &mut Context<'_>) -> io::Result<()>
    where
        W: AsyncWrite + ?Sized,
    {
        match self.farewell {
            Farewell::None | Farewell::AtEnd => {
                self.frames.follow(piece);
                self.pass_on(piece, writer, cx)
            }
            Farewell::Due => {
                let end = self.frames.follow_to_end(piece);
                self.pass_on(&piece[..end], writer, cx)?;
                self.say_farewell();
                self.frames.follow(&piece[end..]);
                Ok(())
            }
            Farewell::Said => {
                self.moved += piece.len() as u64;
                self.frames.follow(piece);
                Ok(())
            }
        }
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

    // === A server that goes away ===

    const TEXT_BY_CLIENT: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    const TEXT_BY_SERVER: &[u8] = &[0x81, 2, b'y', b'o'];
    const AWAY_BY_SERVER: &[u8] = &[0x88, 2, 3, 0xe9];
    const AWAY_BY_CLIENT: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 3, 0xe9];
    const GRACE: Duration = Duration::from_secs(30);

    /// A tunnel that is told to leave once `leave` is.
    fn leaving_tunnel() -> (DuplexStream, DuplexStream, tokio::sync::oneshot::Sender<()>, JoinHandle<()>) {
        let ((left, client), (right, origin)) = (duplex(1 << 16), duplex(1 << 16));
        let (leave, told) = tokio::sync::oneshot::channel();
        let tunnel = tokio::spawn(async move {
            let mut tunnel = std::pin::pin!(Tunnel::new(client, origin, Some(HOUR)));
            tokio::select! {
                () = tunnel.as_mut() => return,
                _ = told => tunnel.as_mut().leave(Instant::now() + GRACE),
            }
            tunnel.await;
        });
        (left, right, leave, tunnel)
    }

    async fn read(stream: &mut DuplexStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        tokio::time::timeout(HOUR / 2, stream.read_exact(&mut bytes)).await.expect("nothing came").unwrap();
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_told_and_its_answer_ends_both_sides() {
        let (mut client, mut origin, leave, tunnel) = leaving_tunnel();
        origin.write_all(TEXT_BY_SERVER).await.unwrap();
        assert_eq!(read(&mut client, 4).await, TEXT_BY_SERVER);
        leave.send(()).unwrap();
        assert_eq!(read(&mut client, 4).await, AWAY_BY_SERVER);
        // What it had on its way arrives, and so does its answer.
        client.write_all(&[TEXT_BY_CLIENT, AWAY_BY_CLIENT].concat()).await.unwrap();
        assert_eq!(read(&mut origin, 16).await, [TEXT_BY_CLIENT, AWAY_BY_CLIENT].concat());
        // What the origin says before its own is for nobody: no frame follows a Close.
        origin.write_all(&[TEXT_BY_SERVER, AWAY_BY_SERVER].concat()).await.unwrap();
        let since = Instant::now();
        let (mut at_client, mut at_origin) = (Vec::new(), Vec::new());
        client.read_to_end(&mut at_client).await.unwrap();
        origin.read_to_end(&mut at_origin).await.unwrap();
        assert!(at_client.is_empty() && at_origin.is_empty(), "{at_client:?} {at_origin:?}");
        drop((client, origin));
        tunnel.await.unwrap();
        assert!(since.elapsed() < PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_on_its_way_is_let_through_first() {
        let (mut client, mut origin, leave, _tunnel) = leaving_tunnel();
        origin.write_all(&[0x82, 126, 1, 0]).await.unwrap();
        origin.write_all(&[7; 100]).await.unwrap();
        read(&mut client, 104).await;
        leave.send(()).unwrap();
        tokio::time::sleep(GRACE / 3).await;
        origin.write_all(&[[7; 156].as_slice(), TEXT_BY_SERVER].concat()).await.unwrap();
        assert_eq!(read(&mut client, 160).await, [[7; 156].as_slice(), AWAY_BY_SERVER].concat());
        client.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_is_told_for_a_client_that_does_not_answer_or_is_gone() {
        for ends in [false, true] {
            let (mut client, mut origin, leave, tunnel) = leaving_tunnel();
            leave.send(()).unwrap();
            assert_eq!(read(&mut client, 4).await, AWAY_BY_SERVER);
            let since = Instant::now();
            if ends {
                client.shutdown().await.unwrap();
            }
            let close = read(&mut origin, 8).await;
            assert_eq!(&close[..2], [0x88, 0x82]);
            assert_eq!([close[6] ^ close[2], close[7] ^ close[3]], 1001_u16.to_be_bytes());
            assert_eq!(since.elapsed(), if ends { Duration::ZERO } else { PATIENCE });
            origin.write_all(AWAY_BY_SERVER).await.unwrap();
            drop(origin);
            // Its answer is still awaited, and no longer than the server goes on.
            tokio::time::sleep(PATIENCE).await;
            assert_eq!(tunnel.is_finished(), ends);
            drop(client);
            tunnel.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_closing_already_is_told_nothing() {
        let (mut client, mut origin, leave, tunnel) = leaving_tunnel();
        let close = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8];
        client.write_all(&close).await.unwrap();
        assert_eq!(read(&mut origin, 8).await, close);
        leave.send(()).unwrap();
        tokio::time::sleep(PATIENCE * 2).await;
        origin.write_all(&[TEXT_BY_SERVER, &[0x88, 2, 3, 0xe8]].concat()).await.unwrap();
        drop(origin);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [TEXT_BY_SERVER, &[0x88, 2, 3, 0xe8]].concat());
        drop(client);
        tunnel.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_put_into_what_is_no_frames() {
        let (mut client, mut origin, leave, _tunnel) = leaving_tunnel();
        origin.write_all(b"other").await.unwrap();
        client.write_all(b"words").await.unwrap();
        assert_eq!((read(&mut client, 5).await, read(&mut origin, 5).await), (b"other".to_vec(), b"words".to_vec()));
        leave.send(()).unwrap();
        tokio::time::sleep(PATIENCE * 2).await;
        origin.write_all(b" things").await.unwrap();
        client.write_all(b" again").await.unwrap();
        assert_eq!(read(&mut client, 7).await, b" things");
        assert_eq!(read(&mut origin, 6).await, b" again");
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_have_closed_and_do_not_leave_are_left() {
        let (mut client, mut origin, leave, tunnel) = leaving_tunnel();
        leave.send(()).unwrap();
        client.write_all(AWAY_BY_CLIENT).await.unwrap();
        origin.write_all(AWAY_BY_SERVER).await.unwrap();
        tunnel.await.unwrap();
        assert_eq!(read(&mut origin, 8).await, AWAY_BY_CLIENT);
        assert_eq!(read(&mut client, 4).await, AWAY_BY_SERVER);
    }
}
