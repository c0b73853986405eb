use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body;
use thiserror::Error;
use tower_service::Service;

use super::body::{ForwardBody, ProxyBody};
use super::forwarding::{Forwarding, Pseudonym};
use super::future::ProxyFuture;
use super::path::{InvalidPrefix, PathRules};
use super::request::{final_recipient, prepare};
use super::timeouts::Timeouts;
use super::upgrade;
use crate::body::ResponseBody;
use crate::gate::{Gate, gate_setters};
use crate::known::Known;
use crate::origin::Origin;
use crate::{BoxError, Head, NameSet, RequestContext};

/// A reverse proxy over the client `C`. See the [module](super) for what it does.
#[derive(Clone, Debug)]
pub struct ProxyService<C> {
    client: C,
    settings: Arc<Settings>,
}

/// Which `Host` an origin is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostPolicy {
    /// The origin's own: the client sets it from where it connects to.
    #[default]
    Upstream,
    /// The request's.
    Client,
    /// Always this one.
    Fixed(HeaderValue),
}

/// An origin must be `http://host[:port][/base]` or the same with `https`, without user info or query.
#[derive(Debug, Error)]
#[error("the origin {0:?} must be http(s)://host[:port][/path] without user info or query")]
pub struct InvalidOrigin(pub(crate) String);

/// A name that cannot stand in `Via`.
#[derive(Debug, Error)]
#[error("the pseudonym {0:?} must be a token of 1 to 64 characters (RFC 9110 section 5.6.2)")]
pub struct InvalidPseudonym(String);

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) origin: Option<Origin>,
    pub(super) path: PathRules,
    pub(super) host: HostPolicy,
    pub(super) forwarding: Forwarding,
    pub(super) stripped: Option<Arc<NameSet>>,
    pub(super) timeouts: Timeouts,
}

impl<C> ProxyService<C> {
    /// A proxy that sends what it gets to `client`, which knows where to send it.
    pub fn new(client: C) -> Self {
        let settings = Settings {
            gate: Gate::default(),
            origin: None,
            path: PathRules::default(),
            host: HostPolicy::default(),
            forwarding: Forwarding {
                x_forwarded: true,
                forwarded: false,
                client_cert: false,
                via: Some(Pseudonym::of_process()),
            },
            stripped: None,
            timeouts: Timeouts::default(),
        };
        Self { client, settings: Arc::new(settings) }
    }

    /// The same proxy over another client. The settings are shared, not copied: a server with a client for each worker
    /// makes its proxy once.
    pub fn map_client<D>(self, change: impl FnOnce(C) -> D) -> ProxyService<D> {
        ProxyService { client: change(self.client), settings: self.settings }
    }

    /// For a client that is told by each request where to send it, as hyper-util's and reqwest's are: every request goes
    /// to `origin`, which may have a path to put before the request's.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] when `origin` is anything but a scheme, a host and a path.
    pub fn to(mut self, origin: &Uri) -> Result<Self, InvalidOrigin> {
        self.settings().origin = Some(Origin::new(origin).ok_or_else(|| InvalidOrigin(origin.to_string()))?);
        Ok(self)
    }

    /// Removes `prefix`, in whole segments, from the path: `/api` makes `/api/users` into `/users` and leaves `/apis`.
    ///
    /// # Errors
    ///
    /// [`InvalidPrefix`] when it does not begin with `/`.
    pub fn strip_prefix(mut self, prefix: &str) -> Result<Self, InvalidPrefix> {
        self.settings().path.set_prefix(prefix)?;
        Ok(self)
    }

    /// Changes the path, without its query, after the prefix is stripped. What is not a path then is answered with a 400.
    #[must_use]
    pub fn rewrite_path(self, rewrite: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.rewrite_path_for(move |_, path| rewrite(path))
    }

    /// The same by more than the path, such as the request's host or identity.
    #[must_use]
    pub fn rewrite_path_for(mut self, rewrite: impl Fn(Head<'_>, &str) -> String + Send + Sync + 'static) -> Self {
        self.settings().path.set_rewrite(Arc::new(rewrite));
        self
    }

    /// Which `Host` the origin is sent. Its own by default.
    #[must_use]
    pub fn host(mut self, policy: HostPolicy) -> Self {
        self.settings().host = policy;
        self
    }

    /// `X-Forwarded-For`, `-Proto` and `-Host`. On by default.
    #[must_use]
    pub fn x_forwarded(mut self, on: bool) -> Self {
        self.settings().forwarding.x_forwarded = on;
        self
    }

    /// `Forwarded` (RFC 7239). Off by default.
    #[must_use]
    pub fn forwarded(mut self, on: bool) -> Self {
        self.settings().forwarding.forwarded = on;
        self
    }

    /// `Client-Cert` (RFC 9440): the certificate that the client has shown when it connected. Off by default. What a client
    /// writes there itself is removed in any case.
    #[must_use]
    pub fn client_cert(mut self, on: bool) -> Self {
        self.settings().forwarding.client_cert = on;
        self
    }

    /// `Via` on requests, and with it the detection of loops (RFC 9110 section 7.6.3). On by default, under a name that is
    /// made up for each process: gateways in a row must not share one.
    #[must_use]
    pub fn via(mut self, on: bool) -> Self {
        let forwarding = &mut self.settings().forwarding;
        forwarding.via = if on { forwarding.via.take().or_else(|| Some(Pseudonym::of_process())) } else { None };
        self
    }

    /// `Via` under a name of your own: a token of 1 to 64 characters (RFC 9110 section 5.6.2), the same for all proxies of
    /// one gateway.
    ///
    /// # Errors
    ///
    /// [`InvalidPseudonym`] when `name` is not a token.
    pub fn via_name(mut self, name: &str) -> Result<Self, InvalidPseudonym> {
        self.settings().forwarding.via = Some(Pseudonym::new(name).ok_or_else(|| InvalidPseudonym(name.to_owned()))?);
        Ok(self)
    }

    /// Header and trailer fields that never reach the origin from a client, in any spelling it may take for the same:
    /// those by which you tell it who the user is.
    #[must_use]
    pub fn remove_request_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = NameSet::new(names);
        self.settings().stripped = (!names.is_empty()).then(|| Arc::new(names));
        self
    }

    /// How long an exchange may take.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.settings().timeouts = timeouts;
        self
    }

    gate_setters!(answers);

    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl<C, B, R> Service<Request<B>> for ProxyService<C>
where
    C: Service<Request<ForwardBody<B>>, Response = Response<R>> + Clone,
    C::Error: Into<BoxError>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<ProxyBody<R>>>;
    type Error = Infallible;
    type Future = ProxyFuture<C, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let context = parts.extensions.get::<RequestContext>().cloned();
        if let Some(answer) = final_recipient(&mut parts) {
            return ProxyFuture::answered(answer);
        }
        let known = Known::of(&parts.headers);
        let mut switching = upgrade::asked_for(&mut parts, known, !body.is_end_stream());
        if let Err(rejection) = prepare(&self.settings, &mut parts, known, context.as_ref()) {
            let head = Head::from(&parts);
            return ProxyFuture::answered(self.settings.gate.answer(head, context.as_ref(), rejection));
        }
        if let Some(asked) = &mut switching {
            asked.ask(&mut parts);
        }
        ProxyFuture::start(self.settings.clone(), context, switching, parts, body, &mut self.client)
    }
}
