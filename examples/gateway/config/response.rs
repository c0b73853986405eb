//! `response` of a route. Nothing is added to responses yet, so all it can say is that nothing shall be.

use super::forms::OnlyFalse;
use super::table::{Keys, Table};

#[derive(Clone)]
pub(super) struct Response;

impl Table for Response {
    const NOT_BUILT: &'static [&'static str] = &["remove_headers", "set_headers"];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        keys.optional::<OnlyFalse>("response_time", "X-Response-Time: 12ms");
        keys.optional::<OnlyFalse>("server_timing", "Server-Timing");
        Some(Response)
    }
}
