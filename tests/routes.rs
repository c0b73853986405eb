//! The routes of the example gateway, key by key, as their users meet them.

mod support;

use support::gateway::{Gateway, status};
use support::{RawOrigin, field};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway with one upstream `o`, and these routes.
fn gateway(origin: &RawOrigin, routes: &str) -> Gateway {
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    Gateway::with_config(&format!("{server}[upstreams.o]\nservers = [\"{}\"]\n{routes}", origin.url()))
}

fn from(client: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_lets_in_the_addresses_it_names() {
    let origin = RawOrigin::answering(OK).await;
    let routes = "[routes.r]\npath = \"/\"\nupstream = \"o\"\nip.allow = [\"10.0.0.0/8\"]\nip.deny = [\"10.9.0.0/16\"]";
    let gateway = gateway(&origin, routes);
    assert_eq!(status(&gateway.exchange(&from("10.1.2.3"))), "200");
    for client in ["10.9.2.3", "192.0.2.1"] {
        let refused = gateway.exchange(&from(client));
        assert_eq!((status(&refused), field(&refused, "content-type")), ("403", Some("application/problem+json")));
        assert!(refused.contains("\"error\":\"ip_denied\""), "{refused}");
    }
}
