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
    assert_eq!(status(&send(&gateway, "OPTIONS", "a", "*", "")), "204");
}

fn get(gateway: &Gateway, path: &str) -> String {
    send(gateway, "GET", "gw.example", path, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_answer_and_a_redirect_need_no_upstream() {
    let routes = r#"
        [defaults]
        upstream = "o"
        [routes.gone]
        path = "/gone"
        respond = { status = 410, headers = { X-Why = "moved" }, body = "gone\n" }
        [routes.empty]
        path = "/empty"
        respond = { status = 204 }
        [routes.secure]
        path = "/"
        redirect = { status = 301, to = "https://{host}{path}{query}" }
        [routes.user]
        path = "/me"
        redirect = { to = "/users/{subject|anonymous}?from={client_ip}" }
        [routes.self]
        path = "/self"
        redirect = { status = 302, to = "{path}/" }
    "#;
    let origin = RawOrigin::answering(OK).await;
    let gateway = gateway(&origin, routes);
    let gone = get(&gateway, "/gone/x");
    assert_eq!((status(&gone), field(&gone, "x-why"), body(&gone)), ("410", Some("moved"), "gone\n"));
    assert_eq!(field(&gone, "content-type"), Some("text/plain; charset=utf-8"));
    let head = send(&gateway, "HEAD", "a", "/gone", "");
    assert_eq!((status(&head), field(&head, "content-length"), body(&head)), ("410", Some("5"), ""));
    assert_eq!(status(&get(&gateway, "/empty")), "204");

    let place = |path: &str, host: &str| {
        let answer = send(&gateway, "GET", host, path, "");
        (status(&answer).to_owned(), field(&answer, "location").unwrap_or_default().to_owned())
    };
    let moved = |to: &str| ("301".to_owned(), to.to_owned());
    assert_eq!(place("/a/b?c=d&e", "Shop.example:8080"), moved("https://shop.example/a/b?c=d&e"));
    // What a browser would take for another host, or another field, is none here.
    assert_eq!(place("//evil.example/%2e%2e/", "a"), moved("https://a/"));
    assert_eq!(place("/%0d%0aset-cookie:x", "a").0, "400");
    assert_eq!(place("/me", "a"), ("308".to_owned(), "/users/anonymous?from=127.0.0.1".to_owned()));
    assert_eq!(place("/self", "a"), ("302".to_owned(), "/self/".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_rewritten_by_what_stripping_left() {
    let routes = r#"
        [routes.r]
        path = "/api"
        strip_prefix = "/api"
        rewrite_path = "/v2/{host}{path}"
        upstream = "o"
    "#;
    let mut origin = RawOrigin::answering(OK).await;
    let gateway = gateway(&origin, routes);
    assert_eq!(status(&get(&gateway, "/api/users?x=%2F&y")), "200");
    assert!(origin.received().await.starts_with("GET /v2/gw.example/users?x=%2F&y HTTP/1.1\r\n"));
    assert_eq!(status(&send(&gateway, "GET", "..", "/api/users", "")), "400");
}

#[tokio::test(flavor = "multi_thread")]
async fn header_fields_are_removed_and_set_both_ways() {
    let routes = r#"
        [routes.r]
        path = "/r"
        upstream = "o"
        request.remove_headers = ["x-debug"]
        request.set_headers = { x-user = "{subject|anonymous}", x-from = "{client_ip} {route}", x-gone = "{plan}" }
        response.remove_headers = ["x-secret"]
        response.set_headers = { x-frame-options = "DENY", x-id = "{request_id}", x-path = "{path}" }
        [routes.default]
        path = "/default"
        upstream = "o"
        [routes.off]
        path = "/off"
        upstream = "o"
        response = false
        [routes.closed]
        path = "/closed"
        upstream = "o"
        ip.allow = ["10.0.0.0/8"]
        response = { set_headers = { x-frame-options = "DENY" }, server_timing = true }
    "#;
    let answer =
        "HTTP/1.1 200 OK\r\nServer: s/1\r\nX-Powered-By: p\r\nX_Secret: y\r\nX-Id: o\r\nContent-Length: 0\r\n\r\n";
    let mut origin = RawOrigin::answering(answer).await;
    let gateway = gateway(&origin, routes);
    let spoofed = "X-User: admin\r\nx_debug: 1\r\nX-Gone: 1\r\nX-Kept: 1\r\n";
    let answer = send(&gateway, "GET", "a", "/r/x", spoofed);
    let head = origin.received().await;
    let seen = ["x-user", "x-from", "x-gone", "x_debug", "x-kept"].map(|name| field(&head, name));
    assert_eq!(seen, [Some("anonymous"), Some("127.0.0.1 r"), None, None, Some("1")]);
    assert_eq!((field(&answer, "x-frame-options"), field(&answer, "x-path")), (Some("DENY"), Some("/r/x")));
    assert_eq!(field(&answer, "x-id"), field(&answer, "x-request-id"));
    assert_eq!((field(&answer, "server"), field(&answer, "x_secret")), (Some("s/1"), None));

    let is_milliseconds = |time: &str| time.strip_suffix("ms").is_some_and(|number| number.parse::<u64>().is_ok());
    let answer = get(&gateway, "/default");
    assert_eq!((field(&answer, "server"), field(&answer, "x-powered-by")), (None, None));
    assert!(field(&answer, "x-response-time").is_some_and(is_milliseconds), "{answer}");
    assert_eq!(field(&answer, "server-timing"), None);
    let answer = get(&gateway, "/off");
    assert_eq!((field(&answer, "server"), field(&answer, "x-response-time")), (Some("s/1"), None));
    // Also what the gateway answers by itself.
    let answer = get(&gateway, "/closed");
    assert_eq!((status(&answer), field(&answer, "x-frame-options")), ("403", Some("DENY")));
    assert!(field(&answer, "x-response-time").is_some_and(is_milliseconds), "{answer}");
    assert!(field(&answer, "server-timing").is_some_and(|timing| timing.starts_with("gateway;dur=")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_bounded_by_its_route_below_and_above_the_others() {
    let routes = r#"
        [routes.small]
        path = "/small"
        upstream = "o"
        request.max_body_bytes = 10
        [routes.as_all]
        path = "/"
        upstream = "o"
        [routes.large]
        path = "/large"
        upstream = "o"
        request.max_body_bytes = "1KiB"
        [routes.any]
        path = "/any"
        upstream = "o"
        request.max_body_bytes = "none"
    "#;
    let origin = RawOrigin::answering(OK).await;
    let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nmax_body_bytes = 100\n";
    let file = format!("{server}[upstreams.o]\nservers = [\"{}\"]\n{routes}", origin.url());
    let gateway = Gateway::with_config(&file);
    let with_length = |path: &str, length: usize| {
        let fields = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n{}", "x".repeat(length));
        gateway.exchange(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}"))
    };
    let chunked = |path: &str, length: usize| {
        let fields = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        gateway.exchange(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}{body}"))
    };
    for (path, limit) in [("/small", 10), ("/as/all", 100), ("/large", 1024)] {
        assert_eq!((status(&with_length(path, limit)), status(&chunked(path, limit))), ("200", "200"), "{path}");
        for refused in [with_length(path, limit + 1), chunked(path, limit + 1)] {
            assert_eq!(status(&refused), "413", "{path}");
            assert!(refused.contains("\"error\":\"body_too_large\""), "{refused}");
        }
    }
    assert_eq!((status(&with_length("/any", 20_000)), status(&chunked("/any", 20_000))), ("200", "200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_of_the_types_that_its_route_names() {
    let routes = r#"
        [routes.r]
        path = "/"
        upstream = "o"
        request.content_types = ["application/json", "image/*"]
    "#;
    let origin = RawOrigin::answering(OK).await;
    let gateway = gateway(&origin, routes);
    let post = |fields: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        );
        gateway.exchange(&head)
    };
    for accepted in ["application/json", "Application/JSON ; charset=utf-8", "image/png"] {
        assert_eq!(status(&post(&format!("Content-Type: {accepted}\r\n"), "{}")), "200", "{accepted}");
    }
    assert_eq!(status(&post("Content-Type: text/plain\r\n", "")), "200");
    assert_eq!(status(&get(&gateway, "/")), "200");
    for refused in
        ["", "Content-Type: text/plain\r\n", "Content-Type: application/json\r\nContent-Type: text/plain\r\n"]
    {
        let answer = post(refused, "{}");
        assert_eq!((status(&answer), field(&answer, "accept")), ("415", Some("application/json, image/*")));
        assert!(answer.contains("\"error\":\"unsupported_media_type\""), "{answer}");
    }
}

const APP: &str = "Origin: https://app.example\r\n";
const EVIL: &str = "Origin: https://evil.example\r\n";

fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> String {
    let asked =
        format!("{origin}Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: content-type\r\n");
    send(gateway, "OPTIONS", "a", path, &asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_the_origins_named_may_read_answers_and_refusals() {
    let routes = r#"
        [cors]
        allow_origins = ["https://app.example", "http://localhost:3000"]
        allow_credentials = true
        max_age = "1h"
        [routes.r]
        path = "/r"
        upstream = "o"
        methods = ["GET", "PUT"]
        [routes.closed]
        path = "/closed"
        upstream = "o"
        ip.deny = ["127.0.0.0/8"]
        [routes.open]
        path = "/open"
        upstream = "o"
        [routes.open.cors]
        allow_origins = ["*"]
        allow_methods = ["GET"]
        expose_headers = ["etag"]
        [routes.off]
        path = "/off"
        upstream = "o"
        methods = ["GET"]
        cors = false
    "#;
    let mut origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nVary: accept\r\nContent-Length: 0\r\n\r\n").await;
    let gateway = gateway(&origin, routes);
    let allowed = "access-control-allow-origin";

    // A preflight is answered here, for the method that it asks for.
    let answer = preflight(&gateway, "/r", APP, "PUT");
    assert_eq!((status(&answer), field(&answer, allowed)), ("200", Some("https://app.example")));
    assert_eq!(field(&answer, "access-control-allow-methods"), Some("GET,POST,PUT,PATCH,DELETE"));
    assert_eq!(field(&answer, "access-control-allow-headers"), Some("authorization,content-type,x-api-key"));
    let others = (field(&answer, "access-control-allow-credentials"), field(&answer, "access-control-max-age"));
    assert_eq!(others, (Some("true"), Some("3600")));
    assert_eq!(field(&preflight(&gateway, "/r", EVIL, "PUT"), allowed), None);
    let refused = preflight(&gateway, "/r", APP, "DELETE");
    assert_eq!((status(&refused), field(&refused, allowed)), ("405", Some("https://app.example")));
    // Also where the request that it asks for would be refused: credentials and the like come with that.
    assert_eq!(status(&preflight(&gateway, "/closed", APP, "GET")), "200");
    assert!(origin.is_untouched());

    let answer = send(&gateway, "GET", "a", "/r", APP);
    assert_eq!((status(&answer), field(&answer, allowed)), ("200", Some("https://app.example")));
    assert!(field(&answer, "access-control-expose-headers").unwrap().contains("x-request-id"));
    let vary: Vec<_> = answer.lines().filter(|line| line.to_lowercase().starts_with("vary:")).collect();
    assert_eq!(vary.len(), 2, "{answer}");
    assert_eq!(field(&send(&gateway, "GET", "a", "/r", EVIL), allowed), None);
    for (path, method, refused) in [("/closed", "GET", "403"), ("/nowhere", "GET", "404"), ("/r", "DELETE", "405")] {
        let answer = send(&gateway, method, "a", path, APP);
        assert_eq!((status(&answer), field(&answer, allowed)), (refused, Some("https://app.example")), "{path}");
        assert_eq!(field(&send(&gateway, method, "a", path, EVIL), allowed), None);
    }

    // A route's own rules stand in place of those of all.
    let answer = preflight(&gateway, "/open", EVIL, "GET");
    assert_eq!((field(&answer, allowed), field(&answer, "access-control-allow-methods")), (Some("*"), Some("GET")));
    assert_eq!(field(&answer, "access-control-allow-credentials"), None);
    let answer = send(&gateway, "GET", "a", "/open", APP);
    assert_eq!((field(&answer, allowed), field(&answer, "access-control-expose-headers")), (Some("*"), Some("etag")));
    assert_eq!(field(&send(&gateway, "GET", "a", "/off", APP), allowed), None);
    assert_eq!(status(&preflight(&gateway, "/off", APP, "GET")), "405");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_options_request_that_is_no_preflight_is_the_origins() {
    let routes = "[cors]\nallow_origins = [\"https://app.example\"]\n[routes.r]\npath = \"/\"\nupstream = \"o\"\n";
    let mut origin = RawOrigin::answering(OK).await;
    let gateway = gateway(&origin, routes);
    for fields in ["", APP] {
        let answer = send(&gateway, "OPTIONS", "a", "/x", fields);
        assert_eq!((status(&answer), body(&answer)), ("200", "ok"));
        assert!(origin.received().await.starts_with("OPTIONS /x HTTP/1.1\r\n"));
    }
}
