//! The HTTP/2 connections of one client to one server.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::driver::Driver;
use super::heard::Heard;
use crate::{BoxError, UpstreamError};

/// What a server may send of one answer before anybody has read any of it. A slow reader holds so much, and no more.
const STREAM_WINDOW: u32 = 256 << 10;
/// And of all answers on a connection: enough for many slow readers, so that they hold back nobody else.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What of one request waits for a socket that is full.
const SEND_BUFFER: usize = 64 << 10;

/// How long an answer's head may be.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// When a connection with requests in flight on which nothing comes is asked for a sign of life, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Pings {
    pub(in crate::upstream) interval: Duration,
    pub(in crate::upstream) timeout: Duration,
}

/// The connections, and the requests that wait for one.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Connections {
    open: Mutex<Vec<Arc<Connection>>>,
    /// Told when there may be room on one of them.
    pub(in crate::upstream) freed: Notify,
    /// Held by whoever opens one: the others wait and share it, or its failure.
    pub(in crate::upstream) opening: tokio::sync::Mutex<Option<(Instant, UpstreamError)>>,
}

/// One connection, as long as it takes requests.
#[derive(Debug)]
pub(in crate::upstream) struct Connection {
    /// `None` once it takes no more.
    sender: Mutex<Option<SendRequest<Bytes>>>,
    streams: AtomicUsize,
    has_ended: AtomicBool,
    pub(super) reads: Arc<AtomicU64>,
    driver: AtomicWaker,
    /// Told when the server has said its first word, or will say none.
    pub(super) greeted: Notify,
    owner: Mutex<Arc<Connections>>,
}

/// Room for one request on a connection, for as long as it lives.
#[derive(Debug)]
pub(in crate::upstream) struct Slot {
    pub(in crate::upstream) sender: SendRequest<Bytes>,
    _place: Place,
}

#[derive(Debug)]
struct Place(Arc<Connection>);

impl Connections {
    /// Room on a connection that is open, the fullest first: the others may then fall idle.
    pub(in crate::upstream) fn take(&self) -> Option<Slot> {
        let mut open = self.open();
        open.retain(|connection| !connection.has_ended.load(Relaxed));
        open.iter().find_map(Connection::enter)
    }

    /// Speaks HTTP/2 over `socket` from now on, on a task that holds `held` until the socket is closed. Ready when the server
    /// has said how many requests it takes at once, with which it begins (RFC 9113 section 3.4).
    pub(in crate::upstream) async fn add<T, P>(
        self: &Arc<Self>,
        socket: T,
        held: P,
        keep_alive: Duration,
        pings: Pings,
    ) -> Result<(), BoxError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        P: Send + 'static,
    {
        let reads = Arc::new(AtomicU64::new(0));
        let (sender, mut protocol) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(Heard::new(socket, reads.clone()))
            .await?;
        let pongs = protocol.ping_pong();
        let connection = Arc::new(Connection {
            sender: Mutex::new(Some(sender)),
            streams: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            reads,
            driver: AtomicWaker::new(),
            greeted: Notify::new(),
            owner: Mutex::new(self.clone()),
        });
        let driver = Driver::new(protocol, pongs, connection.clone(), keep_alive, pings);
        tokio::spawn(async move {
            driver.await;
            drop(held);
        });
        let mut opening = Opening(Some(connection.clone()));
        connection.greeted.notified().await;
        if connection.has_ended.load(Relaxed) {
            return Err("the server does not speak HTTP/2".into());
        }
        self.open().push(connection);
        opening.0 = None;
        self.freed.notify_waiters();
        Ok(())
    }

    /// Closes one that nobody uses. False when there is none.
    pub(in crate::upstream) fn close_idle(&self) -> bool {
        let open = self.open();
        let idle = open.iter().find(|connection| connection.streams() == 0 && !connection.has_ended.load(Relaxed));
        idle.is_some_and(|connection| {
            connection.close();
            true
        })
    }

    /// Hands all of them over: what is in flight goes on.
    pub(in crate::upstream) fn hand_over(&self, heir: &Arc<Self>) {
        let connections = std::mem::take(&mut *self.open());
        for connection in &connections {
            *connection.owner.lock().unwrap_or_else(PoisonError::into_inner) = heir.clone();
        }
        heir.open().extend(connections);
        heir.freed.notify_waiters();
    }

    /// Closes all of them, once what is in flight has ended.
    pub(in crate::upstream) fn close(&self) {
        self.open().drain(..).for_each(|connection| connection.close());
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose server has not said a word. Nobody waits for one for ever, and it is of no use to others.
struct Opening(Option<Arc<Connection>>);

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close();
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.close();
    }
}

impl Connection {
    /// Room for a request, unless the server's limit is reached (SETTINGS_MAX_CONCURRENT_STREAMS) or it takes none.
    fn enter(self: &Arc<Self>) -> Option<Slot> {
        let sender = self.sender().clone()?;
        // The streams of one client are counted on one thread, or a few too many are refused and sent again.
        if self.streams() >= sender.current_max_send_streams() {
            return None;
        }
        self.streams.fetch_add(1, Relaxed);
        Some(Slot { sender, _place: Place(self.clone()) })
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.driver.register(waker);
    }

    /// No more requests; it closes when the last of those it has is over.
    pub(super) fn close(&self) {
        self.has_ended.store(true, Relaxed);
        drop(self.sender().take());
        self.driver.wake();
        self.greeted.notify_one();
    }

    fn sender(&self) -> MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The server takes no more requests on this connection.
    pub(in crate::upstream) fn give_up(&self) {
        self._place.0.close();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.streams.fetch_sub(1, Relaxed) == 1 {
            // The time without requests begins.
            self.0.driver.wake();
        }
        let owner = self.0.owner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        owner.freed.notify_one();
    }
}
