//! How many connections a server may have, and who is next to have one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The connections of one server: so many at once, idle ones included, from all clients together. Requests that find none
/// wait in one line, whichever client they come from, and nobody who comes later goes before them.
///
/// `C` is a connection, which must hold the [`Permit`] it was opened with.
#[derive(Debug)]
pub(super) struct Limit<C> {
    line: Mutex<Line<C>>,
    /// How many wait, to be seen without the lock.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Line<C> {
    free: usize,
    waiters: VecDeque<Waiter<C>>,
}

#[derive(Debug)]
struct Waiter<C> {
    /// The client that it belongs to: a connection stays with the client that opened it.
    client: usize,
    turn: oneshot::Sender<Grant<C>>,
}

/// What a request in the line is given.
#[derive(Debug)]
pub(super) enum Grant<C> {
    /// A connection of its own client.
    Connection(C),
    /// Leave to open one.
    Permit(Permit<C>),
}

/// Leave to have one connection. It goes to the next in line when it is dropped.
#[derive(Debug)]
pub(super) struct Permit<C>(Option<Arc<Limit<C>>>);

/// A place in the line. What was granted to it and not taken goes to the next when it is dropped.
#[derive(Debug)]
pub(super) struct Place<C> {
    limit: Arc<Limit<C>>,
    turn: oneshot::Receiver<Grant<C>>,
}

impl<C> Limit<C> {
    pub(super) fn new(connections: usize) -> Arc<Self> {
        let line = Mutex::new(Line { free: connections, waiters: VecDeque::new() });
        Arc::new(Self { line, waiting: AtomicUsize::new(0) })
    }

    /// True when somebody waits: what becomes free is theirs.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// True when the next in line is not `client`'s: that one has no use for a connection of `client`, but for its permit.
    pub(super) fn is_anothers_turn(&self, client: usize) -> bool {
        self.is_waited_for() && {
            let line = self.line();
            line.waiters.iter().find(|next| !next.turn.is_closed()).is_some_and(|next| next.client != client)
        }
    }

    /// A permit at once, unless all are taken.
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Permit<C>> {
        let mut line = self.line();
        line.free = line.free.checked_sub(1)?;
        Some(Permit(Some(self.clone())))
    }

    /// Joins the line. Whoever has joined must look once more for an idle connection: one that was put away before is not
    /// given to anybody.
    pub(super) fn join(self: &Arc<Self>, client: usize) -> Place<C> {
        let (sender, turn) = oneshot::channel();
        let mut line = self.line();
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        if line.waiters.len() > 2 * waiting + 16 {
            // Those who gave up are mostly passed over when their turn comes; here it does not come.
            line.waiters.retain(|waiter| !waiter.turn.is_closed());
        }
        line.waiters.push_back(Waiter { client, turn: sender });
        drop(line);
        self.serve_line();
        Place { limit: self.clone(), turn }
    }

    /// Gives a connection of `client` to the next in line. It comes back when nobody waits; when the next is another
    /// client's it is dropped, and with it goes its permit, which that one gets.
    pub(super) fn give(&self, client: usize, mut connection: C) -> Option<C> {
        loop {
            let next = {
                let mut line = self.line();
                match line.waiters.front() {
                    None => return Some(connection),
                    Some(next) if next.client != client && !next.turn.is_closed() => return None,
                    Some(_) => line.waiters.pop_front()?,
                }
            };
            match next.turn.send(Grant::Connection(connection)) {
                // That one has given up; its turn is that of the one behind it.
                Err(Grant::Connection(back)) => connection = back,
                _ => return None,
            }
        }
    }

    /// Hands out what is free, in the order of the line.
    fn serve_line(self: &Arc<Self>) {
        loop {
            let mut line = self.line();
            if line.free == 0 {
                return;
            }
            let Some(next) = line.waiters.pop_front() else { return };
            line.free -= 1;
            drop(line);
            if let Err(Grant::Permit(mut permit)) = next.turn.send(Grant::Permit(Permit(Some(self.clone())))) {
                // That one has given up. The permit is put back here, and not where it is dropped, which would serve the
                // line from within.
                permit.0 = None;
                self.line().free += 1;
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line<C>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Place<C> {
    /// What this place is given when its turn comes.
    pub(super) async fn turn(&mut self) -> Option<Grant<C>> {
        (&mut self.turn).await.ok()
    }
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        self.limit.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<C> Drop for Permit<C> {
    fn drop(&mut self) {
        if let Some(limit) = self.0.take() {
            limit.line().free += 1;
            limit.serve_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// A connection, and which one.
    #[derive(Debug)]
    struct Connection(u8, #[expect(dead_code, reason = "held for its drop")] Permit<Connection>);

    fn opened(place: &mut Place<Connection>) -> Option<Permit<Connection>> {
        match place.turn().now_or_never()?? {
            Grant::Permit(permit) => Some(permit),
            Grant::Connection(_) => None,
        }
    }

    fn handed(place: &mut Place<Connection>) -> Option<u8> {
        match place.turn().now_or_never()?? {
            Grant::Connection(connection) => Some(connection.0),
            Grant::Permit(_) => None,
        }
    }

    #[test]
    fn so_many_at_once_and_what_is_dropped_is_free_again() {
        let limit = Limit::<Connection>::new(2);
        let (one, two) = (limit.try_acquire().unwrap(), limit.try_acquire().unwrap());
        assert!(limit.try_acquire().is_none());
        drop((one, two));
        assert!(limit.try_acquire().is_some());
    }

    #[test]
    fn the_line_is_served_in_order_whoever_frees_and_whoever_waits() {
        let limit = Limit::new(1);
        let first = Connection(1, limit.try_acquire().unwrap());
        let (mut a, mut b, mut c) = (limit.join(7), limit.join(8), limit.join(7));
        assert!(limit.give(7, first).is_none());
        let Some(Some(Grant::Connection(first))) = a.turn().now_or_never() else { panic!("not handed on") };
        // The next in line is another client's: the connection is closed, and its permit goes there.
        assert!(limit.give(7, first).is_none());
        assert!(handed(&mut c).is_none());
        let second = Connection(2, opened(&mut b).unwrap());
        drop(second);
        assert!(opened(&mut c).is_some());
    }

    #[test]
    fn whoever_gives_up_is_passed_over_and_gives_back_what_it_was_granted() {
        let limit = Limit::new(1);
        let first = Connection(1, limit.try_acquire().unwrap());
        let (gave_up, granted, mut next) = (limit.join(8), limit.join(7), limit.join(7));
        drop(gave_up);
        assert!(limit.give(7, first).is_none(), "the one after it is this client's");
        drop(granted);
        assert!(opened(&mut next).is_some());
        drop(next);
        assert!(!limit.is_waited_for());
    }

    #[test]
    fn nobody_who_comes_later_goes_before_the_line() {
        let limit = Limit::<Connection>::new(1);
        let taken = limit.try_acquire();
        let mut waits = limit.join(7);
        drop(taken);
        assert!(limit.try_acquire().is_none());
        assert!(opened(&mut waits).is_some());
    }

    #[test]
    fn a_thousand_that_gave_up_are_forgotten() {
        let limit = Limit::<Connection>::new(1);
        let _taken = limit.try_acquire();
        (0..1000).for_each(|_| drop(limit.join(7)));
        assert!(limit.line().waiters.len() < 64);
    }

    #[test]
    fn under_threads_there_are_never_more_than_the_limit_and_none_is_lost() {
        let limit = Limit::<Connection>::new(3);
        let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for client in 0..8 {
                let (limit, open, most) = (&limit, &open, &most);
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let mut place = limit.join(client);
                        if round % 3 == 0 {
                            continue;
                        }
                        let granted = loop {
                            match place.turn().now_or_never() {
                                Some(granted) => break granted,
                                None => std::thread::yield_now(),
                            }
                        };
                        let Some(Grant::Permit(permit)) = granted else { unreachable!("nobody gives connections") };
                        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        open.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(limit.line().free, 3);
        assert!(!limit.is_waited_for());
    }
}
