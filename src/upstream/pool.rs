//! The idle connections of one client.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::h1::connection::Connection;
use super::h2::connections::Connections;
use super::server::Server;
use crate::aside::aside;

/// Idle connections, for each server the last used first: the rest may then grow old and be closed.
#[derive(Debug)]
pub(super) struct Pool {
    /// By the server's slot.
    shelves: Mutex<Vec<Shelf>>,
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
    /// The ids of the servers that it knows as well.
    servers: HashSet<u64>,
}

/// The connections to one server.
#[derive(Debug, Default)]
struct Shelf {
    /// Whose they are: a slot is given to another server when one is gone.
    server: u64,
    /// Each with the number of sweeps before it was put here.
    idle: VecDeque<(Box<Connection>, u64)>,
    /// Those over which many requests go at once.
    shared: Arc<Connections>,
}

impl Pool {
    pub(super) fn new(keep_alive: Duration) -> Arc<Self> {
        let (sweeping, sweeps) = (AtomicBool::new(false), AtomicU64::new(0));
        let (shelves, sweeper) = (Mutex::default(), Mutex::default());
        Arc::new(Self { shelves, keep_alive, sweeping, sweeps, sweeper, heir: OnceLock::new() })
    }

    /// The connection that was used last, if one is still open. One that is too old is closed by the sweep, and is as good
    /// as any other until then: reading the clock for it would cost each request more than it is worth.
    pub(super) fn take(&self, server: &Server) -> Option<Box<Connection>> {
        let mut shelves = self.shelves();
        if let Some(shelf) = shelves.get_mut(server.slot()).filter(|shelf| shelf.server == server.id()) {
            while let Some((mut connection, _)) = shelf.idle.pop_back() {
                if connection.is_open() {
                    return Some(connection);
                }
                aside();
            }
        }
        aside();
        drop(shelves);
        // Requests that began before the heir took over find there what was theirs.
        self.heir_for(server)?.take(server)
    }

    /// The HTTP/2 connections to a server.
    pub(super) fn shared(&self, server: &Server) -> Arc<Connections> {
        // What has begun before the heir took over goes on over what is the heir's now.
        match self.heir_for(server) {
            Some(heir) => heir.shared(server),
            None => shelf(&mut self.shelves(), server).shared.clone(),
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(self: &Arc<Self>, server: &Server, connection: Box<Connection>) {
        if self.keep_alive.is_zero() {
            return;
        }
        let mut shelves = self.shelves();
        // Looked at under the lock, by which all that is idle is handed over, and closed when a server is gone.
        if self.heir.get().is_some() {
            drop(shelves);
            if let Some(heir) = self.heir_for(server) {
                heir.put(server, connection);
            }
            return;
        }
        if server.is_retired() {
            return;
        }
        shelf(&mut shelves, server).idle.push_back((connection, self.sweeps.load(Ordering::Relaxed)));
        drop(shelves);
        self.sweep_later();
    }

    /// Hands over all connections, those that come back later as well; those to servers other than these are closed. Only the
    /// first heir gets any.
    pub(super) fn hand_over(&self, heir: &Arc<Self>, servers: &[Arc<Server>]) {
        let ids = servers.iter().map(|server| server.id()).collect();
        if self.heir.set(Heir { pool: heir.clone(), servers: ids }).is_err() {
            return;
        }
        let shelves = std::mem::take(&mut *self.shelves());
        for shelf in shelves {
            match servers.iter().find(|server| server.id() == shelf.server) {
                Some(server) => {
                    shelf.idle.into_iter().for_each(|(connection, _)| heir.put(server, connection));
                    shelf.shared.hand_over(&heir.shared(server));
                }
                None => shelf.shared.close(),
            }
        }
    }

    /// Closes the connection that was idle longest.
    pub(super) fn close_one(&self, server: &Server) -> bool {
        let mut shelves = self.shelves();
        let Some(shelf) = shelves.get_mut(server.slot()).filter(|shelf| shelf.server == server.id()) else {
            return false;
        };
        shelf.idle.pop_front().is_some() || shelf.shared.close_idle()
    }

    /// Closes all that are idle: the server is gone. The others serve what is in flight, and nothing more.
    pub(super) fn forget(&self, server: &Server) {
        let mut shelves = self.shelves();
        if let Some(shelf) = shelves.get_mut(server.slot()).filter(|shelf| shelf.server == server.id()) {
            shelf.idle.clear();
            shelf.shared.close();
        }
    }

    /// Who has taken over, if the server is known there. Nobody else gets a connection to it.
    fn heir_for(&self, server: &Server) -> Option<&Arc<Self>> {
        self.heir.get().filter(|heir| heir.servers.contains(&server.id())).map(|heir| &heir.pool)
    }

    fn shelves(&self) -> MutexGuard<'_, Vec<Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
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
        for shelf in self.shelves().iter_mut() {
            shelf.idle.retain_mut(|(connection, put)| connection.is_open() && sweeps - *put < lifetime);
        }
        // The flag first: a connection put after this look starts a sweep of its own.
        self.sweeping.store(false, Ordering::Release);
        let any = self.shelves().iter().any(|shelf| !shelf.idle.is_empty());
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

/// A server's shelf, made when it is first asked for.
fn shelf<'a>(shelves: &'a mut Vec<Shelf>, server: &Server) -> &'a mut Shelf {
    if shelves.len() <= server.slot() {
        shelves.resize_with(server.slot() + 1, Shelf::default);
    }
    let shelf = &mut shelves[server.slot()];
    if shelf.server != server.id() {
        let before = std::mem::take(shelf);
        before.shared.close();
        shelf.server = server.id();
    }
    shelf
}
