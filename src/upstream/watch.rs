//! What becomes of each request is told to the servers' book-keeping.

use std::sync::Arc;

use tokio::time::Instant;

use super::Upstream;
use super::server::Server;
use crate::classify::{Classifier, Judge, Outcome, Watch};

/// A request to one server of an upstream.
pub(super) struct Sent {
    upstream: Upstream,
    server: Arc<Server>,
    began: Instant,
    answered: bool,
}

pub(super) type SentWatch = Box<Watch<Sent>>;

/// What a server that gives no answer is taken to need for one: its errors may come fast.
const NO_ANSWER: std::time::Duration = std::time::Duration::from_secs(1);

impl Sent {
    pub(super) fn new(upstream: Upstream, server: Arc<Server>) -> Self {
        Self { upstream, server, began: Instant::now(), answered: false }
    }
}

impl Judge for Sent {
    fn classifier(&self) -> &dyn Classifier {
        &*self.upstream.0.settings.classifier
    }

    fn answered(&mut self) {
        self.answered = true;
        self.upstream.observe(&self.server, self.began.elapsed());
    }

    fn judged(self, outcome: Outcome) {
        if !self.answered && outcome == Outcome::Failure {
            self.upstream.observe(&self.server, self.began.elapsed().max(NO_ANSWER));
        }
        self.upstream.record(&self.server, outcome);
    }
}
