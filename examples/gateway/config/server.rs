//! `[server]`: where the gateway listens, and what it allows a connection.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use serde_json::Value as Json;

use super::address::Cidr;
use super::count::{Count, Workers};
use super::duration::{AnyDuration, PositiveDuration};
use super::forms::{ListOf, Locate, Located, OrNone};
use super::literal::EMPTY;
use super::schema;
use super::size::{Bytes, PositiveBytes};
use super::table::{Keys, Table};
use super::value::{Form, Value};

/// `[server]`. A limit that is absent has been lifted with `"none"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Empty only where there are other listeners; no address twice, but for those with port 0.
    pub(crate) listen: Vec<SocketAddr>,
    /// Absent: one per available core.
    pub(crate) workers: Option<NonZeroUsize>,
    /// Networks whose `client_ip_from` header is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) client_ip_from: ClientIpFrom,
    /// From a connection's first byte to the end of a request head.
    pub(crate) header_read_timeout: Option<Duration>,
    /// Between two pieces of a request body.
    pub(crate) body_read_timeout: Option<Duration>,
    /// Bytes a second that a request body must average after its first 10 seconds; at least 1.
    pub(crate) body_min_rate: Option<u64>,
    /// How long a client may read nothing.
    pub(crate) write_timeout: Option<Duration>,
    /// How long a connection may wait for its next request; zero: every connection ends after one.
    pub(crate) keep_alive_timeout: Option<Duration>,
    /// At least 1.
    pub(crate) max_header_bytes: Option<u64>,
    /// With 0, requests may have no body.
    pub(crate) max_body_bytes: Option<u64>,
    pub(crate) max_connections: Option<NonZeroUsize>,
    pub(crate) max_connections_per_ip: Option<NonZeroUsize>,
    /// After SIGTERM: how long readiness is 503 before listeners close.
    pub(crate) drain_delay: Duration,
    /// Then: how long requests in flight may take to finish.
    pub(crate) shutdown_grace: Duration,
}

/// The one header that a trusted proxy tells the client's address in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientIpFrom {
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
    /// Holds one address alone, such as `cf-connecting-ip`.
    Header(HeaderName),
}

impl Server {
    /// The keys that differ from `started` and are used once, when listeners and workers are made.
    pub(crate) fn needs_restart(&self, started: &Self) -> Vec<&'static str> {
        // A key more has to be put on one side or the other.
        let Server {
            listen,
            workers,
            trusted_proxies: _,
            client_ip_from: _,
            header_read_timeout,
            body_read_timeout,
            body_min_rate,
            write_timeout,
            keep_alive_timeout,
            max_header_bytes,
            // Each route bounds its own.
            max_body_bytes: _,
            max_connections,
            max_connections_per_ip,
            drain_delay: _,
            shutdown_grace: _,
        } = self;
        let keys = [
            ("server.listen", *listen != started.listen),
            ("server.workers", *workers != started.workers),
            ("server.header_read_timeout", *header_read_timeout != started.header_read_timeout),
            ("server.body_read_timeout", *body_read_timeout != started.body_read_timeout),
            ("server.body_min_rate", *body_min_rate != started.body_min_rate),
            ("server.write_timeout", *write_timeout != started.write_timeout),
            ("server.keep_alive_timeout", *keep_alive_timeout != started.keep_alive_timeout),
            ("server.max_header_bytes", *max_header_bytes != started.max_header_bytes),
            ("server.max_connections", *max_connections != started.max_connections),
            ("server.max_connections_per_ip", *max_connections_per_ip != started.max_connections_per_ip),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

impl Table for Server {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        type Time = OrNone<PositiveDuration>;
        Some(Server {
            listen: keys.or::<Listen>(
                "listen",
                ["127.0.0.1:8080"],
                "addresses for plain HTTP/1.1, and HTTP/2 by prior knowledge",
            ),
            workers: keys.or::<Workers>("workers", 0, "serving threads; 0: one per available core"),
            trusted_proxies: keys.or::<TrustedProxies>(
                "trusted_proxies",
                EMPTY,
                "networks whose client_ip_from header is believed, walked right to left",
            ),
            client_ip_from: keys.or::<ClientIpFrom>(
                "client_ip_from",
                "x-forwarded-for",
                "the one header that trusted proxies tell the client's address in; the others are ignored and replaced",
            ),
            header_read_timeout: keys.or::<Time>(
                "header_read_timeout",
                "10s",
                "from a connection's first byte to the end of a request head",
            ),
            body_read_timeout: keys.or::<Time>("body_read_timeout", "30s", "between two pieces of a request body"),
            body_min_rate: keys.or::<OrNone<PositiveBytes>>(
                "body_min_rate",
                "128B",
                "bytes a second that a request body must average after its first 10 s",
            ),
            write_timeout: keys.or::<Time>("write_timeout", "30s", "how long a client may read nothing"),
            keep_alive_timeout: keys.or::<OrNone<AnyDuration>>(
                "keep_alive_timeout",
                "75s",
                "how long a connection may wait for its next request; 0s: it ends after one",
            ),
            max_header_bytes: keys.or::<OrNone<PositiveBytes>>(
                "max_header_bytes",
                "64KiB",
                "the size of a request head; beyond it: 431",
            ),
            max_body_bytes: keys.or::<OrNone<Bytes>>(
                "max_body_bytes",
                "10MiB",
                "the size of a request body, with or without Content-Length; beyond it: 413",
            ),
            max_connections: keys.or::<OrNone<Count>>("max_connections", 10_000, "connections served at a time"),
            max_connections_per_ip: keys.or::<OrNone<Count>>(
                "max_connections_per_ip",
                "none",
                "connections of one client: an IPv4 address or an IPv6 /64",
            ),
            drain_delay: keys.or::<AnyDuration>(
                "drain_delay",
                "0s",
                "how long readiness is 503 after SIGTERM before listeners close",
            ),
            shutdown_grace: keys.or::<AnyDuration>(
                "shutdown_grace",
                "30s",
                "how long requests in flight may take to finish then",
            ),
        })
    }
}

struct Listen;

impl Form for Listen {
    type Output = Vec<SocketAddr>;

    fn expects() -> String {
        ListOf::<SocketAddr>::expects()
    }

    fn read(value: &Value<'_>) -> Option<Vec<SocketAddr>> {
        let entries = ListOf::<Locate<SocketAddr>>::entries(value)?;
        let addresses: Vec<&Located<SocketAddr>> = entries.iter().flatten().collect();
        for (index, address) in addresses.iter().enumerate() {
            refuse_if_repeated(value, address, &addresses[..index]);
        }
        entries.into_iter().map(|entry| Some(entry?.value)).collect()
    }

    fn schema() -> Json {
        ListOf::<SocketAddr>::schema()
    }
}

/// Port 0 is another free port each time.
fn refuse_if_repeated(value: &Value<'_>, address: &Located<SocketAddr>, earlier: &[&Located<SocketAddr>]) {
    if address.value.port() != 0
        && let Some(first) = earlier.iter().find(|other| other.value == address.value)
    {
        let message = format!("{}: the same address as {}; remove one of them", address.path, first.path);
        value.reader.fault(&address.at, &address.path, message);
    }
}

struct TrustedProxies;

impl Form for TrustedProxies {
    type Output = Vec<IpNet>;

    fn expects() -> String {
        ListOf::<Cidr>::expects()
    }

    fn read(value: &Value<'_>) -> Option<Vec<IpNet>> {
        let networks = ListOf::<Locate<Cidr>>::read(value)?;
        for network in networks.iter().filter(|network| network.value.prefix_len() == 0) {
            value.reader.warn(
                &network.at,
                &network.path,
                format!(
                    "{}: every client is believed to be a proxy and may claim any address; write the proxies' networks",
                    network.path
                ),
            );
        }
        Some(networks.into_iter().map(|network| network.value).collect())
    }

    fn schema() -> Json {
        ListOf::<Cidr>::schema()
    }
}

impl Form for ClientIpFrom {
    type Output = ClientIpFrom;

    fn expects() -> String {
        r#""x-forwarded-for", "forwarded" or the name of a header such as "cf-connecting-ip""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<ClientIpFrom> {
        let name = HeaderName::read(value)?;
        Some(match name.as_str() {
            "x-forwarded-for" => ClientIpFrom::XForwardedFor,
            "forwarded" => ClientIpFrom::Forwarded,
            _ => ClientIpFrom::Header(name),
        })
    }

    fn schema() -> Json {
        schema::string(&["x-forwarded-for", "forwarded", "cf-connecting-ip"])
    }
}
