use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower_service::Service;

use super::pattern::Route;
use super::table::{Choice, RouteTable};
use crate::aside::aside;
use crate::body::ResponseBody;
use crate::future::InnerOrOwn;
use crate::gate::{Gate, gate_setters};
use crate::{Head, Oneshot, Reason, Rejection, RequestContext};

/// Calls the service of the route that a request is for. See the [module](super).
pub struct Router<S> {
    settings: Arc<Settings>,
    services: Arc<[S]>,
    /// Services that were called, each with its route, at that route's place.
    called: Vec<Option<(usize, S)>>,
}

#[derive(Clone, Debug)]
struct Settings {
    gate: Gate,
    keep: usize,
    table: Arc<RouteTable>,
}

/// The future of [`Router`].
pub type RouterFuture<S, B> = InnerOrOwn<Oneshot<S, Request<B>>>;

impl<S> Router<S> {
    /// A router of these routes, each with its service.
    pub fn new(routes: impl IntoIterator<Item = (Route, S)>) -> Self {
        let (routes, services): (Vec<_>, Vec<_>) = routes.into_iter().unzip();
        let settings = Settings { gate: Gate::default(), keep: 1, table: Arc::new(RouteTable::new(routes)) };
        Self { settings: Arc::new(settings), services: services.into(), called: Vec::new() }
    }

    /// The same routes, each with what `change` makes of its service. The table is shared, not copied: a server with a
    /// stack for each worker makes it once.
    pub fn map_services<T>(&self, change: impl FnMut(&S) -> T) -> Router<T> {
        let services = self.services.iter().map(change).collect();
        Router { settings: self.settings.clone(), services, called: Vec::new() }
    }

    /// How many routes' services an instance keeps that it has called, to call them again: a service is cloned for the first
    /// request of its route, and whenever another route's has taken its place. 1 unless set, and never less, which is right
    /// where each connection has an instance of its own.
    #[must_use]
    pub fn keep(mut self, services: usize) -> Self {
        Arc::make_mut(&mut self.settings).keep = services.max(1);
        self
    }

    gate_setters!(answers);
}

impl Settings {
    #[cold]
    fn answer_without_route<B>(&self, request: &Request<B>, choice: &Choice<'_>) -> Response<Bytes> {
        match choice {
            Choice::NotFound if asks_the_server(request) => {
                let mut answer = Response::new(Bytes::new());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer
            }
            Choice::MethodNotAllowed(allowed) => {
                let mut answer = self.refusal(request, Reason::MethodNotAllowed);
                answer.headers_mut().insert(ALLOW, allow(allowed));
                answer
            }
            Choice::NotFound | Choice::Route(_) => self.refusal(request, Reason::RouteNotFound),
        }
    }

    fn refusal<B>(&self, request: &Request<B>, reason: Reason) -> Response<Bytes> {
        let head = Head::of(request);
        self.gate.answer(head, head.context(), Rejection::new("router", reason))
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
            none => return InnerOrOwn::own(self.settings.answer_without_route(&request, &none)),
        };
        if let Some(name) = &self.settings.table.routes()[index].name {
            RequestContext::get_or_insert(request.extensions_mut()).note_route(name.clone());
        }
        InnerOrOwn::inner(Oneshot::start(self.service(index), request))
    }
}

impl<S: Clone> Router<S> {
    /// This instance's own service of a route.
    fn service(&mut self, index: usize) -> &mut S {
        let place = index % self.settings.keep;
        if self.called.len() <= place {
            aside();
            self.called.resize_with(place + 1, || None);
        }
        let called = &mut self.called[place];
        if called.as_ref().is_none_or(|(own, _)| *own != index) {
            aside();
            *called = None;
        }
        let (_, service) = called.get_or_insert_with(|| {
            aside();
            (index, self.services[index].clone())
        });
        service
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
        Self { settings: self.settings.clone(), services: self.services.clone(), called: Vec::new() }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("routes", &self.services.len()).finish_non_exhaustive()
    }
}
