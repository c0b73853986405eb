//! `timeouts` of a route.

use std::time::Duration;

use super::duration::PositiveDuration;
use super::forms::OrNone;
use super::table::{Keys, Table};

/// The deadlines of one route's requests. One that is absent has been lifted with `"none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// From the end of the request to the head of the response, over all tries.
    pub(crate) response_head: Option<Duration>,
    /// Between two pieces of the response's body.
    pub(crate) body_idle: Option<Duration>,
    /// For everything together, but for streams.
    pub(crate) total: Option<Duration>,
    /// Without a byte either way over WebSocket.
    pub(crate) upgrade_idle: Option<Duration>,
}

impl Timeouts {
    /// `timeouts = false`: no deadline at all.
    pub(super) const OFF: Self = Timeouts { response_head: None, body_idle: None, total: None, upgrade_idle: None };
}

impl Table for Timeouts {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        type Time = OrNone<PositiveDuration>;
        Some(Timeouts {
            response_head: keys.or::<Time>(
                "response_head",
                "30s",
                "from the end of the request to the head of the response, over all tries; beyond it: 504",
            ),
            body_idle: keys.or::<Time>("body_idle", "60s", "between two pieces of the response's body"),
            total: keys.or::<Time>(
                "total",
                "none",
                "for everything together; streams (events, gRPC, WebSocket) are exempt",
            ),
            upgrade_idle: keys.or::<Time>("upgrade_idle", "1h", "without a byte either way over WebSocket"),
        })
    }
}
