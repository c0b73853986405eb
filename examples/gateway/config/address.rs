//! Addresses to listen on, and networks.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde_json::Value as Json;

use super::schema;
use super::value::{Form, Value};

impl Form for SocketAddr {
    type Output = SocketAddr;

    fn expects() -> String {
        r#"an IP address and a port such as "127.0.0.1:8080" or "[::1]:8080""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<SocketAddr> {
        value.parsed::<Self, _>(|text| text.parse().ok())
    }

    fn schema() -> Json {
        schema::string(&["127.0.0.1:8080", "[::1]:8080"])
    }
}

/// A network in CIDR notation (RFC 4632, section 3.1); an address alone is the network of that one host.
pub(super) struct Cidr;

impl Form for Cidr {
    type Output = IpNet;

    fn expects() -> String {
        r#"a network such as "10.0.0.0/8" or "fd00::/8", or one address"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<IpNet> {
        let network = value.parsed::<Self, _>(parse)?;
        if network != network.trunc() {
            value.warn(&format!(
                "{} has bits set beyond its prefix, which are ignored; write the network's first address",
                value.as_written()
            ));
        }
        Some(network.trunc())
    }

    fn schema() -> Json {
        schema::string(&["10.0.0.0/8", "fd00::/8", "192.0.2.1"])
    }
}

fn parse(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse().ok(),
    }
}
