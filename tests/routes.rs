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

/// The answer of an origin that says who it is.
fn answer(name: &str) -> &'static str {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()).leak()
}

fn send(gateway: &Gateway, method: &str, host: &str, path: &str, fields: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    gateway.exchange(&head)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_chosen_by_host_path_headers_and_method() {
    let names = ["any", "host", "wildcard", "get", "beta", "exact"];
    let mut upstreams = String::new();
    let mut origins = Vec::new();
    for name in names {
        let origin = RawOrigin::answering(answer(name)).await;
        upstreams.push_str(&format!("[upstreams.{name}]\nservers = [\"{}\"]\n", origin.url()));
        origins.push(origin);
    }
    let routes = r#"
        [routes.any]
        path = "/"
        upstream = "any"
        [routes.host]
        hosts = ["api.example.com", "127.0.0.1"]
        path = "/v1"
        upstream = "host"
        [routes.wildcard]
        hosts = ["*.example.com"]
        path = "/v1/users"
        upstream = "wildcard"
        [routes.get]
        path = "/m"
        methods = ["GET", "POST"]
        upstream = "get"
        [routes.beta]
        path = "/m"
        methods = ["GET"]
        headers = { X-Beta = "1" }
        upstream = "beta"
        [routes.exact]
        path = "/m"
        match = "exact"
        methods = ["DELETE"]
        upstream = "exact"
    "#;
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n";
    let gateway = Gateway::with_config(&format!("{server}{upstreams}{routes}"));
    let get = |host: &str, path: &str| body(&send(&gateway, "GET", host, path, "")).to_owned();
    assert_eq!(get("api.example.com", "/v1/users/7"), "host");
    assert_eq!(get("API.example.com.:80", "/%761/users"), "host");
    assert_eq!(get("127.0.0.1:8080", "/v1"), "host");
    assert_eq!(get("a.b.example.com", "/v1/users/7"), "wildcard");
    assert_eq!(get("example.com", "/v1/users/7"), "any");
    assert_eq!(get("www.example.com", "/v1/user"), "any");
    assert_eq!(get("a", "/mm"), "any");
    assert_eq!(get("a", "/m/x"), "get");
    assert_eq!(body(&send(&gateway, "GET", "a", "/m/x", "x-beta: 1\r\n")), "beta");
    assert_eq!(body(&send(&gateway, "GET", "a", "/m/x", "x-beta: 2\r\n")), "get");
    assert_eq!(body(&send(&gateway, "POST", "a", "/m/x", "x-beta: 1\r\nContent-Length: 0\r\n")), "get");
    assert_eq!(body(&send(&gateway, "DELETE", "a", "/m", "")), "exact");
    assert_eq!(status(&send(&gateway, "HEAD", "a", "/m", "")), "200");

    for (method, path, allow) in [
        ("DELETE", "/m/x", "GET, HEAD, POST"),
        ("PUT", "/m", "DELETE, GET, HEAD, POST"),
        ("OPTIONS", "/m/x", "GET, HEAD, POST"),
    ] {
        let refused = send(&gateway, method, "a", path, "Content-Length: 0\r\n");
        assert_eq!(status(&refused), "405", "{method} {path}");
        let mut methods: Vec<&str> = field(&refused, "allow").unwrap().split(", ").collect();
        methods.sort_unstable();
        assert_eq!(methods.join(", "), allow);
        assert!(refused.contains("\"error\":\"method_not_allowed\""), "{refused}");
    }
    assert_eq!(status(&send(&gateway, "OPTIONS", "a", "*", "")), "404");
}
