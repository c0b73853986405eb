//! An origin that answers as it is told, and a client of the cache before it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_gateway::cache::{Cache, CacheLayer};
use tower_gateway::{Clock, ManualClock, RequestContext};

pub(crate) type OriginBody = UnsyncBoxBody<Bytes, BoxError>;
type Answer = Pin<Box<dyn Future<Output = Response<OriginBody>> + Send>>;
type Make = Box<dyn FnOnce(Request<()>) -> Answer + Send>;

#[derive(Clone, Default)]
pub(crate) struct Origin(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    next: VecDeque<Make>,
    asked: Vec<Request<()>>,
}

impl Origin {
    /// The next request not spoken for is answered with these fields and this content.
    pub(crate) fn answers(&self, status: u16, fields: &[(&str, &str)], content: &'static str) -> &Self {
        let response = response(status, fields, content);
        self.answers_with(move |_| Box::pin(async move { response }))
    }

    pub(crate) fn answers_with(&self, make: impl FnOnce(Request<()>) -> Answer + Send + 'static) -> &Self {
        self.0.lock().unwrap().next.push_back(Box::new(make));
        self
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }

    /// The fields of the last request.
    pub(crate) fn last(&self) -> HeaderMap {
        self.0.lock().unwrap().asked.last().expect("a request").headers().clone()
    }
}

pub(crate) fn response(status: u16, fields: &[(&str, &str)], content: impl Into<Bytes>) -> Response<OriginBody> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()).unwrap()
}

/// A body that comes when it is sent. Dropping the sender ends it.
pub(crate) fn sent(
    status: u16,
    fields: &[(&str, &str)],
) -> (tokio::sync::mpsc::UnboundedSender<Result<Bytes, BoxError>>, Response<OriginBody>) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Bytes, BoxError>>();
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures_util::StreamExt::map(stream, |piece| piece.map(http_body::Frame::data));
    let body = http_body_util::StreamBody::new(frames).boxed_unsync();
    (sender, response(status, fields, "").map(|_| body))
}

impl<B> Service<Request<B>> for Origin {
    type Response = Response<OriginBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<OriginBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut script = self.0.lock().unwrap();
        let request = request.map(drop);
        let mut seen = Request::new(());
        *seen.headers_mut() = request.headers().clone();
        *seen.method_mut() = request.method().clone();
        script.asked.push(seen);
        let answer = match script.next.pop_front() {
            Some(make) => make(request),
            None => Box::pin(async { response(599, &[], "nothing was to be asked") }),
        };
        Box::pin(async move { Ok(answer.await) })
    }
}

pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) content: String,
}

impl Got {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn outcome(&self) -> &str {
        self.field("x-cache")
    }
}

pub(crate) struct Bench {
    pub(crate) origin: Origin,
    pub(crate) service: Cache<Origin, tower_gateway::cache::store::MemoryStore>,
    pub(crate) layer: CacheLayer,
    pub(crate) hand: Arc<ManualClock>,
    pub(crate) clock: Clock,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|layer| layer)
    }

    pub(crate) fn with(change: impl FnOnce(CacheLayer) -> CacheLayer) -> Self {
        let (clock, hand) = Clock::manual();
        let layer = change(CacheLayer::new().clock(clock.clone()).x_cache(true));
        let origin = Origin::default();
        Self { service: layer.layer(origin.clone()), origin, layer, hand, clock }
    }

    pub(crate) fn passes(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
    }

    /// A date so many seconds from now.
    pub(crate) fn date(&self, seconds: i64) -> String {
        let now = self.clock.wall();
        let span = Duration::from_secs(seconds.unsigned_abs());
        httpdate::fmt_http_date(if seconds < 0 { now - span } else { now + span })
    }

    pub(crate) async fn get(&self, fields: &[(&str, &str)]) -> Got {
        self.send("GET", "/a", fields).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Got {
        self.send_as(method, path, fields, RequestContext::new()).await
    }

    /// The response to a GET, its body still to be read.
    pub(crate) fn start(
        &self,
        fields: &[(&str, &str)],
    ) -> impl Future<Output = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + use<>>> + use<> {
        let mut request = Request::builder().uri("/a").header("host", "a.test");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let service = self.service.clone();
        let answer = service.oneshot(request.body(()).unwrap());
        async move {
            let Ok(response) = answer.await;
            response
        }
    }

    pub(crate) async fn send_as(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        context: RequestContext,
    ) -> Got {
        let mut request = Request::builder().method(method).uri(path).header("host", "a.test").extension(context);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let Ok(response) = self.service.clone().oneshot(request.body(()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let content = body.collect().await.expect("a whole body").to_bytes();
        Got {
            status: parts.status.as_u16(),
            headers: parts.headers,
            content: String::from_utf8(content.into()).unwrap(),
        }
    }
}
