use std::sync::Arc;

use tokio::time::Instant;

use super::server::{InFlight, Server};
use super::upstream::Upstream;
use crate::classify::Outcome;

/// A request in flight at one server, for as long as it lives. Made by [`Upstream::assign`].
#[derive(Debug)]
pub struct Assignment {
    pub(super) upstream: Upstream,
    pub(super) began: Instant,
    pub(super) in_flight: InFlight,
}

impl Assignment {
    /// The server.
    pub fn server(&self) -> &Arc<Server> {
        self.in_flight.server()
    }

    /// What became of the request, from which ejection and [`Balance::PeakEwma`](super::Balance::PeakEwma)
    /// learn. The time it took is taken to end here.
    pub fn record(self, outcome: Outcome) {
        self.upstream.observe(self.server(), self.began.elapsed());
        self.upstream.record(self.server(), outcome);
    }
}
