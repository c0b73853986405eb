//! The idle connections of one client.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::h1::connection::Connection;
use super::h2::connections::Connections;

/// Idle connections, for each server the last used first: the rest may then grow old and be closed.
#[derive(Debug)]
pub(super) struct Pool {
    servers: Box<[Shelf]>,
    /// Those over which many requests go at once, for each server.
    shared: Box<[Arc<Connections>]>,
    keep_alive: Duration,
    sweeping: AtomicBool,
    /// How many sweeps there were: by these a connection's age is counted, so that none has to read the clock.
    sweeps: AtomicU64,
    sweeper: Mutex<Option<AbortHandle>>,
    heir: OnceLock<Heir>,
}

/// Who has taken over from a pool: what is put into that goes here.
#[derive(Debug)]
struct Heir {
    pool: Arc<Pool>,
    /// By which index it knows the server of each index, if it does.
    servers: Box<[Option<usize>]>,
}

/// The idle connections to one server, each with the number of sweeps before it was put here.
#[derive(Debug, Default)]
struct Shelf(Mutex<VecDeque<(Box<Connection>, u64)>>);

impl Pool {
    pub(super) fn new(servers: usize, keep_alive: Duration) -> Arc<Self> {
        let shared = (0..servers).map(|_| Arc::default()).collect();
        let servers = (0..servers).map(|_| Shelf::default()).collect();
        let (sweeping, sweeps) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self {
            servers,
            shared,
            keep_alive,
            sweeping,
            sweeps,
            sweeper: Mutex::default(),
            heir: OnceLock::new(),
        })
    }

    /// The connection that was used last, if one is still open. One that is too old is closed by the sweep, and is as good
    /// as any other until then: reading the clock for it would cost each request more than it is worth.
    pub(super) fn take(&self, server: usize) -> Option<Box<Connection>> {
        let mut idle = self.servers[server].idle();
        while let Some((mut connection, _)) = idle.pop_back() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        drop(idle);
        // Requests that began before the heir took over find there what was theirs.
        self.heir.get()?.take(server)
    }

    /// The HTTP/2 connections to a server.
    pub(super) fn shared(&self, server: usize) -> &Arc<Connections> {
        // What has begun before the heir took over goes on over what is the heir's now.
        match self.heir.get().and_then(|heir| Some((&heir.pool, heir.servers[server]?))) {
            Some((pool, server)) => pool.shared(server),
            None => &self.shared[server],
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(self: &Arc<Self>, server: usize, connection: Box<Connection>) {
        if self.keep_alive.is_zero() {
            return;
        }
        let mut idle = self.servers[server].idle();
        // Looked at under the lock, by which all that is idle is handed over.
        if let Some(heir) = self.heir.get() {
            drop(idle);
            heir.put(server, connection);
            return;
        }
        idle.push_back((connection, self.sweeps.load(Ordering::Relaxed)));
        drop(idle);
        self.sweep_later();
    }

    /// Hands over all connections, those that come back later as well. `servers` says which of the heir's servers each of
    /// these is; connections to others are closed. Only the first heir gets any.
    pub(super) fn hand_over(&self, heir: &Arc<Self>, servers: Box<[Option<usize>]>) {
        if self.heir.set(Heir { pool: heir.clone(), servers }).is_err() {
            return;
        }
        let Some(heir) = self.heir.get() else { return };
        for (server, shelf) in self.servers.iter().enumerate() {
            let idle = std::mem::take(&mut *shelf.idle());
            idle.into_iter().for_each(|(connection, _)| heir.put(server, connection));
            match heir.servers[server] {
                Some(known) => self.shared[server].hand_over(heir.pool.shared(known)),
                None => self.shared[server].close(),
            }
        }
    }

    /// Closes the connection that was idle longest.
    pub(super) fn close_one(&self, server: usize) -> bool {
        self.servers[server].idle().pop_front().is_some() || self.shared[server].close_idle()
    }

    /// Old connections are closed by a task that lives only while there are idle ones.
    fn sweep_later(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = Arc::downgrade(self);
        let pause = self.pause();
        let sweeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.sweep() {
                    return;
                }
            }
        });
        *self.sweeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweeper.abort_handle());
    }

    /// Between two sweeps. An idle connection lives at most a quarter longer than it may, and a closed one is gone within
    /// half a minute.
    fn pause(&self) -> Duration {
        (self.keep_alive / 4).clamp(Duration::from_millis(10), Duration::from_secs(30))
    }

    /// Closes what is too old or closed already. False when nothing is left, and sweeping ends.
    fn sweep(&self) -> bool {
        let sweeps = self.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        // The first sweep it sees may come right after it was put, and counts for nothing.
        let lifetime = self.keep_alive.as_nanos().div_ceil(self.pause().as_nanos()) as u64 + 1;
        for shelf in &self.servers {
            shelf.idle().retain_mut(|(connection, put)| connection.is_open() && sweeps - *put < lifetime);
        }
        // The flag first: a connection put after this look starts a sweep of its own.
        self.sweeping.store(false, Ordering::Release);
        let any = self.servers.iter().any(|shelf| !shelf.idle().is_empty());
        any && !self.sweeping.swap(true, Ordering::AcqRel)
    }
}

/// A reload a second would otherwise leave half a minute's worth of sleeping tasks behind.
impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(sweeper) = self.sweeper.get_mut().unwrap_or_else(PoisonError::into_inner) {
            sweeper.abort();
        }
    }
}

impl Heir {
    fn take(&self, server: usize) -> Option<Box<Connection>> {
        self.pool.take(self.servers[server]?)
    }

    /// Closes what the heir has no use for.
    fn put(&self, server: usize, connection: Box<Connection>) {
        if let Some(server) = self.servers[server] {
            self.pool.put(server, connection);
        }
    }
}

impl Shelf {
    fn idle(&self) -> MutexGuard<'_, VecDeque<(Box<Connection>, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
