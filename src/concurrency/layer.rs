use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::Concurrency;
use super::limiter::{Limiter, Mode};
use super::vegas::Vegas;
use crate::gate::{Gate, gate_setters};

/// Limits how many requests are in flight at once. See the [module](super).
#[derive(Clone, Debug)]
pub struct ConcurrencyLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) limiter: Arc<Limiter>,
    kind: Kind,
    pub(super) queue: usize,
    pub(super) queue_timeout: Duration,
    pub(super) retry_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fixed(usize),
    Adaptive(usize),
}

impl Kind {
    fn mode(self) -> Mode {
        match self {
            Self::Fixed(max) => Mode::Fixed(max),
            Self::Adaptive(most) => Mode::Adaptive(Vegas::new(most)),
        }
    }
}

impl ConcurrencyLayer {
    /// At most `max` in flight. With 0 all are refused.
    pub fn new(max: usize) -> Self {
        Self::of(Kind::Fixed(max))
    }

    /// As many as the service can do without a queue building up, found out by its latency: at first 20, and never more
    /// than `most`.
    pub fn adaptive(most: usize) -> Self {
        Self::of(Kind::Adaptive(most))
    }

    fn of(kind: Kind) -> Self {
        Self {
            settings: Arc::new(Settings {
                gate: Gate::default(),
                limiter: Limiter::new(kind.mode()),
                kind,
                queue: 0,
                queue_timeout: Duration::ZERO,
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// Up to `length` more wait for room, each at most for `timeout`. By default nobody does.
    #[must_use]
    pub fn queue(mut self, length: usize, timeout: Duration) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        (settings.queue, settings.queue_timeout) = (length, timeout);
        self
    }

    /// What those who are refused are told to wait. A second by default.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        Arc::make_mut(&mut self.settings).retry_after = retry_after;
        self
    }

    gate_setters!(refuses);

    /// For operators: how many are in flight, and how many may be.
    pub fn handle(&self) -> ConcurrencyHandle {
        ConcurrencyHandle(self.settings.limiter.clone())
    }

    /// Counts on where `old` has counted: what is in flight stays so, under this layer's limit. What an adaptive limit has
    /// learned is kept where it is one again.
    #[must_use]
    pub fn adopt(mut self, old: &Self) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        settings.limiter = old.settings.limiter.clone();
        settings.limiter.reconfigure(settings.kind.mode(), settings.kind == old.settings.kind);
        self
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Concurrency<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Concurrency { inner, settings: self.settings.clone() }
    }
}

/// A running [`ConcurrencyLayer`], for operators.
#[derive(Clone)]
pub struct ConcurrencyHandle(Arc<Limiter>);

impl ConcurrencyHandle {
    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// How many wait for room.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// How many may be in flight now.
    pub fn limit(&self) -> usize {
        self.0.limit()
    }
}

impl fmt::Debug for ConcurrencyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyHandle")
            .field("in_flight", &self.in_flight())
            .field("waiting", &self.waiting())
            .field("limit", &self.limit())
            .finish()
    }
}
