use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

#[cfg(feature = "serve")]
use super::make;
use super::{MakeRequestId, RequestIdService};
use crate::gate::{Gate, gate_setters};
use crate::{Clock, Head, NameSet, RequestId};

/// Gives every request one id and one trace, forwards both, and returns the id with every answer.
///
/// See the [module's documentation](super) for what it believes of an incoming request.
#[derive(Clone)]
pub struct RequestIdLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) header: HeaderName,
    /// The header in every spelling an origin may take for it.
    pub(super) spellings: NameSet,
    pub(super) make: Option<Arc<dyn MakeRequestId>>,
    pub(super) trust_every_peer: bool,
    pub(super) trace_context: bool,
    pub(super) restart_untrusted_traces: bool,
    pub(super) sample_started_traces: bool,
    pub(super) clock: Clock,
}

impl RequestIdLayer {
    /// UUIDs of version 7 in `x-request-id`, and W3C Trace Context.
    pub fn new() -> Self {
        let header = HeaderName::from_static("x-request-id");
        let settings = Settings {
            gate: Gate::default(),
            spellings: NameSet::new([header.clone()]),
            header,
            make: None,
            trust_every_peer: false,
            trace_context: true,
            restart_untrusted_traces: false,
            sample_started_traces: false,
            clock: Clock::system(),
        };
        Self { settings: Arc::new(settings) }
    }

    /// The header that carries the id, in the request and in the answer. `x-request-id` by default.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        let settings = self.settings_mut();
        settings.spellings = NameSet::new([header.clone()]);
        settings.header = header;
        self
    }

    /// Another maker of ids than the default, which makes UUIDs of version 7. For a closure see
    /// [`make_with`](Self::make_with).
    #[must_use]
    pub fn make(mut self, make: impl MakeRequestId) -> Self {
        self.settings_mut().make = Some(Arc::new(make));
        self
    }

    /// A closure that makes the ids. Where it gives `None` the layer makes a UUID.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use tower_gateway::{RequestId, request_id::RequestIdLayer};
    ///
    /// let next = AtomicU64::new(1);
    /// let layer = RequestIdLayer::new()
    ///     .make_with(move |_head| RequestId::new(next.fetch_add(1, Ordering::Relaxed).into()));
    /// ```
    #[must_use]
    pub fn make_with(self, make: impl Fn(&Head<'_>) -> Option<RequestId> + Send + Sync + 'static) -> Self {
        self.make(make)
    }

    /// Believes any peer as if it were a trusted proxy: off by default. With it on, whoever can reach this service chooses
    /// the id its requests are logged under, and can repeat another's. It is for a service that only your own gateway can
    /// reach.
    #[must_use]
    pub fn trust_every_peer(mut self, trust: bool) -> Self {
        self.settings_mut().trust_every_peer = trust;
        self
    }

    /// Whether `traceparent` and `tracestate` are read, continued or started, and sent inwards. On by default; off, they
    /// pass as they are.
    #[must_use]
    pub fn trace_context(mut self, trace_context: bool) -> Self {
        self.settings_mut().trace_context = trace_context;
        self
    }

    /// Whether a peer that is not trusted gets a new trace instead of the one it names. Off by default: continuing a
    /// client's trace is what Trace Context is for, and an id in it grants nothing. On, clients can neither join a trace
    /// of yours nor have it sampled (the security considerations of W3C Trace Context).
    #[must_use]
    pub fn restart_untrusted_traces(mut self, restart: bool) -> Self {
        self.settings_mut().restart_untrusted_traces = restart;
        self
    }

    /// Whether a trace that starts here is marked as sampled. Off by default: the layer records nothing itself, and W3C
    /// Trace Context has the flag at 0 where a trace is begun by one who leaves that decision to others. Services whose
    /// sampler follows its parent (OpenTelemetry's default) then record only the traces that a client has begun as sampled:
    /// turn it on where traces are to begin at the gateway.
    #[must_use]
    pub fn sample_started_traces(mut self, sample: bool) -> Self {
        self.settings_mut().sample_started_traces = sample;
        self
    }

    /// The clock whose date goes into the UUIDs.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings_mut().clock = clock;
        self
    }

    /// An id for a request that never comes to this layer, and the field for it. `None` where the layer is off.
    ///
    /// It is a UUID in any case: a maker of your own is shown a head, and here there may be none.
    #[cfg(feature = "serve")]
    pub(crate) fn id_of_unseen(&self) -> Option<(HeaderName, RequestId)> {
        let Settings { gate, header, clock, .. } = &*self.settings;
        (!gate.disabled).then(|| (header.clone(), make::uuid_v7(clock)))
    }

    gate_setters!();

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl Default for RequestIdLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestIdService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestIdService::new(inner, self.settings.clone())
    }
}

impl fmt::Debug for RequestIdLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestIdLayer")
            .field("gate", &self.gate)
            .field("header", &self.header)
            .field("makes_uuids", &self.make.is_none())
            .field("trust_every_peer", &self.trust_every_peer)
            .field("trace_context", &self.trace_context)
            .field("restart_untrusted_traces", &self.restart_untrusted_traces)
            .field("sample_started_traces", &self.sample_started_traces)
            .finish_non_exhaustive()
    }
}
