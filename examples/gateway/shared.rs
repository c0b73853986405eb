//! One stack for all connections of a worker.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tower::Service;

/// A service of which a server's clones, one for each connection, are one and the same.
///
/// A stack that each connection has to itself is not in the processor's cache when its next request comes; this one is, unless
/// nobody has sent any. All of a worker's connections live in one thread, so that nobody waits for the lock.
///
/// For services that are always ready, as whatever begins with a router is: what one connection reserved, another would use.
pub(crate) struct Shared<S>(Arc<Mutex<S>>);

impl<S> Shared<S> {
    pub(crate) fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, R> Service<R> for Shared<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> S::Future {
        if self.0.is_poisoned() {
            self.replace();
        }
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It is ready; asked, it learns of a reload.
        let _ = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        service.call(request)
    }
}

impl<S: Clone> Shared<S> {
    /// A panic may have left it half changed, which is the affair of the request that met it, and of no other.
    #[cold]
    fn replace(&self) {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = service.clone();
        *service = fresh;
        self.0.clear_poison();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Tells how often it was called since it was cloned, and panics when told to.
    struct Counting(u32);

    impl Clone for Counting {
        fn clone(&self) -> Self {
            Self(0)
        }
    }

    impl Service<bool> for Counting {
        type Response = u32;
        type Error = Infallible;
        type Future = Ready<Result<u32, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, panics: bool) -> Self::Future {
            self.0 += 1;
            assert!(!panics, "for the test");
            ready(Ok(self.0))
        }
    }

    fn answer(service: &mut Shared<Counting>) -> u32 {
        service.call(false).into_inner().unwrap()
    }

    #[test]
    fn all_connections_call_the_same_service() {
        let mut one = Shared::new(Counting(0));
        let mut other = one.clone();
        assert_eq!([answer(&mut one), answer(&mut other), answer(&mut one)], [1, 2, 3]);
    }

    #[test]
    fn a_service_that_panicked_is_replaced_for_all() {
        let mut one = Shared::new(Counting(0));
        let mut other = one.clone();
        assert_eq!(answer(&mut one), 1);
        assert!(catch_unwind(AssertUnwindSafe(|| one.call(true))).is_err());
        assert_eq!([answer(&mut other), answer(&mut one)], [1, 2]);
    }
}
