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
    const NOT_BUILT: &'static [&'static str] = &[];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let default_header = HeaderName::from_static("x-request-id");
        Some(RequestId {
            enabled: keys.or::<bool>("enabled", true),
            header: keys.or::<HeaderName>("header", default_header),
        })
    }
}
