use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::runtime;
use tokio::sync::Notify;
use tower_service::Service;

use super::admission::Admission;
use super::counters::Counters;
use super::entrance::Entrance;
use super::handle::Control;
use super::redirect::RedirectToHttps;
use super::settings::Settings;
use super::worker::{Worker, drained};
use super::{ServeBody, ServeError};
use crate::BoxError;

/// Says that a worker has ended, however it did.
pub(super) struct Running {
    pub(super) control: Arc<Control>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.workers_left.send_modify(|left| *left -= 1);
    }
}

/// What a worker grows from, on its own thread.
pub(super) struct Seed {
    pub(super) number: usize,
    pub(super) listeners: Vec<(TcpListener, Arc<Entrance>)>,
    pub(super) settings: Arc<Settings>,
    pub(super) admission: Arc<Admission>,
    pub(super) counters: Arc<Counters>,
}

impl Seed {
    pub(super) fn run<F, S, B, G, R, C>(
        self,
        factory: &F,
        redirects: &G,
        control: &Control,
        started: impl FnOnce(Result<(), ServeError>),
    ) where
        F: Fn(usize) -> S,
        S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Body + Send + 'static,
        B::Data: From<Bytes> + Send,
        B::Error: Into<BoxError>,
        G: Fn(usize, RedirectToHttps) -> R,
        R: Service<Request<ServeBody>, Response = Response<C>> + Clone + Send + 'static,
        R::Future: Send,
        R::Error: Send,
        C: Body + Send + 'static,
        C::Data: From<Bytes> + Send,
        C::Error: Into<BoxError>,
    {
        let worker = self.number;
        let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(source) => return started(Err(ServeError::Worker { worker, source })),
        };
        runtime.block_on(async {
            let made = catch_unwind(AssertUnwindSafe(|| {
                let redirects =
                    self.listeners.iter().map(|(_, entrance)| Some(redirects(worker, entrance.redirect()?)));
                (factory(worker), redirects.collect::<Vec<_>>())
            }));
            let Ok((service, redirects)) = made else {
                return started(Err(ServeError::Factory { worker }));
            };
            let listen = |(listener, entrance)| Ok((tokio::net::TcpListener::from_std(listener)?, entrance));
            let listeners: Vec<_> = match self.listeners.into_iter().map(listen).collect() {
                Ok(listeners) => listeners,
                Err(source) => return started(Err(ServeError::Worker { worker, source })),
            };
            let counters = self.counters;
            let worker = Worker {
                service,
                settings: self.settings,
                admission: self.admission,
                counters: counters.clone(),
                drain: Arc::new(Notify::new()),
            };
            let drain = worker.drain.clone();
            let accepts: Vec<_> = listeners
                .into_iter()
                .zip(redirects)
                .map(|((listener, entrance), redirect): ((_, Arc<Entrance>), _)| match redirect {
                    None => tokio::spawn(worker.clone().accept(listener, entrance)),
                    Some(service) => tokio::spawn(worker.with_service(service).accept(listener, entrance)),
                })
                .collect();
            started(Ok(()));

            let mut deadline = control.deadline.subscribe();
            // The sender lives as long as `control`, so this ends with a deadline.
            let _ = deadline.wait_for(Option::is_some).await;
            counters.drain.draining.store(true, Relaxed);
            counters.drain.until.send_replace(*deadline.borrow());
            drain.notify_waiters();
            for accept in accepts {
                // Nothing in it panics; if it did, its listener would be closed all the same.
                let _ = accept.await;
            }
            drained(&counters, deadline).await;
        });
        // Cuts what is left, without waiting for blocking work that a service may have begun.
        runtime.shutdown_background();
    }
}
