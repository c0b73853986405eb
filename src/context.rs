//! What the layers tell each other about one request.

mod cache_outcome;
mod client_certificate;
mod fact;
mod facts;
mod interim;

pub use self::cache_outcome::CacheOutcome;
pub use self::client_certificate::ClientCertificate;
#[cfg(feature = "tls")]
pub(crate) use self::client_certificate::Parts as CertificateParts;
pub use self::facts::{ClientIp, Connection, RequestId, RouteName};
pub(crate) use self::interim::InterimQueue;
pub use self::interim::InterimSink;

#[cfg(feature = "rate-limit")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::Extensions;

use self::fact::Fact;
use crate::{Identity, NameSet, Rejection, TraceContext, UpstreamError};

/// What is known of one request, shared by every layer it passes.
///
/// It is one extension on the request, made by whichever layer comes first; a layer that keeps a clone reads it on the
/// way back, also when the client left before any response existed.
///
/// - **Facts** (connection, request id, trace, client address, route, identity, the fields that carried credentials) are
///   written once: the first value stays.
/// - **Outcomes** (rejection, upstream server, tries, upstream error, what a cache did) keep the last write, and whoever
///   discards an answer clears them, so that a retry that succeeds leaves no trace of the try that failed.
///
/// ```
/// use tower_gateway::{RequestContext, RouteName};
///
/// let mut request = http::Request::new(());
/// let context = RequestContext::of(request.extensions_mut());
/// assert!(context.set_route(RouteName::from("users")));
/// assert!(!context.set_route(RouteName::from("orders")), "facts are written once");
/// assert_eq!(context.route().unwrap().as_str(), "users");
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestContext(Arc<Slots>);

#[derive(Debug, Default)]
struct Slots {
    facts: Facts,
    /// Not for forks, as the facts are.
    interim_sink: Option<InterimSink>,
    /// Not for forks either, whose answers go elsewhere.
    #[cfg(feature = "rate-limit")]
    tells_of_limits: AtomicBool,
    outcomes: Mutex<Outcomes>,
}

#[derive(Clone, Debug, Default)]
struct Facts {
    /// What is known from the start is no matter of who comes first.
    received_over: Option<Connection>,
    connection: OnceLock<Box<Connection>>,
    request_id: Fact<RequestId>,
    trace: Fact<TraceContext>,
    client_ip: Fact<ClientIp>,
    route: Fact<RouteName>,
    identity: OnceLock<Identity>,
    credential_headers: OnceLock<Arc<NameSet>>,
    identity_headers: OnceLock<Arc<NameSet>>,
}

#[derive(Debug, Default)]
struct Outcomes {
    rejection: Option<Rejection>,
    upstream_server: Option<Arc<str>>,
    upstream_error: Option<UpstreamError>,
    tries: u32,
    cache: Option<CacheOutcome>,
    /// Where the tries went whose answers were discarded.
    discarded: Vec<Arc<str>>,
}

impl RequestContext {
    /// A context that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of a request that was just received: what is known from the start costs no more than to write it down.
    pub(crate) fn of_received(connection: Connection, interim_sink: Option<InterimSink>) -> Self {
        // Made where it stays, which `Arc::new` would move it to.
        let mut slots = Arc::<Slots>::default();
        if let Some(slots) = Arc::get_mut(&mut slots) {
            slots.facts.received_over = Some(connection);
            slots.interim_sink = interim_sink;
        }
        Self(slots)
    }

    /// True when [`of_received`](Self::of_received) has made it.
    pub(crate) fn is_received(&self) -> bool {
        self.0.facts.received_over.is_some()
    }

    /// Becomes the context of another request, where it stands if nobody else has it.
    #[cfg(feature = "serve")]
    pub(crate) fn renew(&mut self, connection: Connection, interim_sink: Option<InterimSink>) {
        let Some(slots) = Arc::get_mut(&mut self.0) else {
            *self = Self::of_received(connection, interim_sink);
            return;
        };
        *slots = Slots::default();
        slots.facts.received_over = Some(connection);
        slots.interim_sink = interim_sink;
    }

    /// The context of a request, made now if it has none.
    pub fn of(extensions: &mut Extensions) -> Self {
        Self::get_or_insert(extensions).clone()
    }

    /// The same, for whoever does not keep it.
    pub(crate) fn get_or_insert(extensions: &mut Extensions) -> &mut Self {
        extensions.get_or_insert_with(Self::new)
    }

    /// A context for work that outlives the request: the facts are the same, the outcomes its own.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Slots { facts: self.0.facts.clone(), ..Slots::default() }))
    }

    /// The connection that the request came over, where the server says so.
    pub fn connection(&self) -> Option<&Connection> {
        let facts = &self.0.facts;
        facts.received_over.as_ref().or_else(|| facts.connection.get().map(|connection| &**connection))
    }

    /// Sets the connection. False when there was one already, which stays.
    pub fn set_connection(&self, connection: Connection) -> bool {
        self.0.facts.received_over.is_none() && self.0.facts.connection.set(Box::new(connection)).is_ok()
    }

    /// The request's id.
    pub fn request_id(&self) -> Option<&RequestId> {
        self.0.facts.request_id.get()
    }

    /// Sets the id. False when there was one already, which stays.
    pub fn set_request_id(&self, id: RequestId) -> bool {
        self.0.facts.request_id.set(id)
    }

    /// The same for who may have the context alone.
    pub(crate) fn note_request_id(&mut self, id: RequestId) -> bool {
        match Arc::get_mut(&mut self.0) {
            Some(slots) => slots.facts.request_id.set_early(id),
            None => self.set_request_id(id),
        }
    }

    /// The trace this request belongs to.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.0.facts.trace.get()
    }

    /// Sets the trace. False when there was one already, which stays.
    pub fn set_trace(&self, trace: TraceContext) -> bool {
        self.0.facts.trace.set(trace)
    }

    /// The same for who may have the context alone.
    pub(crate) fn note_trace(&mut self, trace: TraceContext) -> bool {
        match Arc::get_mut(&mut self.0) {
            Some(slots) => slots.facts.trace.set_early(trace),
            None => self.set_trace(trace),
        }
    }

    /// Who the client is.
    pub fn client_ip(&self) -> Option<&ClientIp> {
        self.0.facts.client_ip.get()
    }

    /// Sets the client's address. False when there was one already, which stays.
    pub fn set_client_ip(&self, client_ip: ClientIp) -> bool {
        self.0.facts.client_ip.set(client_ip)
    }

    /// The same for who may have the context alone.
    pub(crate) fn note_client_ip(&mut self, client_ip: ClientIp) -> bool {
        match Arc::get_mut(&mut self.0) {
            Some(slots) => slots.facts.client_ip.set_early(client_ip),
            None => self.set_client_ip(client_ip),
        }
    }

    /// The name of the route that matched. Logs and metrics use it as a label; the raw path is never one.
    pub fn route(&self) -> Option<&RouteName> {
        self.0.facts.route.get()
    }

    /// Sets the route. False when there was one already, which stays.
    pub fn set_route(&self, route: RouteName) -> bool {
        self.0.facts.route.set(route)
    }

    /// The same for who may have the context alone.
    pub(crate) fn note_route(&mut self, route: RouteName) -> bool {
        match Arc::get_mut(&mut self.0) {
            Some(slots) => slots.facts.route.set_early(route),
            None => self.set_route(route),
        }
    }

    /// Who made the request. None while it is anonymous.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.facts.identity.get()
    }

    /// Sets the identity. False when there was one already, which stays.
    pub fn set_identity(&self, identity: Identity) -> bool {
        self.0.facts.identity.set(identity).is_ok()
    }

    /// Header fields that carry credentials for us: whoever sends the request on to an origin removes them.
    pub fn credential_headers(&self) -> Option<&Arc<NameSet>> {
        self.0.facts.credential_headers.get()
    }

    /// Sets the fields that carry credentials. False when they were set already, and stay.
    pub fn set_credential_headers(&self, names: Arc<NameSet>) -> bool {
        self.0.facts.credential_headers.set(names).is_ok()
    }

    /// Header fields by which an origin is told who is asking: whoever sends the request on removes the client's from its
    /// trailers, which an origin may take for header fields.
    pub fn identity_headers(&self) -> Option<&Arc<NameSet>> {
        self.0.facts.identity_headers.get()
    }

    /// Sets the fields by which an origin is told who is asking. False when they were set already, and stay.
    pub fn set_identity_headers(&self, names: Arc<NameSet>) -> bool {
        self.0.facts.identity_headers.set(names).is_ok()
    }

    /// Where interim answers to this request may be sent, where the server and the client know them.
    pub fn interim_sink(&self) -> Option<&InterimSink> {
        self.0.interim_sink.as_ref()
    }

    /// The refusal that the client was answered with, or the last one of a dry run.
    pub fn rejection(&self) -> Option<Rejection> {
        self.outcomes().rejection.clone()
    }

    /// Records a refusal.
    pub fn set_rejection(&self, rejection: Rejection) {
        self.outcomes().rejection = Some(rejection);
    }

    /// The server that the last try went to.
    pub fn upstream_server(&self) -> Option<Arc<str>> {
        self.outcomes().upstream_server.clone()
    }

    /// How many times the request was sent to a server.
    pub fn tries(&self) -> u32 {
        self.outcomes().tries
    }

    /// Records one more try, at `server`.
    pub fn record_try(&self, server: Arc<str>) {
        let mut outcomes = self.outcomes();
        outcomes.tries += 1;
        outcomes.upstream_server = Some(server);
    }

    /// The same for whoever chooses the server by those that were tried before and gave no answer to be passed on.
    pub(crate) fn choose_server<T>(&self, choose: impl FnOnce(&[Arc<str>]) -> Option<(T, Arc<str>)>) -> Option<T> {
        let mut outcomes = self.outcomes();
        let (chosen, server) = choose(&outcomes.discarded)?;
        outcomes.tries += 1;
        outcomes.upstream_server = Some(server);
        Some(chosen)
    }

    /// Why the last try failed.
    pub fn upstream_error(&self) -> Option<UpstreamError> {
        self.outcomes().upstream_error.clone()
    }

    /// Records why a try failed.
    pub fn set_upstream_error(&self, error: UpstreamError) {
        self.outcomes().upstream_error = Some(error);
    }

    /// Notes that a layer tells the client of its limits. True when another one, further out, does as well, and is to know what
    /// this one has told.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn tells_of_limits(&self) -> bool {
        // All of them are on the way of one request: nobody else writes it meanwhile.
        let another = self.0.tells_of_limits.load(Ordering::Relaxed);
        if !another {
            self.0.tells_of_limits.store(true, Ordering::Relaxed);
        }
        another
    }

    /// What a cache did with the request, where it passed one.
    pub fn cache_outcome(&self) -> Option<CacheOutcome> {
        self.outcomes().cache
    }

    /// Records what a cache did with the request.
    pub fn set_cache_outcome(&self, outcome: CacheOutcome) {
        self.outcomes().cache = Some(outcome);
    }

    /// Forgets what an answer that is not passed on has left: its rejection and its error. The tries are still counted.
    pub fn discard_answer(&self) {
        let mut outcomes = self.outcomes();
        outcomes.rejection = None;
        outcomes.upstream_error = None;
        if let Some(server) = outcomes.upstream_server.clone()
            && !outcomes.discarded.contains(&server)
        {
            outcomes.discarded.push(server);
        }
    }

    /// A panic elsewhere cannot leave these plain values half written.
    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.0.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, UpstreamErrorKind};

    #[test]
    fn every_layer_of_a_request_sees_the_same_context() {
        let mut extensions = Extensions::new();
        let first = RequestContext::of(&mut extensions);
        let second = RequestContext::of(&mut extensions);
        first.set_rejection(Rejection::new("test", Reason::IpDenied));
        assert_eq!(second.rejection().unwrap().layer(), "test");
    }

    #[test]
    fn an_answer_that_is_discarded_leaves_its_tries_but_not_its_fault() {
        let context = RequestContext::new();
        context.record_try("a:1".into());
        context.set_upstream_error(UpstreamErrorKind::Reset.into());
        context.set_rejection(Rejection::new("breaker", Reason::UpstreamUnavailable));
        context.discard_answer();
        context.record_try("b:1".into());

        assert_eq!((context.tries(), context.upstream_server().as_deref()), (2, Some("b:1")));
        assert!(context.rejection().is_none());
        assert!(context.upstream_error().is_none());
    }

    #[test]
    fn a_fork_knows_the_facts_and_has_outcomes_of_its_own() {
        let context = RequestContext::new();
        context.set_route("users".into());
        context.record_try("a:1".into());

        let fork = context.fork();
        assert_eq!(fork.route().unwrap().as_str(), "users");
        assert_eq!(fork.tries(), 0);
        fork.record_try("b:1".into());
        assert_eq!(context.upstream_server().as_deref(), Some("a:1"));
    }
}
