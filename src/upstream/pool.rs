//! The idle connections of one client.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::h1::connection::Connection;

/// Idle connections, for each server the last used first: the rest may then grow old and be closed.
#[derive(Debug)]
pub(super) struct Pool {
    servers: Box<[Shelf]>,
    keep_alive: Duration,
    sweeping: AtomicBool,
}

#[derive(Debug, Default)]
struct Shelf {
    idle: Mutex<VecDeque<(Box<Connection>, Instant)>>,
    /// Requests of this client that wait for a connection, and what wakes one of them.
    waiting: AtomicUsize,
    returned: Notify,
}

impl Pool {
    pub(super) fn new(servers: usize, keep_alive: Duration) -> Arc<Self> {
        let servers = (0..servers).map(|_| Shelf::default()).collect();
        Arc::new(Self { servers, keep_alive, sweeping: AtomicBool::new(false) })
    }

    /// The connection that was used last, if one is still open.
    pub(super) fn take(&self, server: usize) -> Option<Box<Connection>> {
        let mut idle = self.servers[server].idle();
        while let Some((connection, since)) = idle.pop_back() {
            if connection.is_open() && since.elapsed() < self.keep_alive {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request. `wanted_elsewhere` is true when another client waits for one: then it is
    /// closed, unless somebody here waits too.
    pub(super) fn put(self: &Arc<Self>, server: usize, connection: Box<Connection>, wanted_elsewhere: bool) {
        let shelf = &self.servers[server];
        let wanted_here = shelf.waiting.load(Ordering::Acquire) > 0;
        if !connection.is_open() || (wanted_elsewhere && !wanted_here) {
            return;
        }
        shelf.idle().push_back((connection, Instant::now()));
        if wanted_here {
            shelf.returned.notify_one();
        }
        self.sweep_later();
    }

    /// Closes the connection that was idle longest.
    pub(super) fn close_one(&self, server: usize) -> bool {
        self.servers[server].idle().pop_front().is_some()
    }

    /// Ready when a connection may have come back. A guard that is dropped has stopped waiting.
    pub(super) fn wait(&self, server: usize) -> Waiting<'_> {
        let shelf = &self.servers[server];
        shelf.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(shelf)
    }

    /// Old connections are closed by a task that lives only while there are idle ones.
    fn sweep_later(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = Arc::downgrade(self);
        let pause = (self.keep_alive / 2).max(Duration::from_millis(10));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.sweep() {
                    return;
                }
            }
        });
    }

    /// Closes what is too old or closed already. False when nothing is left, and sweeping ends.
    fn sweep(&self) -> bool {
        for shelf in &self.servers {
            shelf.idle().retain(|(connection, since)| connection.is_open() && since.elapsed() < self.keep_alive);
        }
        // The flag first: a connection put after this look starts a sweep of its own.
        self.sweeping.store(false, Ordering::Release);
        let any = self.servers.iter().any(|shelf| !shelf.idle().is_empty());
        any && !self.sweeping.swap(true, Ordering::AcqRel)
    }
}

impl Shelf {
    fn idle(&self) -> MutexGuard<'_, VecDeque<(Box<Connection>, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for a connection.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Shelf);

impl Waiting<'_> {
    pub(super) async fn returned(&self) {
        self.0.returned.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
