use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::answer;
use super::ask::{Class, Seen};
use super::decision::Asking;
use super::future::{self, After, CacheFuture};
use super::lookup::Lookup;
use super::plan::Plan;
use super::settings::Settings;
use super::status::Forward;
use super::store::{CacheStore, Known};
use crate::{BoxError, recycle};

/// The service that [`CacheLayer`](super::CacheLayer) makes.
pub struct Cache<S, St> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings<St>>,
}

impl<S: Clone, St> Clone for Cache<S, St> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: self.settings.clone() }
    }
}

impl<S: fmt::Debug, St> fmt::Debug for Cache<S, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("inner", &self.inner).field("settings", &self.settings).finish()
    }
}

impl<S, B, R, St> Service<Request<B>> for Cache<S, St>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
    R: Body + Send + 'static,
    R::Data: From<Bytes>,
    R::Error: Into<BoxError>,
    St: CacheStore,
{
    type Response = Response<answer::Body<R>>;
    type Error = S::Error;
    type Future = CacheFuture<S, B, R, St>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { inner, settings } = self;
        if !settings.gate.applies(&request) {
            return future::call(inner, request, After::Untouched);
        }
        let seen = Seen::of(&request);
        match seen.class(settings) {
            Class::Lookup => {
                let mut ask = seen.ask(settings);
                let known = settings.shared.store.now(ask.key.as_str());
                // A hit is answered here, so that nothing is made or moved for it that only others need.
                if let Known::Found(record) = &known
                    && let Some(response) = settings.hit(record, &ask, request.headers(), seen.context)
                {
                    recycle::give_request(request);
                    return future::answered(response);
                }
                ask.context = seen.context.cloned();
                future::look_up(Lookup { settings, inner, request, ask, round: 0 }, known)
            }
            Class::Untouched => future::call(inner, request, After::Untouched),
            Class::Bypass => {
                let after = After::Bypass(settings.clone(), seen.context.cloned());
                future::call(inner, request, after)
            }
            Class::Unsafe => {
                let mut ask = seen.ask(settings);
                ask.context = seen.context.cloned();
                let plan = Plan::new(settings.clone(), ask, Asking::plain(Forward::Method, None), &request);
                future::call(inner, request, After::Unsafe(plan))
            }
        }
    }
}
