use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{ContentTypeFuture, InvalidMediaType, MediaTypes};
use crate::body::ResponseBody;
use crate::gate::{Gate, gate_setters};
use crate::readiness::release;
use crate::{Head, Reason, Rejection};

/// Lets in request bodies by their media type. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct ContentTypeLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug, Default)]
struct Settings {
    gate: Gate,
    accepted: MediaTypes,
    accept: Option<HeaderValue>,
}

impl ContentTypeLayer {
    /// Lets in bodies of these types: `application/json`, or `image/*`. None at all where the list is empty.
    ///
    /// # Errors
    ///
    /// [`InvalidMediaType`] for the first that is none.
    pub fn new<T: AsRef<str>>(accepted: impl IntoIterator<Item = T>) -> Result<Self, InvalidMediaType> {
        Ok(MediaTypes::new(accepted)?.into())
    }

    gate_setters!(refuses);
}

impl From<MediaTypes> for ContentTypeLayer {
    fn from(accepted: MediaTypes) -> Self {
        let accept = HeaderValue::try_from(accepted.to_string()).ok().filter(|value| !value.is_empty());
        Self { settings: Arc::new(Settings { gate: Gate::default(), accepted, accept }) }
    }
}

impl<S> Layer<S> for ContentTypeLayer {
    type Service = ContentType<S>;

    fn layer(&self, inner: S) -> ContentType<S> {
        ContentType { inner, settings: Arc::clone(&self.settings) }
    }
}

/// The service that [`ContentTypeLayer`] makes.
#[derive(Clone, Debug)]
pub struct ContentType<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for ContentType<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ContentTypeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.settings.refusal(&request) {
            Some(refusal) => {
                release(&mut self.inner);
                ContentTypeFuture::own(refusal)
            }
            None => ContentTypeFuture::inner(self.inner.call(request)),
        }
    }
}

impl Settings {
    fn refusal<B: Body>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        if !self.gate.applies(request) || request.body().is_end_stream() || self.admits(request.headers()) {
            return None;
        }
        let mut refusal =
            self.gate.refuse(Head::of(request), Rejection::new("content_type", Reason::UnsupportedMediaType))?;
        if let Some(accept) = &self.accept {
            refusal.headers_mut().insert(ACCEPT, accept.clone());
        }
        Some(refusal)
    }

    /// One type, and one of the accepted: of two, nobody knows which the next recipient reads.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(CONTENT_TYPE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        line.to_str().is_ok_and(|content_type| self.accepted.contains(content_type))
    }
}
