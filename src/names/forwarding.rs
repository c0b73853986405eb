//! The names by which an origin may be told where a request came from.

use std::sync::LazyLock;

use http::HeaderName;

use super::NameSet;

/// Headers by which proxies, clouds and CDNs tell an origin who its client is and how it called, and which frameworks are
/// known to believe.
#[rustfmt::skip]
pub(crate) const FORWARDING_NAMES: [&str; 51] = [
    "forwarded", "forwarded-for", "x-forwarded", "x-forwarded-for", "x-forwarded-by", "x-forwarded-proto",
    "x-forwarded-protocol", "x-forwarded-scheme", "x-forwarded-ssl", "x-forwarded-host", "x-forwarded-port",
    "x-forwarded-server", "x-forwarded-prefix", "x-forwarded-path", "x-original-forwarded-for", "x-original-host",
    "x-original-proto", "x-url-scheme", "front-end-https",
    "x-real-ip", "x-real-port", "x-client-ip", "client-ip", "true-client-ip", "x-true-client-ip", "x-remote-ip",
    "x-remote-addr", "x-originating-ip", "x-cluster-client-ip", "proxy-client-ip", "wl-proxy-client-ip",
    "cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4", "fastly-client-ip", "fly-client-ip", "do-connecting-ip",
    "cloudfront-viewer-address", "incap-client-ip", "x-appengine-user-ip", "x-appengine-remote-addr", "x-azure-clientip",
    "x-azure-socketip", "x-envoy-external-address", "x-envoy-internal", "x-vercel-forwarded-for",
    "client-cert", "client-cert-chain", "x-forwarded-client-cert", "x-ssl-client-cert", "ssl-client-cert",
];

/// All of them, in any spelling.
pub(crate) static FORWARDING: LazyLock<NameSet> =
    LazyLock::new(|| FORWARDING_NAMES.into_iter().map(HeaderName::from_static).collect());
