use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower_service::Service;

use super::pattern::Route;
use super::table::{Choice, RouteTable};
use crate::body::ResponseBody;
use crate::future::InnerOrOwn;
use crate::gate::{Gate, gate_setters};
use crate::{Head, Oneshot, Reason, Rejection, RequestContext};

/// Calls the service of the route that a request is for. See the [module](super).
pub struct Router<S> {
    settings: Arc<Settings>,
    services: Arc<[S]>,
    /// The service that was called last, and its route.
    last: Option<(usize, S)>,
}

#[derive(Clone, Debug)]
struct Settings {
    gate: Gate,
    table: Arc<RouteTable>,
}

/// The future of [`Router`].
pub type RouterFuture<S, B> = InnerOrOwn<Oneshot<S, Request<B>>>;

impl<S> Router<S> {
    /// A router of these routes, each with its service.
    pub fn new(routes: impl IntoIterator<Item = (Route, S)>) -> Self {
        let (routes, services): (Vec<_>, Vec<_>) = routes.into_iter().unzip();
        let settings = Settings { gate: Gate::default(), table: Arc::new(RouteTable::new(routes)) };
        Self { settings: Arc::new(settings), services: services.into(), last: None }
    }

    /// The same routes, each with what `change` makes of its service. The table is shared, not copied: a server with a
    /// stack for each worker makes it once.
    pub fn map_services<T>(&self, change: impl FnMut(&S) -> T) -> Router<T> {
        Router { settings: self.settings.clone(), services: self.services.iter().map(change).collect(), last: None }
    }

    gate_setters!(answers);

    fn refusal<B>(&self, request: &Request<B>, reason: Reason) -> Response<Bytes> {
        let head = Head::of(request);
        self.settings.gate.answer(head, head.context(), Rejection::new("router", reason))
    }
}

impl<S, B, R> Service<Request<B>> for Router<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = RouterFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let index = match self.settings.table.choose(Head::of(&request)) {
            Choice::Route(index) => index,
            Choice::NotFound if asks_the_server(&request) => {
                let mut answer = Response::new(Bytes::new());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                return InnerOrOwn::own(answer);
            }
            Choice::NotFound => return InnerOrOwn::own(self.refusal(&request, Reason::RouteNotFound)),
            Choice::MethodNotAllowed(allowed) => {
                let allowed = allow(&allowed);
                let mut answer = self.refusal(&request, Reason::MethodNotAllowed);
                answer.headers_mut().insert(ALLOW, allowed);
                return InnerOrOwn::own(answer);
            }
        };
        if let Some(name) = &self.settings.table.routes()[index].name {
            RequestContext::get_or_insert(request.extensions_mut()).note_route(name.clone());
        }
        let service = match self.last.take() {
            Some((last, service)) if last == index => service,
            _ => self.services[index].clone(),
        };
        let (_, service) = self.last.insert((index, service));
        InnerOrOwn::inner(Oneshot::start(service, request))
    }
}

/// `OPTIONS *` is for the server and none of its resources, of which none can be missing (RFC 9110 section 9.3.7).
fn asks_the_server<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && request.uri().path() == "*"
}

/// The value of `Allow` (RFC 9110 section 10.2.1).
fn allow(methods: &[&Method]) -> HeaderValue {
    let methods: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    // Methods are tokens, and so is a list of them.
    HeaderValue::try_from(methods.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

impl<S> Clone for Router<S> {
    /// A clone has called no service yet.
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone(), services: self.services.clone(), last: None }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("routes", &self.services.len()).finish_non_exhaustive()
    }
}
