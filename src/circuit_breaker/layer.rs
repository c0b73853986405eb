use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::fallback::{Refuse, Serve};
use super::handle::BreakerHandle;
use super::policy::{Policy, SlowCalls, Span};
use super::registry::{BreakerKey, Registry};
use super::service::CircuitBreaker;
use crate::classify::{Classifier, HttpClassifier, Outcome};
use crate::gate::{Gate, gate_setters};
use crate::{Clock, Share};

/// Leaves an origin alone that fails. See the [module](super) for when.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<F = Refuse> {
    settings: Arc<Settings>,
    fallback: F,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) policy: Policy,
    pub(super) classifier: Arc<dyn Classifier>,
    pub(super) key: BreakerKey,
    pub(super) most_keys: usize,
    pub(super) registry: Arc<Registry>,
}

impl CircuitBreakerLayer {
    /// One breaker that opens for 30 s when half of at least 20 requests in 30 s have failed.
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// The same, by another clock.
    pub fn with_clock(clock: Clock) -> Self {
        let policy = Policy::default();
        let settings = Settings {
            gate: Gate::default(),
            classifier: Arc::new(HttpClassifier::default()),
            key: BreakerKey::default(),
            most_keys: 1024,
            registry: Arc::new(Registry::new("".into(), policy.span, clock)),
            policy,
        };
        Self { settings: Arc::new(settings), fallback: Refuse }
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> CircuitBreakerLayer<F> {
    /// Opens when such a share of the requests in the window failed. Half of them by default.
    #[must_use]
    pub fn failure_rate(mut self, rate: impl Into<Option<Share>>) -> Self {
        self.policy().failure_rate = rate.into();
        self
    }

    /// And when such a share was slow: took `after` or longer to the head of the answer, or was given up after that time.
    /// Off by default.
    #[must_use]
    pub fn slow_calls(mut self, after: Duration, rate: Share) -> Self {
        self.policy().slow = Some(SlowCalls { after, rate });
        self
    }

    /// And when so many requests in a row failed, whatever the minimum says. Off by default.
    #[must_use]
    pub fn consecutive_failures(mut self, failures: impl Into<Option<u32>>) -> Self {
        self.policy().consecutive_failures = failures.into();
        self
    }

    /// Fewer requests in the window say nothing. 20 by default.
    #[must_use]
    pub fn min_requests(mut self, requests: u32) -> Self {
        self.policy().min_requests = requests.into();
        self
    }

    /// The requests of such a time count, in ten steps. 30 s by default.
    #[must_use]
    pub fn window(self, time: Duration) -> Self {
        self.span(Span::Time(time))
    }

    /// The last so many requests count, however old they are: at most 1,048,576, with a byte each.
    #[must_use]
    pub fn last_calls(self, calls: u32) -> Self {
        self.span(Span::Calls(calls))
    }

    /// How long it stays open, 30 s by default. When it opens again soon after it has closed, or its probes fail, the time
    /// doubles, at most to [`longest_open`](Self::longest_open).
    #[must_use]
    pub fn open_for(mut self, time: Duration) -> Self {
        self.policy().open_for = time;
        self
    }

    /// The cap for a time that grows. Ten times the first by default.
    #[must_use]
    pub fn longest_open(mut self, time: Duration) -> Self {
        self.policy().longest_open = Some(time);
        self
    }

    /// How many probes pass at once while it is half-open, and have to succeed to close it. One by default, and at least.
    #[must_use]
    pub fn half_open_requests(mut self, probes: u32) -> Self {
        self.policy().half_open_requests = probes;
        self
    }

    /// What a failure is. [`HttpClassifier`] by default.
    #[must_use]
    pub fn classifier(mut self, classifier: impl Classifier) -> Self {
        Arc::make_mut(&mut self.settings).classifier = Arc::new(classifier);
        self
    }

    /// A breaker for each of these, instead of one for all requests.
    #[must_use]
    pub fn key(mut self, key: BreakerKey) -> Self {
        Arc::make_mut(&mut self.settings).key = key;
        self
    }

    /// How many keys have a breaker of their own, 1,024 by default. When all are taken, those that are closed and idle make
    /// room; when there is none, further keys share one.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        Arc::make_mut(&mut self.settings).most_keys = keys;
        self
    }

    /// What the breaker is called in [`BreakerStatus`](super::BreakerStatus) and [`Change`](super::Change). It begins
    /// anew, so name it first.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        settings.registry = Arc::new(settings.registry.named(name.into()));
        self
    }

    /// Answers in place of an origin that is left alone. The service has the inner one's error, and answers with a body of
    /// the inner one's kind, or with bytes:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use tower_gateway::body::ResponseBody;
    /// use tower_gateway::circuit_breaker::CircuitBreakerLayer;
    ///
    /// async fn sorry<B, R, E>(_: Request<B>) -> Result<Response<ResponseBody<R>>, E> {
    ///     Ok(Response::new(ResponseBody::own(Bytes::from_static(b"[]"))))
    /// }
    /// # async fn answer<B>(_: Request<B>) -> Result<Response<http_body_util::Empty<Bytes>>, std::convert::Infallible> {
    /// #     Ok(Response::new(http_body_util::Empty::new()))
    /// # }
    ///
    /// let layer = CircuitBreakerLayer::new().fallback(tower::service_fn(sorry));
    /// # let handle = layer.handle();
    /// # let service = tower::Layer::layer(&layer, tower::service_fn(answer));
    /// # handle.force_open();
    /// # tokio_test::block_on(async {
    /// # use http_body_util::BodyExt;
    /// # let answer = tower::ServiceExt::oneshot(service, Request::new(())).await.unwrap();
    /// # assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "[]");
    /// # });
    /// ```
    #[must_use]
    pub fn fallback<S>(self, service: S) -> CircuitBreakerLayer<Serve<S>> {
        CircuitBreakerLayer { settings: self.settings, fallback: Serve(service) }
    }

    /// The running breakers.
    pub fn handle(&self) -> BreakerHandle {
        BreakerHandle::new(self.settings.registry.clone())
    }

    /// Takes over the breakers of `old`, with other settings. What is open stays open until the time it was told; where the
    /// window has another length, counting starts anew.
    #[must_use]
    pub fn adopt<G>(mut self, old: &CircuitBreakerLayer<G>) -> Self {
        let (span, known) = (self.settings.policy.span, &old.settings.registry);
        let registry = if known.fits(span) { known.clone() } else { Arc::new(known.with_span(span)) };
        Arc::make_mut(&mut self.settings).registry = registry;
        self
    }

    /// For measurements: one call that is admitted and counted, without any service around it.
    #[doc(hidden)]
    pub fn admit_and_record(&self, failed: bool) -> bool {
        let (settings, breaker) = (&*self.settings, &self.settings.registry.common);
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        let (admitted, _) = breaker.admit(&settings.policy);
        admitted.map(|admission| breaker.record(&settings.policy, admission, outcome, false)).is_ok()
    }

    gate_setters!(refuses);

    fn policy(&mut self) -> &mut Policy {
        &mut Arc::make_mut(&mut self.settings).policy
    }

    fn span(mut self, span: Span) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        settings.policy.span = span;
        if !settings.registry.fits(span) {
            settings.registry = Arc::new(settings.registry.with_span(span));
        }
        self
    }
}

impl<S, F: Clone> Layer<S> for CircuitBreakerLayer<F> {
    type Service = CircuitBreaker<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker { inner, fallback: self.fallback.clone(), settings: self.settings.clone() }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("gate", &self.gate)
            .field("policy", &self.policy)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
