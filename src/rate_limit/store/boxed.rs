//! Stores by `async fn`, and stores whose type is not known.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Store, StoreError};
use crate::rate_limit::{Charge, Charges, Decision, Digests};

type BoxFuture = Pin<Box<dyn Future<Output = Result<Decision, StoreError>> + Send>>;

/// A [`Store`] written with `async fn`. [`Boxed`] makes a store of it, at the price of one allocation a request.
///
/// `examples/rate_limit_store.rs` is one in thirty lines.
pub trait AsyncStore: Send + Sync + 'static {
    /// Charges all of them if each has room, and none otherwise.
    fn acquire(&self, charges: Charges) -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// Charges all of them whether or not there is room.
    fn debit(&self, charges: Charges) -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// Gives back what was charged.
    fn refund(&self, charges: Charges) -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// How things stand, with nothing charged.
    fn peek(&self, charges: Charges) -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// Forgets the use of these keys.
    fn reset(&self, charges: Charges) -> impl Future<Output = Result<Decision, StoreError>> + Send;
}

/// The [`Store`] that an [`AsyncStore`] is.
#[derive(Debug)]
pub struct Boxed<A>(Arc<A>);

impl<A> Boxed<A> {
    /// A store of `store`.
    pub fn new(store: A) -> Self {
        Self(Arc::new(store))
    }
}

impl<A> Clone for Boxed<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

macro_rules! by_async_fn {
    ($($name:ident)*) => {$(
        fn $name(&self, charges: &[Charge]) -> BoxFuture {
            let (store, charges) = (self.0.clone(), Charges::from_slice(charges));
            Box::pin(async move { store.$name(charges).await })
        }
    )*};
}

impl<A: AsyncStore> Store for Boxed<A> {
    type Future = BoxFuture;

    by_async_fn!(acquire debit refund peek reset);
}

/// Any [`Store`], by one type: for configurations that choose between them. What a store answers at once is not boxed.
#[derive(Clone)]
pub struct BoxStore(Arc<dyn Erased>);

trait Erased: Send + Sync {
    fn digests(&self) -> Digests;
    fn now(&self, charges: &[Charge]) -> Option<Decision>;
    fn acquire(&self, charges: &[Charge]) -> BoxFuture;
    fn debit(&self, charges: &[Charge]) -> BoxFuture;
    fn refund(&self, charges: &[Charge]) -> BoxFuture;
    fn peek(&self, charges: &[Charge]) -> BoxFuture;
    fn reset(&self, charges: &[Charge]) -> BoxFuture;
}

impl BoxStore {
    /// `store`, whatever it is.
    pub fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }
}

macro_rules! erased {
    ($($name:ident)*) => {$(
        fn $name(&self, charges: &[Charge]) -> BoxFuture {
            Box::pin(Store::$name(self, charges))
        }
    )*};
}

impl<S: Store> Erased for S {
    fn digests(&self) -> Digests {
        Store::digests(self)
    }

    fn now(&self, charges: &[Charge]) -> Option<Decision> {
        Store::now(self, charges)
    }

    erased!(acquire debit refund peek reset);
}

macro_rules! by_the_erased {
    ($($name:ident)*) => {$(
        fn $name(&self, charges: &[Charge]) -> BoxFuture {
            self.0.$name(charges)
        }
    )*};
}

impl Store for BoxStore {
    type Future = BoxFuture;

    fn digests(&self) -> Digests {
        self.0.digests()
    }

    fn now(&self, charges: &[Charge]) -> Option<Decision> {
        self.0.now(charges)
    }

    by_the_erased!(acquire debit refund peek reset);
}

impl fmt::Debug for BoxStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxStore").finish_non_exhaustive()
    }
}
