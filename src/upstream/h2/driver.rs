//! What keeps a connection going, and what ends it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::{Connection, Pings};
use super::heard::Heard;

/// How long a server may take to close a connection that was given up.
const LINGER: Duration = Duration::from_secs(1);

/// Whoever says "never" means a time beyond what clocks can add.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The request that a connection was opened for comes a moment later.
const SHORTEST: Duration = Duration::from_millis(10);

/// Drives one connection until it has ended, the server is not there any more, or nobody has used it for long.
pub(super) struct Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    protocol: h2::client::Connection<Heard<T>, Bytes>,
    pongs: Option<PingPong>,
    connection: Arc<Connection>,
    keep_alive: Duration,
    pings: Pings,
    since: Since,
    is_greeted: bool,
    timer: Pin<Box<Sleep>>,
}

/// Since when the connection is what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Since {
    /// Requests are in flight, and nothing has come.
    Silent(Instant, u64),
    /// The server was asked for a sign of life.
    Asked(Instant, u64),
    /// No request is in flight.
    Idle(Instant),
    /// It was told to close.
    Closing(Instant),
}

impl<T> Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(
        protocol: h2::client::Connection<Heard<T>, Bytes>,
        pongs: Option<PingPong>,
        connection: Arc<Connection>,
        keep_alive: Duration,
        pings: Pings,
    ) -> Self {
        let (now, keep_alive) = (Instant::now(), keep_alive.clamp(SHORTEST, FAR));
        let timer = Box::pin(sleep_until(now + keep_alive));
        Self { protocol, pongs, connection, keep_alive, pings, since: Since::Idle(now), is_greeted: false, timer }
    }

    /// Takes in what has changed; until when nothing need be done if nothing else does.
    fn look(&mut self) -> Instant {
        let reads = self.connection.reads.load(Relaxed);
        let in_flight = self.connection.streams() > 0;
        self.since = match self.since {
            Since::Closing(since) => Since::Closing(since),
            Since::Idle(since) if !in_flight => Since::Idle(since),
            _ if !in_flight => Since::Idle(Instant::now()),
            Since::Silent(_, before) | Since::Asked(_, before) if before == reads => self.since,
            _ => Since::Silent(Instant::now(), reads),
        };
        let (since, limit) = match self.since {
            Since::Silent(since, _) => (since, self.pings.interval),
            Since::Asked(since, _) => (since, self.pings.timeout),
            Since::Idle(since) => (since, self.keep_alive),
            Since::Closing(since) => (since, LINGER),
        };
        since + limit.min(FAR)
    }

    /// Does what is due. False when the connection has no further use.
    fn act(&mut self) -> bool {
        match self.since {
            Since::Silent(_, reads) => {
                if let Some(pongs) = &mut self.pongs {
                    // One that is on its way already will do.
                    let _ = pongs.send_ping(Ping::opaque());
                }
                self.since = Since::Asked(Instant::now(), reads);
                true
            }
            Since::Idle(_) => {
                self.connection.close();
                self.since = Since::Closing(Instant::now());
                true
            }
            Since::Asked(..) | Since::Closing(_) => false,
        }
    }
}

impl<T> Future for Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.connection.register(cx.waker());
        loop {
            if Pin::new(&mut this.protocol).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if let Some(pongs) = &mut this.pongs {
                let _ = pongs.poll_pong(cx);
            }
            if !this.is_greeted && this.connection.reads.load(Relaxed) > 0 {
                this.is_greeted = true;
                this.connection.greeted.notify_one();
            }
            let until = this.look();
            // It is set back only where it would go off too late; early, it finds nothing to do.
            if this.timer.deadline() > until || this.timer.is_elapsed() {
                this.timer.as_mut().reset(until);
            }
            if this.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= until && !this.act() {
                return Poll::Ready(());
            }
        }
    }
}

impl<T> Drop for Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn drop(&mut self) {
        self.connection.close();
    }
}
