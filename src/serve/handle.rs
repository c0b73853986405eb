use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::ServeStats;
use super::counters::Counters;

/// Controls a running server. Clones control the same one.
///
/// It is a remote control and no more: when all of them are dropped the server runs on, until the process ends.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    pub(super) addresses: Arc<[SocketAddr]>,
    pub(super) counters: Arc<[Arc<Counters>]>,
    pub(super) control: Arc<Control>,
}

/// Between the handles and the workers.
#[derive(Debug)]
pub(super) struct Control {
    /// Until when requests in flight may go on. `None` while the server runs.
    pub(super) deadline: watch::Sender<Option<Instant>>,
    pub(super) workers_left: watch::Sender<usize>,
}

/// What became of the requests in flight when a server stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections with a request in flight, or upgraded, that came to their end within the grace.
    pub finished: u64,
    /// Those that were cut when the grace had passed.
    pub aborted: u64,
}

impl Control {
    pub(super) fn new(workers: usize) -> Self {
        Self { deadline: watch::Sender::new(None), workers_left: watch::Sender::new(workers) }
    }

    /// A deadline is only ever moved nearer.
    pub(super) fn stop_by(&self, deadline: Instant) {
        self.deadline.send_if_modified(|current| {
            let nearer = current.is_none_or(|current| deadline < current);
            if nearer {
                *current = Some(deadline);
            }
            nearer
        });
    }
}

impl ServerHandle {
    /// The addresses that are listened on, in the order they were given in. Port 0 has become a port.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What was counted so far.
    pub fn stats(&self) -> ServeStats {
        self.counters.iter().fold(ServeStats::default(), |stats, worker| stats.add(worker))
    }

    /// Stops the server and waits until it has stopped.
    ///
    /// It begins at once, also if the future is never polled. The listeners close, after what waits in their backlogs is
    /// taken in; connections without a request close; requests in flight are finished, and their answers say
    /// `connection: close`. What is not finished after `grace` is cut, and so is whatever else runs on the workers'
    /// runtimes. A second call may shorten the grace of the first, and `drain(Duration::ZERO)` stops at once.
    ///
    /// The future needs no tokio runtime.
    pub fn drain(&self, grace: Duration) -> impl Future<Output = Drained> + Send + 'static {
        let now = Instant::now();
        // A grace beyond what the clock can express is a century.
        let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        self.control.stop_by(now.checked_add(grace).unwrap_or(now + century));
        let stopped = self.stopped();
        let counters = self.counters.clone();
        async move {
            stopped.await;
            counters.iter().fold(Drained::default(), |sum, worker| Drained {
                finished: sum.finished + worker.drain.finished.get(),
                aborted: sum.aborted + worker.drain.aborted.get(),
            })
        }
    }

    /// Waits until the server has stopped, without stopping it.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let control = self.control.clone();
        async move {
            // The sender is held right here, so it cannot be gone.
            let _ = control.workers_left.subscribe().wait_for(|left| *left == 0).await;
        }
    }
}
