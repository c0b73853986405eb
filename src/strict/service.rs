use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use tower_service::Service;

use super::layer::Settings;
use super::refusal::Refusal;
use super::{EncodedSlashes, StrictFuture, framing, host, path, target};
use crate::Head;
use crate::aside::aside;
use crate::body::ResponseBody;
use crate::readiness::release;

const ENCODED_SLASH: Refusal = Refusal::of_target("the path holds an encoded slash");
const NOT_A_TARGET: Refusal = Refusal::of_target("the path cannot be normalised");

/// The service that [`StrictLayer`](super::StrictLayer) makes.
#[derive(Clone, Debug)]
pub struct Strict<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

/// What a request lacks of its one form. Mostly nothing.
#[derive(Default)]
struct Changes {
    host: Option<HeaderValue>,
    target: Option<PathAndQuery>,
}

impl<S, B, R> Service<Request<B>> for Strict<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = StrictFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.settings.refusal(&mut request) {
            Some(refusal) => {
                aside();
                release(&mut self.inner);
                StrictFuture::own(refusal)
            }
            None => StrictFuture::inner(self.inner.call(request)),
        }
    }
}

impl Settings {
    /// The answer to a request that is refused; one that is not is given its one form.
    fn refusal<B>(&self, request: &mut Request<B>) -> Option<Response<Bytes>> {
        if !self.gate.applies(request) {
            return None;
        }
        let refusal = match self.check(request) {
            // A trial changes nothing.
            Ok(_) if self.gate.dry_run => return None,
            Ok(Changes { host: None, target: None }) => return None,
            Ok(changes) => {
                aside();
                match changes.apply(request) {
                    Ok(()) => return None,
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        self.refuse(request, &refusal)
    }

    #[cold]
    fn refuse<B>(&self, request: &Request<B>, refusal: &Refusal) -> Option<Response<Bytes>> {
        let mut answer = self.gate.refuse(Head::of(request), refusal.rejection())?;
        refusal.close_after(&mut answer, request.version());
        Some(answer)
    }

    fn check<B>(&self, request: &Request<B>) -> Result<Changes, Refusal> {
        let (version, uri, headers) = (request.version(), request.uri(), request.headers());
        framing::check(version, headers)?;
        target::check(request.method(), uri)?;
        let host = host::check(version, uri, headers)?;
        Ok(Changes { host, target: if target::is_asterisk(uri) { None } else { self.normal_target(uri)? } })
    }

    /// The target with its path in normal form, and the query as it is. `None` when that is what it has.
    fn normal_target(&self, uri: &Uri) -> Result<Option<PathAndQuery>, Refusal> {
        if path::is_clean(uri.path()) { Ok(None) } else { self.normalised_target(uri) }
    }

    #[inline(never)]
    fn normalised_target(&self, uri: &Uri) -> Result<Option<PathAndQuery>, Refusal> {
        let normal = path::normalise(uri.path())?;
        if !self.encoded_slashes.admits(&normal) {
            return Err(ENCODED_SLASH);
        }
        let Cow::Owned(mut target) = normal else { return Ok(None) };
        if let Some(query) = uri.query() {
            target.push('?');
            target.push_str(query);
        }
        PathAndQuery::from_maybe_shared(Bytes::from(target)).map(Some).map_err(|_| NOT_A_TARGET)
    }
}

impl Changes {
    #[inline(never)]
    fn apply<B>(self, request: &mut Request<B>) -> Result<(), Refusal> {
        if let Some(host) = self.host {
            request.headers_mut().insert(HOST, host);
        }
        if let Some(target) = self.target {
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.path_and_query = Some(target);
            *request.uri_mut() = Uri::from_parts(parts).map_err(|_| NOT_A_TARGET)?;
        }
        Ok(())
    }
}

impl EncodedSlashes {
    /// True when a route with this rule takes `path`, which has to be in the form that
    /// [`StrictLayer`](super::StrictLayer) gives it.
    pub fn admits(self, path: &str) -> bool {
        self == Self::Keep || !path::has_encoded_slash(path)
    }
}
