use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::answer;
use super::ask::Class;
use super::decision::Asking;
use super::future::{After, CacheFuture};
use super::plan::Plan;
use super::settings::Settings;
use super::status::Forward;
use super::store::CacheStore;
use crate::{BoxError, RequestContext};

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
        match Class::of(&self.settings, &request) {
            Class::Lookup(ask) => CacheFuture::look_up(&self.settings, &mut self.inner, request, ask),
            Class::Untouched => CacheFuture::call(&mut self.inner, request, After::Untouched),
            Class::Bypass => {
                let context = request.extensions().get::<RequestContext>().cloned();
                let after = After::Bypass(self.settings.clone(), context);
                CacheFuture::call(&mut self.inner, request, after)
            }
            Class::Unsafe(ask) => {
                let plan = Plan::new(self.settings.clone(), ask, Asking::plain(Forward::Method, None), &request);
                CacheFuture::call(&mut self.inner, request, After::Unsafe(plan))
            }
        }
    }
}
