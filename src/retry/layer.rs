use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use tower_layer::Layer;

use super::backoff::Backoff;
use super::budget::RetryBudget;
use super::plan::{Methods, Policy};
use super::service::Retry;
use crate::gate::{Gate, gate_setters};

/// Sends requests again that failed. See the [module](super) for which, and when.
#[derive(Clone, Debug, Default)]
pub struct RetryLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) policy: Policy,
    pub(super) counters: Arc<Counters>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) retries: AtomicU64,
    pub(super) budget_exhausted: AtomicU64,
    pub(super) too_large: AtomicU64,
}

/// What a layer has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryStats {
    /// Tries after the first.
    pub retries: u64,
    /// Requests that were not tried again since the budget was spent.
    pub budget_exhausted: u64,
    /// Requests that were not tried again since more of their body was gone than may be kept.
    pub too_large: u64,
}

/// The running counters of a layer, for operators.
#[derive(Clone, Debug)]
pub struct RetryHandle(Arc<Counters>);

impl RetryHandle {
    /// What the layer has done so far.
    pub fn stats(&self) -> RetryStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RetryStats {
            retries: read(&self.0.retries),
            budget_exhausted: read(&self.0.budget_exhausted),
            too_large: read(&self.0.too_large),
        }
    }
}

impl RetryLayer {
    /// Three tries at most, with a budget of a fifth of the requests and ten a second.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a request is tried at most, the first time included. 3 by default; with 1 nothing is retried.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.policy().attempts = attempts;
        self
    }

    /// Which methods may be sent again though the origin may have seen them. The idempotent ones by default.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.policy().methods = Methods::These(methods.into_iter().collect());
        self
    }

    /// Whether a request with an `Idempotency-Key` may be, whatever its method. It may by default.
    #[must_use]
    pub fn idempotency_key(mut self, may: bool) -> Self {
        self.policy().idempotency_key = may;
        self
    }

    /// Whether a request is sent again when no connection came about. It is by default.
    #[must_use]
    pub fn on_connect(mut self, again: bool) -> Self {
        self.policy().on_connect = again;
        self
    }

    /// Whether it is when the connection ended before an answer. It is by default.
    #[must_use]
    pub fn on_reset(mut self, again: bool) -> Self {
        self.policy().on_reset = again;
        self
    }

    /// The statuses that are no answer. 502, 503 and 504 by default.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.policy().statuses = statuses.into_iter().collect();
        self
    }

    /// The limits of the random time before the first retry, 25 ms by default, and before any, 250 ms.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.policy().backoff = Backoff { first, longest };
        self
    }

    /// What `Retry-After` may ask for and still be waited for; one that asks for more ends the tries. 1 s by default.
    #[must_use]
    pub fn longest_retry_after(mut self, longest: Duration) -> Self {
        self.policy().longest_retry_after = longest;
        self
    }

    /// How long one try may take to the head of its answer, beginning anew while the client takes its time to send the
    /// request. No limit by default.
    #[must_use]
    pub fn per_try(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.policy().per_try = limit.into();
        self
    }

    /// How long all tries may take together, waits included, to the head of the answer. No limit by default.
    #[must_use]
    pub fn deadline(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.policy().deadline = limit.into();
        self
    }

    /// How many bytes of a request's body are kept. 64 KiB by default.
    #[must_use]
    pub fn replay_bytes(mut self, bytes: u64) -> Self {
        self.policy().replay_bytes = bytes;
        self
    }

    /// How many retries there may be. Layers that load the same origin can share one.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.policy().budget = budget;
        self
    }

    /// True when a retry would go to another server: the first one is then made at once. Without this rule every retry
    /// waits.
    #[must_use]
    pub fn at_once_when(mut self, another_server: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.policy().elsewhere = Some(Arc::new(another_server));
        self
    }

    /// The running counters.
    pub fn handle(&self) -> RetryHandle {
        RetryHandle(self.settings.counters.clone())
    }

    /// Takes over the counters of `old`, and what is left of its budget where this one's is the same.
    #[must_use]
    pub fn adopt(mut self, old: &Self) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        settings.counters = old.settings.counters.clone();
        if settings.policy.budget.is_like(&old.settings.policy.budget) {
            settings.policy.budget = old.settings.policy.budget.clone();
        }
        self
    }

    gate_setters!();

    fn policy(&mut self) -> &mut Policy {
        &mut Arc::make_mut(&mut self.settings).policy
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, settings: self.settings.clone() }
    }
}
