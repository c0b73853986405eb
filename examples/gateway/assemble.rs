//! From a configuration to the stack that serves it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use http::{Request, Response};
use http_body::Body;
use tower::{Service, ServiceBuilder};
use tower_gateway::BoxError;
use tower_gateway::client_ip::{ClientIpLayer, ForwardingHeader};
use tower_gateway::proxy::{HostPolicy, ProxyService, Timeouts};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::serve::{ServeBody, Server};
use tower_gateway::strict::{EncodedSlashes, StrictLayer};
use tower_gateway::upstream::{Balance, Client, Upstream};

use crate::config::server::ClientIpFrom;
use crate::config::upstream::UpstreamHost;
use crate::config::{self, Config};
use crate::health::Health;
use crate::routes::{Route, Routes};

/// What is made once from a configuration: each layer with its state, which the workers share.
pub(crate) struct Assembly {
    client_ip: ClientIpLayer,
    request_id: RequestIdLayer,
    health: Health,
    upstreams: BTreeMap<String, Upstream>,
    /// Each with the name of its upstream.
    routes: Vec<(String, Route<()>)>,
}

impl Assembly {
    pub(crate) fn new(config: &Config) -> Result<Self, BoxError> {
        let upstreams = config.upstreams.iter().map(|(name, settings)| Ok((name.clone(), upstream(settings)?)));
        let routes = config
            .routes
            .iter()
            .map(|(name, settings)| Ok((settings.upstream.clone(), route(config, name, settings)?)));
        Ok(Self {
            client_ip: client_ip(&config.server),
            request_id: RequestIdLayer::new()
                .enabled(config.request_id.enabled)
                .header(config.request_id.header.clone()),
            health: Health::new(&config.health),
            upstreams: upstreams.collect::<Result<_, BoxError>>()?,
            routes: routes.collect::<Result<_, BoxError>>()?,
        })
    }

    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// One worker's stack, with connections of its own. It reads top to bottom as a request travels.
    pub(crate) fn worker(
        &self,
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
            // The health path, then the routes: each ends in a proxy, which strips what must not reach the origin last of
            // all, so that no layer before it can put it back.
            .service(Routes::new(self.health.clone(), self.routes()))
    }

    fn routes(&self) -> Vec<Route<Client>> {
        let clients: BTreeMap<&str, Client> =
            self.upstreams.iter().map(|(name, upstream)| (name.as_str(), Client::new(upstream.clone()))).collect();
        let routes = self.routes.iter().filter_map(|(upstream, route)| {
            let client = clients.get(upstream.as_str())?;
            Some(route.clone().map_service(|proxy| proxy.map_client(|()| client.clone())))
        });
        routes.collect()
    }
}

/// A route as it is made once, for every worker to put its client into.
fn route(config: &Config, name: &str, route: &config::Route) -> Result<Route<()>, BoxError> {
    let upstream = config.upstreams.get(&route.upstream).ok_or("the route's upstream does not exist")?;
    let proxy = ProxyService::new(())
        .host(match &upstream.host {
            UpstreamHost::Upstream => HostPolicy::Upstream,
            UpstreamHost::Client => HostPolicy::Client,
            UpstreamHost::Fixed(host) => HostPolicy::Fixed(host.as_str().parse()?),
        })
        .x_forwarded(config.forwarded.x_forwarded)
        .forwarded(config.forwarded.forwarded)
        .via(config.forwarded.via)
        .timeouts(
            Timeouts::none()
                .response_head(route.timeouts.response_head)
                .body_idle(route.timeouts.body_idle)
                .total(route.timeouts.total)
                .upgrade_idle(route.timeouts.upgrade_idle),
        );
    let service = match &route.strip_prefix {
        None => proxy,
        Some(prefix) => proxy.strip_prefix(prefix)?,
    };
    Ok(Route {
        name: name.into(),
        path: route.path.as_str().into(),
        path_match: route.path_match,
        encoded_slashes: route.encoded_slashes,
        service,
    })
}

fn client_ip(server: &config::Server) -> ClientIpLayer {
    let header = match &server.client_ip_from {
        ClientIpFrom::XForwardedFor => ForwardingHeader::XForwardedFor,
        ClientIpFrom::Forwarded => ForwardingHeader::Forwarded,
        ClientIpFrom::Header(name) => ForwardingHeader::Single(name.clone()),
    };
    ClientIpLayer::new().trusted_proxies(server.trusted_proxies.clone()).header(header)
}

fn upstream(settings: &config::Upstream) -> Result<Upstream, BoxError> {
    let far = std::time::Duration::from_secs(365 * 86_400);
    let mut builder = Upstream::builder()
        .balance(match settings.balance {
            config::upstream::Balance::LeastRequests => Balance::LeastRequests,
            config::upstream::Balance::RoundRobin => Balance::RoundRobin,
        })
        .connect_timeout(settings.connect_timeout.unwrap_or(far))
        .keep_alive_timeout(settings.keep_alive_timeout.unwrap_or(far))
        .max_connections_per_server(settings.max_connections_per_server.map_or(usize::MAX, Into::into))
        .queue_timeout(settings.queue_timeout.unwrap_or(far))
        .dns_refresh(settings.dns_refresh);
    for server in &settings.servers {
        builder = builder.server(server.url.to_string(), server.weight.get());
    }
    Ok(builder.build()?)
}

/// The listeners, with the limits and timeouts that hold before any layer sees a request.
pub(crate) fn server(settings: &config::Server) -> Result<Server, BoxError> {
    Ok(Server::bind(settings.listen.iter().copied())?
        .workers(settings.workers.map_or(0, Into::into))
        .header_read_timeout(settings.header_read_timeout)
        .body_read_timeout(settings.body_read_timeout)
        .body_min_rate(settings.body_min_rate.unwrap_or(0))
        .write_timeout(settings.write_timeout)
        .keep_alive_timeout(settings.keep_alive_timeout)
        .max_header_bytes(settings.max_header_bytes.map_or(usize::MAX, |limit| limit as usize))
        .max_body_bytes(settings.max_body_bytes)
        .max_connections(settings.max_connections.map(Into::into))
        .max_connections_per_ip(settings.max_connections_per_ip.map(Into::into)))
}
