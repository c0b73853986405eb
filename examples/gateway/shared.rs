//! One stack for all connections of a worker.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tower::Service;

/// A service of which a server's clones, one for each connection, are one and the same.
///
/// A stack that each connection has to itself has left the processor's cache when its next request comes; this one was used
/// for whoever came last. All of a worker's connections live in one thread, so that nobody waits for the lock.
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
            self.renew();
        }
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It is ready; asked, it learns of a reload.
        let _ = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        service.call(request)
    }
}

impl<S: Clone> Shared<S> {
    /// Puts a clone in place of the service: one of a [`Swap`](tower_gateway::serve::Swap) holds nothing of what was served before.
    ///
    /// Also after a panic, which may have left it half changed, and is the affair of the request that met it and of no other.
    #[cold]
    pub(crate) fn renew(&self) {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = service.clone();
        let old = std::mem::replace(&mut *service, fresh);
        self.0.clear_poison();
        drop(service);
        // What ends with it takes its time.
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tower_gateway::serve::Swap;

    use super::*;

    /// Tells how often it was called since it was cloned, and panics when told to.
    struct Counting(u32, Arc<()>);

    fn counting() -> Counting {
        Counting(0, Arc::default())
    }

    impl Clone for Counting {
        fn clone(&self) -> Self {
            Self(0, self.1.clone())
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

    fn answer<S>(service: &mut Shared<S>) -> u32
    where
        S: Service<bool, Response = u32, Error = Infallible, Future = Ready<Result<u32, Infallible>>> + Clone,
    {
        service.call(false).into_inner().unwrap()
    }

    #[test]
    fn all_connections_call_the_same_service() {
        let mut one = Shared::new(counting());
        let mut other = one.clone();
        assert_eq!([answer(&mut one), answer(&mut other), answer(&mut one)], [1, 2, 3]);
    }

    #[test]
    fn what_was_exchanged_is_held_no_longer_than_until_it_is_renewed() {
        let swap = Swap::new(counting());
        let mut one = Shared::new(swap.clone());
        assert_eq!([answer(&mut one), answer(&mut one)], [1, 2]);
        let old = swap.replace(counting()).1;
        assert_eq!(Arc::strong_count(&old), 2);
        one.renew();
        assert_eq!(Arc::strong_count(&old), 1);
        assert_eq!(answer(&mut one), 1);
    }

    #[test]
    fn a_service_that_panicked_is_replaced_for_all() {
        let mut one = Shared::new(counting());
        let mut other = one.clone();
        assert_eq!(answer(&mut one), 1);
        assert!(catch_unwind(AssertUnwindSafe(|| one.call(true))).is_err());
        assert_eq!([answer(&mut other), answer(&mut one)], [1, 2]);
    }
}
