//! `[request_id]`: the id that a request keeps on its whole way.

use http::HeaderName;

use super::table::{Keys, Table};

/// `[request_id]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId {
    pub(crate) enabled: bool,
    pub(crate) header: HeaderName,
}

impl Table for RequestId {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(RequestId {
            enabled: keys.or::<bool>("enabled", true, "whether requests are given an id"),
            header: keys.or::<HeaderName>(
                "header",
                "x-request-id",
                "the header that it is read from, forwarded and returned in",
            ),
        })
    }
}
