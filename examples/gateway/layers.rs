//! From the tables of the configuration to layers and what they share.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};
use std::collections::BTreeMap;

use tower_gateway::BoxError;
use tower_gateway::client_ip::{ClientIpLayer, ForwardingHeader};
use tower_gateway::concurrency::ConcurrencyLayer;
use tower_gateway::ip_filter::{CidrSet, IpFilterLayer};
use tower_gateway::limits::BodyLimitLayer;
use tower_gateway::proxy::{HostPolicy, ProxyService, Timeouts};
use tower_gateway::redis::Redis;
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::route::{Route, Router};
use tower_gateway::serve::{Listener, Server};
use tower_gateway::transform::{HeaderRules, Template, TransformLayer};

use crate::config::concurrency::Concurrency;
use crate::config::cors::RouteCors;
use crate::config::fields::Fields;
use crate::config::ip::IpRules;
use crate::config::matching::PathMatch;
use crate::config::plugins::ConfiguredPlugin;
use crate::config::request::{BodyLimit, RequestRules};
use crate::config::response::ResponseRules;
use crate::config::server::ClientIpFrom;
use crate::config::target::{Respond, Target};
use crate::config::upstream::UpstreamHost;
use crate::config::{self, Config};
use crate::endpoint::Endpoint;
use crate::plugins::PluginStack;

pub(crate) fn client_ip(server: &config::Server) -> ClientIpLayer {
    let header = match &server.client_ip_from {
        ClientIpFrom::XForwardedFor => ForwardingHeader::XForwardedFor,
        ClientIpFrom::Forwarded => ForwardingHeader::Forwarded,
        ClientIpFrom::Header(name) => ForwardingHeader::Single(name.clone()),
    };
    ClientIpLayer::new().trusted_proxies(server.trusted_proxies.clone()).header(header)
}

pub(crate) fn request_id(settings: &config::RequestId) -> RequestIdLayer {
    RequestIdLayer::new().enabled(settings.enabled).header(settings.header.clone())
}

pub(crate) fn ip_filter(rules: &IpRules) -> IpFilterLayer {
    let (allow, deny) = (rules.allow.iter().copied(), rules.deny.iter().copied());
    IpFilterLayer::new().allow(allow.collect::<CidrSet>()).deny(deny.collect::<CidrSet>())
}

/// The connection to what is shared, kept where nothing about it has changed.
pub(crate) fn redis(
    settings: Option<&config::redis::Redis>,
    old: Option<&(config::redis::Redis, Redis)>,
) -> Result<Option<(config::redis::Redis, Redis)>, BoxError> {
    let Some(settings) = settings else { return Ok(None) };
    if let Some((_, redis)) = old.filter(|(old, _)| old.is_reached_like(settings)) {
        return Ok(Some((settings.clone(), redis.clone())));
    }
    let redis = Redis::builder(settings.url.expose())?
        .timeout(settings.timeout)
        .key_prefix(settings.key_prefix.as_str())
        .background(tokio::runtime::Handle::current())
        .build();
    Ok(Some((settings.clone(), redis)))
}

/// What each route that limits its requests in flight does so by.
pub(crate) fn concurrency(
    config: &Config,
    old: Option<&BTreeMap<String, ConcurrencyLayer>>,
) -> impl Iterator<Item = (String, ConcurrencyLayer)> {
    /// More than any worker's files allow.
    const MOST: usize = 100_000;
    config.routes.iter().filter_map(move |(name, route)| {
        let layer = match route.concurrency? {
            Concurrency::Fixed(max) => ConcurrencyLayer::new(max.into()),
            Concurrency::Adaptive(most) => ConcurrencyLayer::adaptive(most.map_or(MOST, Into::into)),
        };
        let layer = match old.and_then(|old| old.get(name)) {
            Some(old) => layer.adopt(old),
            None => layer,
        };
        Some((name.clone(), layer))
    })
}

/// Which requests a route is for.
pub(crate) fn route(config: &Config, name: &str, route: &config::Route) -> Result<Route, BoxError> {
    let matching = &route.matching;
    let made = match matching.path_match {
        PathMatch::Prefix => Route::prefix(&matching.path)?,
        PathMatch::Exact => Route::exact(&matching.path)?,
    };
    let mut made = made.name(name).hosts(&matching.hosts)?.answers_preflights(cors(config, route).is_some());
    if let Some(methods) = &matching.methods {
        made = made.methods(methods.iter().cloned());
    }
    for (name, value) in &matching.headers {
        made = made.header(name.parse()?, value.clone());
    }
    Ok(made)
}

/// How many routes' stacks a worker keeps ready: more than most gateways have, in a megabyte or two.
const KEPT_STACKS: usize = 1024;

pub(crate) fn router<S>(config: &Config, routes: Vec<(Route, S)>) -> Router<S> {
    let router = Router::new(routes).keep(KEPT_STACKS);
    match config.cors.clone() {
        None => router,
        // A 404 and a 405 are no route's, and scripts may read them all the same.
        Some(cors) => {
            router.on_reject(move |head, _, answer| crate::cors::write_to_refusal(&cors, head, answer.headers_mut()))
        }
    }
}

/// What a route has of CORS: its own, or that of all.
pub(crate) fn cors<'c>(config: &'c Config, route: &'c config::Route) -> Option<&'c config::Cors> {
    match &route.cors {
        RouteCors::AsAll => config.cors.as_ref(),
        RouteCors::Own(own) => Some(own),
        RouteCors::Off => None,
    }
}

/// A limit that is lifted is one that no body reaches.
pub(crate) fn body_limit(server: &config::Server, request: &RequestRules) -> BodyLimitLayer {
    let limit = match request.max_body_bytes {
        BodyLimit::AsTheServer => server.max_body_bytes,
        BodyLimit::Own(own) => own,
    };
    BodyLimitLayer::new(limit.unwrap_or(u64::MAX))
}

pub(crate) fn request(rules: &RequestRules) -> Option<TransformLayer> {
    let rules = header_rules(&rules.remove_headers, &rules.set_headers);
    (!rules.is_empty()).then(|| TransformLayer::new().request(rules))
}

pub(crate) fn response(rules: &ResponseRules) -> TransformLayer {
    TransformLayer::new()
        .response(header_rules(&rules.remove_headers, &rules.set_headers))
        .response_time(rules.response_time)
        .server_timing(rules.server_timing)
}

fn header_rules(removed: &[HeaderName], set: &Fields<Template>) -> HeaderRules {
    let rules = HeaderRules::new().remove(removed.iter().cloned());
    // The configuration holds no other names.
    let set = set.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.clone())));
    set.fold(rules, |rules, (name, value)| rules.set(name, value))
}

pub(crate) fn plugins(plugins: &[ConfiguredPlugin]) -> Result<Option<PluginStack>, BoxError> {
    let layers = plugins.iter().map(ConfiguredPlugin::layer).collect::<Result<Vec<_>, _>>()?;
    Ok((!layers.is_empty()).then(|| PluginStack::new(layers)))
}

/// Where a route's requests end, for every worker to put its client into.
pub(crate) fn endpoint(config: &Config, route: &config::Route) -> Result<Endpoint<()>, BoxError> {
    Ok(match &route.target {
        Target::Upstream(upstream) => Endpoint::Proxy(proxy(config, route, upstream)?),
        Target::Respond(respond) => Endpoint::Fixed(fixed(respond)?),
        Target::Redirect(redirect) => {
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = redirect.status;
            Endpoint::Redirect(answer, redirect.to.clone())
        }
    })
}

fn fixed(respond: &Respond) -> Result<Response<Bytes>, BoxError> {
    let mut answer = Response::new(Bytes::from(respond.body.clone()));
    *answer.status_mut() = respond.status;
    if !respond.body.is_empty() {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    for (name, value) in &respond.headers {
        answer.headers_mut().insert(name.parse::<HeaderName>()?, value.clone());
    }
    Ok(answer)
}

fn proxy(config: &Config, route: &config::Route, upstream: &str) -> Result<ProxyService<()>, BoxError> {
    let upstream = config.upstreams.get(upstream).ok_or("the route's upstream does not exist")?;
    let mut proxy = ProxyService::new(())
        .host(match &upstream.host {
            UpstreamHost::Upstream => HostPolicy::Upstream,
            UpstreamHost::Client => HostPolicy::Client,
            UpstreamHost::Fixed(host) => HostPolicy::Fixed(host.as_str().parse()?),
        })
        .x_forwarded(config.forwarded.x_forwarded)
        .forwarded(config.forwarded.forwarded)
        .client_cert(config.forwarded.client_cert)
        .via(config.forwarded.via)
        .timeouts(
            Timeouts::none()
                .response_head(route.timeouts.response_head)
                .body_idle(route.timeouts.body_idle)
                .total(route.timeouts.total)
                .upgrade_idle(route.timeouts.upgrade_idle),
        );
    if let Some(prefix) = &route.path_rules.strip_prefix {
        proxy = proxy.strip_prefix(prefix)?;
    }
    if let Some(rewrite) = route.path_rules.rewrite.clone() {
        proxy = proxy.rewrite_path_for(move |head, path| rewrite.render_path(head, path));
    }
    // A route with auth sets them itself.
    if route.auth.is_none() {
        proxy = proxy.remove_request_headers(config.identity_headers.0.iter().map(|(name, _)| name.clone()));
    }
    Ok(proxy)
}

/// The listeners, with the limits and timeouts that hold before any layer sees a request.
pub(crate) fn server(config: &Config, listeners: Vec<Listener>) -> Result<Server, BoxError> {
    let settings = &config.server;
    Ok(Server::listen(listeners)?
        .refusal_ids(&request_id(&config.request_id))
        .workers(settings.workers.map_or(0, Into::into))
        .header_read_timeout(settings.header_read_timeout)
        .body_read_timeout(settings.body_read_timeout)
        .body_min_rate(settings.body_min_rate.unwrap_or(0))
        .write_timeout(settings.write_timeout)
        .keep_alive_timeout(settings.keep_alive_timeout)
        .max_header_bytes(settings.max_header_bytes.map_or(usize::MAX, |limit| limit as usize))
        // Each route has its own, which may be more than that of the others.
        .max_body_bytes(None)
        .max_connections(settings.max_connections.map(Into::into))
        .max_connections_per_ip(settings.max_connections_per_ip.map(Into::into)))
}
