use std::sync::Arc;

use tower_layer::Layer;

use super::{EncodedSlashes, Strict};
use crate::gate::{Gate, gate_setters};

/// Refuses requests that can be read in two ways, and gives the others one form. See the [module](super) for the rules.
#[derive(Clone, Debug, Default)]
pub struct StrictLayer {
    pub(super) settings: Arc<Settings>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) encoded_slashes: EncodedSlashes,
}

impl StrictLayer {
    /// All rules, and encoded slashes refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of `%2F` in a path. Refused by default.
    ///
    /// A gateway whose routes decide that keeps them here, and asks
    /// [`EncodedSlashes::admits`] where the route is known.
    #[must_use]
    pub fn encoded_slashes(mut self, encoded_slashes: EncodedSlashes) -> Self {
        Arc::make_mut(&mut self.settings).encoded_slashes = encoded_slashes;
        self
    }

    gate_setters!(refuses);
}

impl<S> Layer<S> for StrictLayer {
    type Service = Strict<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Strict { inner, settings: Arc::clone(&self.settings) }
    }
}
