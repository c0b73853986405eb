use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tower_service::Service;

use crate::aside::aside;

/// A service that can be replaced while it serves.
///
/// Clones share what is served. After [`replace`](Self::replace) has returned, every request that begins is served by the
/// new service, on connections that are open already too; those that have begun are finished by the old one. Between
/// replacements a request pays for one atomic load.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::Request;
/// use tower::{Service, ServiceExt, service_fn};
/// use tower_gateway::serve::Swap;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let answer = |answer: &'static str| service_fn(move |_: Request<()>| async move { Ok::<_, Infallible>(answer) });
/// let swap = Swap::new(answer("old"));
/// let mut connection = swap.clone();
/// assert_eq!(connection.ready().await?.call(Request::new(())).await?, "old");
///
/// swap.replace(answer("new"));
/// assert_eq!(connection.ready().await?.call(Request::new(())).await?, "new");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The services that are exchanged have one type. Where their types differ they are boxed; where only their settings do,
/// as after a reload, they do not.
///
/// A connection that is idle keeps its clone of the old service until its next request, or until it is closed, which the
/// [server](super::Server::keep_alive_timeout) sees to.
///
/// Readiness: the current inner service's.
pub struct Swap<S> {
    shared: Arc<Shared<S>>,
    /// This instance's clone, and which one it is of. None before the first request.
    own: Option<(u64, S)>,
}

struct Shared<S> {
    current: Mutex<S>,
    /// Counts replacements. Written with `current` locked, after it.
    generation: AtomicU64,
}

impl<S> Swap<S> {
    /// Serves by `service` until it is replaced.
    pub fn new(service: S) -> Self {
        let shared = Shared { current: Mutex::new(service), generation: AtomicU64::new(0) };
        Self { shared: Arc::new(shared), own: None }
    }

    /// Serves by `service` from now on, and gives back the one before it.
    pub fn replace(&self, service: S) -> S {
        let mut current = self.shared.current();
        let old = std::mem::replace(&mut *current, service);
        self.shared.generation.fetch_add(1, Ordering::Release);
        old
    }
}

impl<S> Shared<S> {
    /// What it guards is exchanged whole, so a panic elsewhere cannot leave it half written.
    fn current(&self) -> MutexGuard<'_, S> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Swap<S> {
    fn up_to_date(&mut self) -> &mut S {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if self.own.as_ref().is_some_and(|(own, _)| *own != generation) {
            self.own = None;
        }
        let own = self.own.get_or_insert_with(|| {
            aside();
            let current = self.shared.current();
            (self.shared.generation.load(Ordering::Relaxed), current.clone())
        });
        &mut own.1
    }
}

impl<S> Clone for Swap<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), own: None }
    }
}

impl<S> fmt::Debug for Swap<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swap").field("replaced", &self.shared.generation).finish_non_exhaustive()
    }
}

impl<S, R> Service<R> for Swap<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.up_to_date().poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        // The very instance that was polled, though another may be current by now.
        match &mut self.own {
            Some((_, own)) => own.call(request),
            None => self.up_to_date().call(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::sync::Weak;

    use tower::{BoxError, ServiceExt};

    use super::*;

    /// Answers with its name, and must have been polled.
    #[derive(Debug)]
    struct Named {
        name: Arc<str>,
        is_ready: bool,
    }

    impl Clone for Named {
        fn clone(&self) -> Self {
            Self { name: self.name.clone(), is_ready: false }
        }
    }

    impl Service<()> for Named {
        type Response = Arc<str>;
        type Error = Infallible;
        type Future = Ready<Result<Arc<str>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.is_ready = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            assert!(std::mem::take(&mut self.is_ready), "it was not asked whether it is ready");
            ready(Ok(self.name.clone()))
        }
    }

    fn named(name: &str) -> Named {
        Named { name: name.into(), is_ready: false }
    }

    async fn ask(swap: &mut Swap<Named>) -> Result<Arc<str>, BoxError> {
        Ok(swap.ready().await?.call(()).await?)
    }

    #[tokio::test]
    async fn every_clone_serves_by_the_new_one_from_its_next_request_on() {
        let swap = Swap::new(named("old"));
        let mut connections = [swap.clone(), swap.clone()];
        for connection in &mut connections {
            assert_eq!(&*ask(connection).await.unwrap(), "old");
        }
        assert_eq!(&*swap.replace(named("new")).name, "old");
        for connection in connections.iter_mut().chain([&mut swap.clone()]) {
            assert_eq!(&*ask(connection).await.unwrap(), "new");
        }
    }

    #[tokio::test]
    async fn the_instance_that_was_polled_is_called_though_another_is_current() {
        let mut swap = Swap::new(named("old"));
        swap.ready().await.unwrap();
        swap.replace(named("new"));
        assert_eq!(&*swap.call(()).await.unwrap(), "old");
        assert_eq!(&*ask(&mut swap).await.unwrap(), "new");
    }

    #[tokio::test]
    async fn the_old_one_is_gone_once_every_connection_has_asked_again() {
        let swap = Swap::new(named("old"));
        let mut connection = swap.clone();
        let old: Weak<str> = Arc::downgrade(&ask(&mut connection).await.unwrap());
        drop(swap.replace(named("new")));
        assert!(old.upgrade().is_some(), "the idle connection has it");
        ask(&mut connection).await.unwrap();
        assert!(old.upgrade().is_none());
    }

    #[test]
    fn what_was_replaced_is_not_served_again_by_any_thread() {
        let swap = Swap::new(named("0"));
        let replaced = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for mut connection in [swap.clone(), swap.clone()] {
                let replaced = &replaced;
                scope.spawn(move || {
                    loop {
                        let at_least = replaced.load(Ordering::SeqCst);
                        let name = futures_util::FutureExt::now_or_never(ask(&mut connection)).unwrap().unwrap();
                        assert!(name.parse::<u64>().unwrap() >= at_least);
                        if at_least == 10_000 {
                            return;
                        }
                    }
                });
            }
            for number in 1..=10_000_u64 {
                swap.replace(named(&number.to_string()));
                replaced.store(number, Ordering::SeqCst);
            }
        });
    }
}
