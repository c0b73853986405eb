//! From a configuration to the stack that serves it: one line a layer, top to bottom as a request travels.

use std::collections::BTreeMap;
use std::convert::Infallible;

use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service, ServiceBuilder};
use tower_gateway::BoxError;
use tower_gateway::auth::AuthLayer;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::concurrency::ConcurrencyLayer;
use tower_gateway::ip_filter::IpFilterLayer;
use tower_gateway::limits::{BodyLimitLayer, ContentTypeLayer, LimitedBody};
use tower_gateway::redis::Redis;
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::route::Router;
use tower_gateway::serve::{RedirectToHttps, ServeBody};
use tower_gateway::strict::{EncodedSlashes, StrictLayer};
use tower_gateway::transform::{Transform, TransformLayer};
use tower_gateway::upstream::Client;

use crate::auth::Credentials;
use crate::cache::{Cache, Responses};
use crate::config::redis::Shared;
use crate::config::target::Target;
use crate::config::{self, Config};
use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::plugins::PluginStack;
use crate::rate_limits::{Counters, RouteLimits};
use crate::stack::{Door, Optional, RouteService, Stack};
use crate::upstreams::{TrustedByMachine, UpstreamParts, Upstreams};
use crate::{cors, layers, upstreams};

/// One worker's client of each upstream, by its name.
pub(crate) type Clients = BTreeMap<String, Client>;

/// What is made once from a configuration: each layer with its state, which the workers share.
pub(crate) struct Assembly {
    client_ip: ClientIpLayer,
    request_id: RequestIdLayer,
    health: Health,
    cache: Responses,
    credentials: Credentials,
    /// What several gateways share, with the settings it was made by.
    redis: Option<(config::redis::Redis, Redis)>,
    counters: Counters,
    concurrency: BTreeMap<String, ConcurrencyLayer>,
    upstreams: Upstreams,
    routes: Router<RouteLayers>,
}

/// What is made once of a route: its layers, in the order a request meets them, and its end, which has no client yet.
struct RouteLayers {
    response: TransformLayer,
    encoded_slashes: EncodedSlashes,
    cors: Option<config::Cors>,
    ip_filter: Option<IpFilterLayer>,
    content_types: Option<ContentTypeLayer>,
    body_limit: BodyLimitLayer,
    auth: Option<AuthLayer>,
    limits: RouteLimits,
    plugins: Option<PluginStack>,
    cache: Option<Cache>,
    request: Option<TransformLayer>,
    concurrency: Option<ConcurrencyLayer>,
    endpoint: Endpoint<()>,
    /// The upstream that a proxy goes to.
    upstream: Option<String>,
}

impl Assembly {
    /// `old` is the one that serves until now: whoever has a state worth keeping takes it over from its namesake there,
    /// so that a reload changes settings and forgets nothing.
    pub(crate) fn new(config: &Config, old: Option<&Self>) -> Result<Self, BoxError> {
        let machine = TrustedByMachine::default();
        let upstreams = config.upstreams.iter().map(|(name, settings)| {
            let old = old.and_then(|old| old.upstreams.get(name));
            Ok((name.clone(), UpstreamParts::new(name, settings, &machine, old)?))
        });
        let redis = layers::redis(config.redis.as_ref(), old.and_then(|old| old.redis.as_ref()))?;
        let sharing =
            |what| redis.as_ref().filter(|(settings, _)| settings.share.contains(&what)).map(|(_, redis)| redis);
        let credentials = Credentials::new(config, sharing(Shared::ApiKeys), old.map(|old| &old.credentials))?;
        let cache = Responses::new(config.cache, sharing(Shared::Cache), old.map(|old| &old.cache));
        let counters = Counters::new(sharing(Shared::RateLimits), old.map(|old| &old.counters));
        let concurrency: BTreeMap<_, _> = layers::concurrency(config, old.map(|old| &old.concurrency)).collect();
        let routes = config.routes.iter().map(|(name, route)| {
            Ok((
                layers::route(config, name, route)?,
                RouteLayers::new(config, name, route, &cache, &credentials, &counters, concurrency.get(name))?,
            ))
        });
        let upstreams = upstreams.collect::<Result<Upstreams, BoxError>>()?;
        let health = Health::new(&config.health, upstreams::watch(&upstreams));
        Ok(Self {
            client_ip: layers::client_ip(&config.server),
            request_id: layers::request_id(&config.request_id),
            health: match old {
                Some(old) => health.adopt(&old.health),
                None => health,
            },
            upstreams,
            routes: layers::router(config, routes.collect::<Result<Vec<_>, BoxError>>()?),
            cache,
            credentials,
            redis,
            counters,
            concurrency,
        })
    }

    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// The clients of one worker, within whose runtime this is called. `old` are those that it had until now.
    pub(crate) fn clients(&self, old: &Clients) -> Clients {
        let client = |(name, parts): (&String, &UpstreamParts)| {
            let client = Client::new(parts.upstream.clone());
            let client = match old.get(name) {
                Some(old) => client.adopt(old),
                None => client,
            };
            (name.clone(), client)
        };
        self.upstreams.iter().map(client).collect()
    }

    /// One worker's stack, with connections of its own: what every request passes, then what its route has for it.
    pub(crate) fn worker(
        &self,
        clients: &Clients,
    ) -> impl Service<
        Request<ServeBody>,
        Response = Response<impl Body<Data = bytes::Bytes, Error: Into<BoxError>> + use<>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        ServiceBuilder::new()
            // Who is asking: all that follows trusts, counts and tells origins by this address.
            .layer(self.client_ip.clone())
            // Next, so that every answer carries the id, and every refusal names it.
            .layer(self.request_id.clone())
            // Next, since whatever decides on a path or a host must see the one that is used. What becomes of an encoded
            // slash is the route's to say.
            .layer(StrictLayer::new().encoded_slashes(EncodedSlashes::Keep))
            // The gateway's own path, which no route can hide.
            .layer(self.health.clone())
            // And what each route has for it.
            .service(self.router(clients))
    }

    /// The same for a listener that only redirects: what is said on the public listeners before any route is said there as well.
    pub(crate) fn redirect(
        &self,
        redirect: RedirectToHttps,
    ) -> impl Service<
        Request<ServeBody>,
        Response = Response<impl Body<Data = bytes::Bytes, Error: Into<BoxError>> + use<>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        ServiceBuilder::new()
            .layer(self.client_ip.clone())
            .layer(self.request_id.clone())
            // An encoded slash stays one on its way to the route that decides on it.
            .layer(StrictLayer::new().encoded_slashes(EncodedSlashes::Keep))
            .layer(self.health.clone())
            .service(redirect)
    }

    fn router(&self, clients: &Clients) -> Router<Transform<RouteService>> {
        self.routes.map_services(|route| route.service(&self.upstreams, clients))
    }
}

impl RouteLayers {
    fn new(
        config: &Config,
        name: &str,
        route: &config::Route,
        cache: &Responses,
        credentials: &Credentials,
        counters: &Counters,
        concurrency: Option<&ConcurrencyLayer>,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            response: layers::response(&route.response),
            encoded_slashes: route.encoded_slashes,
            cors: layers::cors(config, route).cloned(),
            ip_filter: route.ip.as_ref().map(layers::ip_filter),
            content_types: route.request.content_types.as_ref().map(ContentTypeLayer::new).transpose()?,
            body_limit: layers::body_limit(&config.server, &route.request),
            auth: route.auth.as_ref().map(|auth| credentials.layer(auth)).transpose()?,
            plugins: layers::plugins(&route.plugins)?,
            cache: route.cache.as_ref().map(|own| cache.of_route(own, name, &route.matching)),
            limits: counters.of_route(config, route),
            request: layers::request(&route.request),
            concurrency: concurrency.cloned(),
            endpoint: layers::endpoint(config, route)?,
            upstream: match &route.target {
                Target::Upstream(upstream) => Some(upstream.clone()),
                Target::Respond(_) | Target::Redirect(_) => None,
            },
        })
    }

    /// One worker's stack for this route.
    fn service(&self, upstreams: &Upstreams, clients: &Clients) -> Transform<RouteService> {
        let endpoint = self.endpoint(upstreams, clients);
        let mut optional = Optional::default();
        // Before all that may refuse: a preflight has no credentials, and a refusal is to be read by the script that asked.
        let cors = self.cors.as_ref().map(cors::layer);
        let stack = ServiceBuilder::new()
            // Before anything is spent on a request that is not let in.
            .layer(optional.layer(&self.ip_filter))
            // What the head says of the body can be judged before anybody is asked who sent it.
            .layer(optional.layer(&self.content_types))
            .layer(self.body_limit.clone())
            // Before credentials are looked at, which is what a flood would have done at the gateway's cost.
            .layer(optional.layer(&self.limits.before_auth))
            // Who it is, for all that counts, stores and forwards by that; the proxy removes the credential.
            .layer(optional.layer(&self.auth))
            // Limits on trial first, which see also what the others refuse; then those that count users.
            .layer(optional.layer(&self.limits.trial))
            .layer(optional.layer(&self.limits.after_auth))
            // Who is refused up to here has nothing made of what follows.
            .service(if self.has_more_than_its_end() {
                Door.layer(self.behind(&mut optional, endpoint.clone()))
            } else {
                Door.layer(endpoint.clone())
            });
        let stack: Box<dyn Stack<ServeBody>> = if self.is_open() && self.has_more_than_its_end() {
            // There is nothing to keep apart where nobody is refused, nor to switch off.
            Box::new(self.body_limit.layer(self.behind(&mut optional, endpoint)))
        } else {
            optional.choose(cors, stack, self.body_limit.layer(endpoint))
        };
        // Around all of them, since the answers that they make are the route's too.
        self.response.layer(RouteService { encoded_slashes: self.encoded_slashes, stack })
    }

    /// What those meet who are let in.
    fn behind(
        &self,
        optional: &mut Optional,
        endpoint: Endpoint,
    ) -> impl Service<
        Request<LimitedBody<ServeBody>>,
        Response = Response<impl Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + use<>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + use<> {
        ServiceBuilder::new()
            // The user's own, who know by now who is asking.
            .layer(optional.layer(&self.plugins))
            // After whatever decides who is let in: what is stored answers for the origin, and for nothing before it.
            .layer(optional.layer(&self.cache))
            // For the origin, so behind whoever found out what is to be told: last but for the one who tells it.
            .layer(optional.layer(&self.request))
            // What was answered before is not in flight.
            .layer(optional.layer(&self.concurrency))
            // A proxy strips what must not reach the origin last of all, so that no layer before it can put it back.
            .service(endpoint)
    }

    /// True when no layer of the route's own may refuse, but for the length of a body.
    fn is_open(&self) -> bool {
        let Self { cors, ip_filter, content_types, auth, limits, .. } = self;
        let RouteLimits { before_auth, trial, after_auth } = limits;
        let limited = before_auth.is_some() || trial.is_some() || after_auth.is_some();
        cors.is_none() && ip_filter.is_none() && content_types.is_none() && auth.is_none() && !limited
    }

    fn has_more_than_its_end(&self) -> bool {
        self.plugins.is_some() || self.cache.is_some() || self.request.is_some() || self.concurrency.is_some()
    }

    fn endpoint(&self, upstreams: &Upstreams, clients: &Clients) -> Endpoint {
        match (&self.endpoint, &self.upstream) {
            (Endpoint::Proxy(proxy), Some(upstream)) => {
                // What is done about failures stands between the proxy and its connections, so that headers are worked
                // on once and every try is one request.
                let client = upstreams[upstream].guards.layer(clients[upstream].clone());
                Endpoint::Proxy(proxy.clone().map_client(|()| client))
            }
            (Endpoint::Proxy(_), None) => unreachable!("a proxy is made for a route with an upstream"),
            (Endpoint::Fixed(answer), _) => Endpoint::Fixed(answer.clone()),
            (Endpoint::Redirect(answer, to), _) => Endpoint::Redirect(answer.clone(), to.clone()),
        }
    }
}
