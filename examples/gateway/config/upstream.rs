//! `[upstreams.NAME]`: the servers that answer, and how connections to them are kept.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::uri::Authority;

use super::count::Count;
use super::duration::{AnyDuration, PositiveDuration};
use super::forms::OrNone;
use super::table::{Keys, Table};
use super::upstream_server::{UpstreamServer, UpstreamServers};
use super::url::check_authority;
use super::value::{Form, Value};

/// `[upstreams.NAME]`. A limit that is absent has been lifted with `"none"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// Never empty.
    pub(crate) servers: Vec<UpstreamServer>,
    pub(crate) balance: Balance,
    pub(crate) host: UpstreamHost,
    pub(crate) protocol: Protocol,
    pub(crate) connect_timeout: Option<Duration>,
    /// How long a connection may stay idle; zero: none is kept.
    pub(crate) keep_alive_timeout: Option<Duration>,
    pub(crate) max_connections_per_server: Option<NonZeroUsize>,
    /// How long a request may wait for a connection; zero: not at all.
    pub(crate) queue_timeout: Option<Duration>,
    /// Never zero.
    pub(crate) dns_refresh: Duration,
}

/// How the server of a request is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balance {
    /// The fewest requests in flight, divided by weight.
    LeastRequests,
    RoundRobin,
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
}

impl Table for Upstream {
    const NOT_BUILT: &'static [&'static str] =
        &["tls", "slow_start", "panic_threshold", "health_check", "outlier_ejection", "circuit_breaker", "retry"];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let servers = keys.required::<UpstreamServers>("servers");
        let balance = keys.or::<Balance>("balance", Balance::LeastRequests);
        let host = keys.or::<UpstreamHost>("host", UpstreamHost::Upstream);
        let protocol = keys.or::<Protocol>("protocol", Protocol::Auto);
        let connect_timeout = keys.or::<OrNone<PositiveDuration>>("connect_timeout", seconds(1));
        let keep_alive_timeout = keys.or::<OrNone<AnyDuration>>("keep_alive_timeout", seconds(60));
        let max_connections_per_server =
            keys.or::<OrNone<Count>>("max_connections_per_server", NonZeroUsize::new(1024));
        let queue_timeout = keys.or::<OrNone<AnyDuration>>("queue_timeout", seconds(1));
        let dns_refresh = keys.or::<PositiveDuration>("dns_refresh", Duration::from_secs(30));
        Some(Upstream {
            servers: servers?,
            balance,
            host,
            protocol,
            connect_timeout,
            keep_alive_timeout,
            max_connections_per_server,
            queue_timeout,
            dns_refresh,
        })
    }
}

impl Balance {
    const NOT_BUILT: &'static [&'static str] = &["peak_ewma", "hash:subject", "hash:client_ip", "hash:header:NAME"];
}

impl Form for Balance {
    type Output = Balance;

    fn expects() -> String {
        r#""least_requests" or "round_robin""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Balance> {
        let built = [("least_requests", Balance::LeastRequests), ("round_robin", Balance::RoundRobin)];
        value.word::<Self, _>(&built, Self::NOT_BUILT)
    }
}

impl Protocol {
    const NOT_BUILT: &'static [&'static str] = &["h2"];
}

impl Form for Protocol {
    type Output = Protocol;

    fn expects() -> String {
        r#""auto" or "http1""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Protocol> {
        let built = [("auto", Protocol::Auto), ("http1", Protocol::Http1)];
        value.word::<Self, _>(&built, Self::NOT_BUILT)
    }
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
}
