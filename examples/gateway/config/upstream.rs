//! `[upstreams.NAME]`: the servers that answer, and how connections to them are kept.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use serde_json::Value as Json;

use super::balance::Balance;
use super::count::Count;
use super::duration::{AnyDuration, PositiveDuration};
use super::forms::OrNone;
use super::resilience::{CircuitBreaker, HealthCheck, OutlierEjection, Retry};
use super::schema;
use super::share::Share;
use super::table::{Keys, Listed, Table};
use super::tls::UpstreamTls;
use super::upstream_server::{UpstreamServer, UpstreamServers};
use super::url::check_authority;
use super::value::{Form, Value};
use super::word::{Choice, Word};

/// `[upstreams.NAME]`. A limit that is absent has been lifted with `"none"`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upstream {
    /// Never empty.
    pub(crate) servers: Vec<UpstreamServer>,
    pub(crate) balance: Balance,
    pub(crate) host: UpstreamHost,
    pub(crate) protocol: Protocol,
    /// How servers with `https` are spoken to.
    pub(crate) tls: UpstreamTls,
    pub(crate) connect_timeout: Option<Duration>,
    /// How long a connection may stay idle; zero: none is kept.
    pub(crate) keep_alive_timeout: Option<Duration>,
    pub(crate) max_connections_per_server: Option<NonZeroUsize>,
    /// How long a request may wait for a connection; zero: not at all.
    pub(crate) queue_timeout: Option<Duration>,
    /// Never zero.
    pub(crate) dns_refresh: Duration,
    pub(crate) slow_start: Duration,
    pub(crate) panic_threshold: f64,
    pub(crate) health_check: Option<HealthCheck>,
    pub(crate) outlier_ejection: Option<OutlierEjection>,
    pub(crate) circuit_breaker: Option<CircuitBreaker>,
    pub(crate) retry: Option<Retry>,
}

/// The Host that is sent upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamHost {
    /// The chosen server's.
    Upstream,
    /// The request's own.
    Client,
    Fixed(Authority),
}

/// What is spoken with the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, and over TLS what ALPN gives.
    Auto,
    Http1,
    /// HTTP/2 from the first byte on, over TLS and in the clear.
    Http2,
}

impl Table for Upstream {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let servers = keys.required::<UpstreamServers>("servers", "where requests go");
        let balance = keys.or::<Balance>("balance", "least_requests", "how the server of a request is chosen");
        let host =
            keys.or::<UpstreamHost>("host", "upstream", "the Host sent: the server's, the client's, or any other text");
        let protocol = keys.or::<Word<Protocol>>("protocol", "auto", "what is spoken with the servers");
        let tls = keys.optional::<UpstreamTls>("tls", "how servers with https:// are spoken to");
        if let (Some(_), Some(servers)) = (&tls, &servers)
            && servers.iter().all(|server| server.url.scheme() != Some(&Scheme::HTTPS))
        {
            let message = format!("[{}] has tls and no server with https://; write one, or remove tls", keys.path);
            keys.reader.fault(&keys.at, &keys.path, message);
        }
        let is_named = tls.as_ref().is_some_and(|tls| tls.server_name.is_some());
        for server in servers.iter().flatten().filter(|_| !is_named) {
            if server.url.scheme() == Some(&Scheme::HTTPS) && !super::tls::is_server_name(server.url.host()) {
                let message = format!(
                    "[{}] {} names a host that no certificate can be for; add tls.server_name",
                    keys.path, server.url
                );
                keys.reader.fault(&keys.at, &keys.path, message);
            }
        }
        let connect_timeout = keys.or::<OrNone<PositiveDuration>>(
            "connect_timeout",
            "1s",
            "how long a connection may take to come about",
        );
        let keep_alive_timeout = keys.or::<OrNone<AnyDuration>>(
            "keep_alive_timeout",
            "60s",
            "how long a connection is kept without a request; 0s: none is",
        );
        let max_connections_per_server =
            keys.or::<OrNone<Count>>("max_connections_per_server", 1024, "connections to one server, over all workers");
        let queue_timeout = keys.or::<OrNone<AnyDuration>>(
            "queue_timeout",
            "1s",
            "how long a request waits for one of them; beyond it: 503",
        );
        let dns_refresh =
            keys.or::<PositiveDuration>("dns_refresh", "30s", "how long the addresses of a name are used");
        let slow_start =
            keys.or::<AnyDuration>("slow_start", "0s", "a server new or back gets its share over this time");
        let panic_threshold =
            keys.or::<Share>("panic_threshold", 0.0, "when a smaller share of servers is healthy, all are used");
        let health_check = keys.optional::<HealthCheck>("health_check", "asks each server whether it is well");
        let outlier_ejection =
            keys.optional::<OutlierEjection>("outlier_ejection", "leaves out servers whose answers fail");
        let circuit_breaker =
            keys.optional::<CircuitBreaker>("circuit_breaker", "leaves the upstream alone while it fails: 503");
        let retry = keys.optional::<Retry>("retry", "sends requests again that failed");
        Some(Upstream {
            servers: servers?,
            balance,
            host,
            protocol,
            tls: tls.unwrap_or_default(),
            connect_timeout,
            keep_alive_timeout,
            max_connections_per_server,
            queue_timeout,
            dns_refresh,
            slow_start,
            panic_threshold,
            health_check,
            outlier_ejection,
            circuit_breaker,
            retry,
        })
    }
}

impl Listed for Upstream {
    const SECTION: &'static str = "upstreams";
    const KIND: &'static str = "upstream";
}

impl Choice for Protocol {
    const BUILT: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("http1", Self::Http1), ("h2", Self::Http2)];
}

impl Form for UpstreamHost {
    type Output = UpstreamHost;

    fn expects() -> String {
        r#""upstream", "client" or a host such as "users.internal""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<UpstreamHost> {
        let text = value.text::<Self>()?;
        match text.text.as_str() {
            "upstream" => return Some(UpstreamHost::Upstream),
            "client" => return Some(UpstreamHost::Client),
            _ => {}
        }
        let Ok(authority) = text.text.parse::<Authority>() else {
            value.is_not::<Self>();
            return None;
        };
        if let Err(problem) = check_authority(&authority) {
            value.fault(&format!("{} {problem}", text.quoted()));
            return None;
        }
        Some(UpstreamHost::Fixed(authority))
    }

    fn schema() -> Json {
        schema::string(&["upstream", "client", "users.internal"])
    }
}
