//! What a request can be answered with: a stored response, or one that is still being received.

use std::sync::Arc;

use super::entry::{Entry, StoredBody, StoredHead};
use super::stream::Stream;

#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) head: Arc<StoredHead>,
    pub(super) body: FoundBody,
}

#[derive(Clone, Debug)]
pub(super) enum FoundBody {
    Stored(StoredBody),
    Arriving(Arc<Stream>),
}

impl From<&Entry> for Found {
    fn from(entry: &Entry) -> Self {
        Self { head: entry.head.clone(), body: FoundBody::Stored(entry.body.clone()) }
    }
}
