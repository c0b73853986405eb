use std::sync::Arc;

use tower_layer::Layer;

use super::headers::HeaderRules;
use super::service::Transform;
use crate::Clock;
use crate::gate::{Gate, gate_setters};

/// Changes header fields of requests and answers. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct TransformLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) request: HeaderRules,
    pub(super) response: HeaderRules,
    pub(super) response_time: bool,
    pub(super) server_timing: bool,
    pub(super) clock: Clock,
}

impl TransformLayer {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is done to the header fields of requests.
    #[must_use]
    pub fn request(mut self, rules: HeaderRules) -> Self {
        self.settings().request = rules;
        self
    }

    /// What is done to the header fields of answers, those that layers within this one make by themselves too. Templates
    /// see the request as it came to this layer.
    #[must_use]
    pub fn response(mut self, rules: HeaderRules) -> Self {
        self.settings().response = rules;
        self
    }

    /// Tells the client how long the answer's head took to come, in whole milliseconds: `X-Response-Time: 12ms`. Off by
    /// default.
    #[must_use]
    pub fn response_time(mut self, on: bool) -> Self {
        self.settings().response_time = on;
        self
    }

    /// The same as a metric for the browser's tools (W3C Server Timing), beside those of the origin:
    /// `Server-Timing: gateway;dur=12.345`. Off by default.
    #[must_use]
    pub fn server_timing(mut self, on: bool) -> Self {
        self.settings().server_timing = on;
        self
    }

    /// Where the time is read. The system's clocks by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings().clock = clock;
        self
    }

    gate_setters!();
    gate_setters!(answers);

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl<S> Layer<S> for TransformLayer {
    type Service = Transform<S>;

    fn layer(&self, inner: S) -> Transform<S> {
        Transform { inner, settings: Arc::clone(&self.settings) }
    }
}
