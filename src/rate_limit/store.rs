//! Where use is counted.

mod boxed;
pub(super) mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;

use std::future::Future;

pub use self::boxed::{AsyncStore, BoxStore, Boxed};

use super::{Charge, Decision, Digests};

/// Where use is counted: in memory, in Redis, or in a store of your own.
///
/// One call is one request, and should be one round trip, however many quotas it has. The easy way to write a store is
/// [`AsyncStore`], with plain `async fn`s; this one names its future, so that a store that knows the answer at once costs no
/// allocation.
///
/// More ways to ask, such as leases of many tokens at once, may come with defaults by the methods that are here.
pub trait Store: Send + Sync + 'static {
    /// What [`acquire`](Self::acquire) and the others return.
    type Future: Future<Output = Result<Decision, StoreError>> + Send + 'static;

    /// How this store wants its keys. [`Digests::stable`] unless it lives in the memory of one process.
    fn digests(&self) -> Digests {
        Digests::stable()
    }

    /// [`acquire`](Self::acquire), answered at once. `None`: it has to be waited for, and nothing was charged.
    fn now(&self, charges: &[Charge]) -> Option<Decision> {
        let _ = charges;
        None
    }

    /// Charges all of them if each has room, and none otherwise.
    fn acquire(&self, charges: &[Charge]) -> Self::Future;

    /// Charges all of them whether or not there is room: what was known only after the answer. The decision says how
    /// things stand.
    fn debit(&self, charges: &[Charge]) -> Self::Future;

    /// Gives back what was charged, as far as it still counts. The decision says how things stand.
    fn refund(&self, charges: &[Charge]) -> Self::Future;

    /// How things stand, with nothing charged: whether a request of cost 1 would be admitted.
    fn peek(&self, charges: &[Charge]) -> Self::Future;

    /// Forgets the use of these keys. The decision says how things stand.
    fn reset(&self, charges: &[Charge]) -> Self::Future;
}

/// A store has no answer.
#[derive(Debug, thiserror::Error)]
#[error("the store of rate limits has no answer")]
pub struct StoreError(#[source] crate::BoxError);

impl StoreError {
    /// Because of `cause`.
    pub fn new(cause: impl Into<crate::BoxError>) -> Self {
        Self(cause.into())
    }
}
