use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::broadcast;

use super::breaker::Breaker;
use super::policy::BreakerState;
use super::registry::Registry;
use super::state::Phase;

/// The running breakers of a layer, for operators.
#[derive(Clone, Debug)]
pub struct BreakerHandle {
    registry: Arc<Registry>,
    only: Option<Arc<Breaker>>,
}

/// What a breaker has to say of itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerStatus {
    /// Its key, or the layer's name.
    pub key: Arc<str>,
    /// Its state.
    pub state: BreakerState,
    /// True when an operator put it there.
    pub forced: bool,
    /// How long it stays open yet.
    pub open_for: Option<Duration>,
    /// Calls in the window.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them that were slow.
    pub slow: u64,
    /// Probes under way.
    pub probes: u64,
    /// Requests it has refused since it was made.
    pub refused: u64,
    /// How often it has opened since it was made.
    pub opened: u64,
}

/// A breaker has gone from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its key, or the layer's name.
    pub key: Arc<str>,
    /// The state it was in.
    pub from: BreakerState,
    /// The one it is in.
    pub to: BreakerState,
}

/// The changes of a layer's breakers, as they come. Made by [`BreakerHandle::subscribe`].
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Change>);

impl BreakerHandle {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, only: None }
    }

    /// The same for one key alone. `None` when no request with it has come.
    pub fn key(&self, key: &str) -> Option<Self> {
        let only = self.breakers().into_iter().find(|breaker| &*breaker.key == key)?;
        Some(Self { registry: self.registry.clone(), only: Some(only) })
    }

    /// The state, of several the one that lets the least pass.
    pub fn state(&self) -> BreakerState {
        let states = self.breakers().into_iter().map(|breaker| breaker.snapshot().phase.state());
        states.max().unwrap_or(BreakerState::Closed)
    }

    /// What there is to say of each breaker, by key; the one that is common to all other requests comes first.
    pub fn status(&self) -> Vec<BreakerStatus> {
        self.breakers().iter().map(|breaker| status(breaker)).collect()
    }

    /// Lets nothing pass until [`reset`](Self::reset).
    pub fn force_open(&self) {
        self.force(|_| Phase::ForcedOpen);
    }

    /// Lets everything pass, whatever becomes of it, until [`reset`](Self::reset).
    pub fn force_closed(&self) {
        self.force(|_| Phase::ForcedClosed);
    }

    /// Closed, with nothing remembered, and free to open again.
    pub fn reset(&self) {
        self.force(|breaker| Phase::Closed { since: breaker.now() });
    }

    /// All changes from now on, of every key.
    pub fn subscribe(&self) -> Changes {
        Changes(self.registry.changes.subscribe())
    }

    fn force(&self, phase: impl Fn(&Breaker) -> Phase) {
        for breaker in self.breakers() {
            let transition = breaker.force(phase(&breaker));
            self.registry.tell(&breaker, transition);
        }
    }

    fn breakers(&self) -> Vec<Arc<Breaker>> {
        match &self.only {
            Some(only) => vec![only.clone()],
            None => self.registry.all(),
        }
    }
}

impl Changes {
    /// The next change. Whoever falls far behind misses the oldest. `None` when the layer is gone.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.0.recv().await {
                Ok(change) => return Some(change),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn status(breaker: &Breaker) -> BreakerStatus {
    let (phase, totals) = (breaker.snapshot().phase, breaker.totals());
    BreakerStatus {
        key: breaker.key.clone(),
        state: phase.state(),
        forced: matches!(phase, Phase::ForcedOpen | Phase::ForcedClosed),
        open_for: breaker.left(),
        calls: totals.calls,
        failures: totals.failures,
        slow: totals.slow,
        probes: match phase {
            Phase::HalfOpen { probing, .. } => probing.into(),
            _ => 0,
        },
        refused: breaker.refused.load(Ordering::Relaxed),
        opened: breaker.opened.load(Ordering::Relaxed),
    }
}
