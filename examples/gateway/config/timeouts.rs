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
    /// For everything together.
    pub(crate) total: Option<Duration>,
    /// Without a byte either way over WebSocket.
    pub(crate) upgrade_idle: Option<Duration>,
}

impl Timeouts {
    /// `timeouts = false`: no deadline at all.
    pub(super) const OFF: Self = Timeouts { response_head: None, body_idle: None, total: None, upgrade_idle: None };
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            response_head: Some(Duration::from_secs(30)),
            body_idle: Some(Duration::from_secs(60)),
            total: None,
            upgrade_idle: Some(Duration::from_secs(60 * 60)),
        }
    }
}

impl Table for Timeouts {
    const NOT_BUILT: &'static [&'static str] = &[];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let default = Timeouts::default();
        Some(Timeouts {
            response_head: keys.or::<OrNone<PositiveDuration>>("response_head", default.response_head),
            body_idle: keys.or::<OrNone<PositiveDuration>>("body_idle", default.body_idle),
            total: keys.or::<OrNone<PositiveDuration>>("total", default.total),
            upgrade_idle: keys.or::<OrNone<PositiveDuration>>("upgrade_idle", default.upgrade_idle),
        })
    }
}
