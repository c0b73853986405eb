//! URLs of upstream servers.

use std::net::Ipv6Addr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use serde_json::Value as Json;

use super::schema;
use super::value::{Form, Value};

/// `http(s)://host[:port][/base]`: where to connect, and what is put before a request's path. The scheme comes out in
/// lower case, the path without slashes at its end ("/" where there is none, as `http::Uri` cannot do without).
pub(super) struct ServerUrl;

impl Form for ServerUrl {
    type Output = Uri;

    fn expects() -> String {
        r#"a URL such as "http://127.0.0.1:3001" or "https://users.internal:8443/base""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Uri> {
        let text = value.text::<Self>()?;
        let problem = match parse(&text.text) {
            Ok(url) => return Some(url),
            Err(problem) => problem,
        };
        value.fault(&format!("{} {problem}", text.quoted()));
        None
    }

    fn schema() -> Json {
        schema::string(&["http://127.0.0.1:3001", "https://users.internal:8443/base"])
    }
}

fn parse(text: &str) -> Result<Uri, String> {
    let Some((scheme, _)) = text.split_once("://") else {
        return Err(format!("is not {}", ServerUrl::expects()));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::HTTP,
        "https" => Scheme::HTTPS,
        _ => {
            return Err(
                "has a scheme that no connection can be made with; write \"http://\" or \"https://\"".to_owned()
            );
        }
    };
    if text.contains(['?', '#']) {
        return Err("holds a query or a fragment; a request brings its own, leave it out".to_owned());
    }
    let parts = text.parse::<Uri>().map_err(|_| format!("is not {}", ServerUrl::expects()))?.into_parts();
    let authority = parts.authority.ok_or("names no host; write \"http://host:port\"")?;
    check_authority(&authority)?;
    let base = parts.path_and_query.as_ref().map_or("", PathAndQuery::path);
    let base = match base.trim_end_matches('/') {
        "" => "/",
        base => base,
    };
    Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(base)
        .build()
        .map_err(|_| format!("is not {}", ServerUrl::expects()))
}

/// A host, and a port if it likes, and nothing else: http::uri::Authority alone takes much that nobody can connect to.
pub(super) fn check_authority(authority: &Authority) -> Result<(), String> {
    let host = authority.host();
    let whole = authority.as_str();
    if whole.contains('@') {
        return Err("holds user information, which is not sent; leave it out".to_owned());
    }
    if host.is_empty() {
        return Err("names no host; write one before the port".to_owned());
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or(address);
        if address.parse::<Ipv6Addr>().is_err() {
            return Err("holds brackets without an IPv6 address in them; write \"[::1]\"".to_owned());
        }
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match whole.strip_prefix(host) {
        Some("") => Ok(()),
        Some(rest) if rest.strip_prefix(':').is_some_and(is_port) => Ok(()),
        _ => Err("holds a port that is not a number from 1 to 65535; write one, or leave it out".to_owned()),
    }
}
