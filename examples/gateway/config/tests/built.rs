use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use http::header::{ETAG, SERVER};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tower_gateway::cache::Authenticated;
use tower_gateway::rate_limit::Quota;
use tower_gateway::strict::EncodedSlashes;
use tower_gateway::transform::Template;

use super::super::balance::Balance;
use super::super::cache::{Cache, RouteCache};
use super::super::concurrency::Concurrency;
use super::super::cors::{AllowedOrigins, Cors, RouteCors};
use super::super::ip::IpRules;
use super::super::matching::{Matching, PathMatch};
use super::super::rate_limit::{HeaderKind, KeyPart, OnStoreError, RateLimit, Stage};
use super::super::redis::Shared;
use super::super::request::{BodyLimit, RequestRules};
use super::super::resilience::{Budget, CircuitBreaker, HealthCheck, OutlierEjection, Retry, RetryOn, SlowCall};
use super::super::response::ResponseRules;
use super::super::route::Route;
use super::super::server::{ClientIpFrom, Server};
use super::super::target::{PathRules, Redirect, Respond, Target};
use super::super::timeouts::Timeouts;
use super::super::tls::UpstreamTls;
use super::super::upstream::{Protocol, Upstream, UpstreamHost};
use super::super::upstream_server::UpstreamServer;
use super::super::{Forwarded, Health, RequestId};
use super::{MINIMAL, accepted, parse};

/// Every key that is built, none with its default.
const ALL_BUILT: &str = r#"
[server]
listen = ["127.0.0.1:8081", "[::1]:8081"]
workers = 2
trusted_proxies = ["10.0.0.0/8", "192.168.1.1", "fd00::/8"]
client_ip_from = "CF-Connecting-IP"
header_read_timeout = "5s"
body_read_timeout = "10s"
body_min_rate = "1KiB"
write_timeout = "1m"
keep_alive_timeout = "0s"
max_header_bytes = 8192
max_body_bytes = "none"
max_connections = 50
max_connections_per_ip = 5
drain_delay = "5s"
shutdown_grace = "1m"

[health]
path = "/up"
allow = ["127.0.0.0/8"]

[reload]
watch = false

[request_id]
enabled = false
header = "X-Correlation-Id"

[forwarded]
x_forwarded = false
forwarded = true
via = false

[access_log]
format = "off"

[cache]
memory = "1GiB"
x_cache = false
[cors]
allow_origins = ["https://app.example", "http://localhost:3000"]
allow_credentials = true

[redis]
url = "redis://127.0.0.1:6380/1"
timeout = "20ms"
key_prefix = "x:"
share = ["api_keys"]

[rate_limits.few]
limit = 10
window = "1m"
burst = 5
algorithm = "gcra"
key = ["subject", "header:x-tenant"]
plans = { pro = 100 }
stage = "after_auth"
headers = ["legacy"]
mode = "exact"
on_store_error = "open"
dry_run = true

[upstreams.users]
servers = ["http://127.0.0.1:3001", { url = "http://127.0.0.1:3002/base/", weight = 2 }]
balance = "round_robin"
host = "users.internal"
protocol = "http1"
connect_timeout = "250ms"
keep_alive_timeout = "30s"
max_connections_per_server = "none"
queue_timeout = "0s"
dns_refresh = "1h"
slow_start = "10s"
panic_threshold = 0.25
[upstreams.users.health_check]
path = "/ready"
status = [204]
interval = "2s"
timeout = "500ms"
unhealthy_after = 1
healthy_after = 4
[upstreams.users.outlier_ejection]
consecutive_failures = 7
failure_rate = 0.3
min_requests = 50
window = "20s"
eject_for = "1m"
max_ejected = 0.1
[upstreams.users.circuit_breaker]
failure_rate = 0.4
min_requests = 30
window = "15s"
consecutive_failures = 9
slow_call = { after = "2s", rate = 0.8 }
open_for = "5s"
half_open_requests = 3
[upstreams.users.retry]
attempts = 2
per_try = "1s"
backoff = "10ms"
max_backoff = "100ms"
on = ["reset", "429"]
methods = ["GET"]
budget = { ratio = 0.1, min_per_second = 0 }
replay_bytes = "1KiB"

[defaults]
match = "exact"
timeouts = { total = "1d" }
response = { response_time = false }

[routes.users]
path = "/api/users"
match = "prefix"
upstream = "users"
strip_prefix = "/api/"
hosts = ["API.example.com", "*.example.org"]
methods = ["GET", "POST"]
headers = { X-Beta = "1" }
encoded_slashes = "keep"
timeouts.response_head = "2s"
rate_limit = ["few"]
concurrency = { max = 7 }
timeouts.body_idle = "none"
timeouts.upgrade_idle = "5m"
rewrite_path = "/v2{path}"
[routes.users.request]
max_body_bytes = "1MiB"
content_types = ["application/JSON", "image/*"]
remove_headers = ["x-debug"]
set_headers = { X-Forwarded-User = "{subject}" }
[routes.users.response]
remove_headers = ["server"]
set_headers = { x-frame-options = "DENY" }
response_time = false
server_timing = true
[routes.users.cache]
ttl = "30s"
statuses = [200, 404]
max_body = "none"
stale_while_revalidate = "5s"
stale_if_error = "60s"
authenticated = "per_subject"

[routes.users.cors]
allow_origins = ["*"]
allow_methods = ["PURGE"]
allow_headers = []
expose_headers = ["etag"]
max_age = "1h"
[routes.users.ip]
allow = ["10.0.0.0/8", "::1"]
deny = ["10.1.0.0/16"]

[routes.others]
hosts = ["api.example.com", "*.example.org"]
path = "/api/users"
upstream = "users"

[routes.one]
path = "/one"
upstream = "users"
timeouts = false
response = false

[routes.fixed]
path = "/fixed"
cors = false
respond = { status = 404, headers = { Content-Type = "text/html" }, body = "<h1>no</h1>" }

[routes.moved]
path = "/moved"
redirect = { to = "https://{host}{path}" }

[routes.two]
path = "/two"
upstream = "users"
"#;

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn a_file_that_uses_every_built_key_is_read_whole() {
    let config = accepted(parse(ALL_BUILT));
    assert_eq!(
        config.server,
        Server {
            listen: vec!["127.0.0.1:8081".parse().unwrap(), "[::1]:8081".parse().unwrap()],
            workers: NonZeroUsize::new(2),
            trusted_proxies: vec![
                "10.0.0.0/8".parse().unwrap(),
                "192.168.1.1/32".parse().unwrap(),
                "fd00::/8".parse().unwrap(),
            ],
            client_ip_from: ClientIpFrom::Header(HeaderName::from_static("cf-connecting-ip")),
            header_read_timeout: seconds(5),
            body_read_timeout: seconds(10),
            body_min_rate: Some(1024),
            write_timeout: seconds(60),
            keep_alive_timeout: seconds(0),
            max_header_bytes: Some(8192),
            max_body_bytes: None,
            max_connections: NonZeroUsize::new(50),
            max_connections_per_ip: NonZeroUsize::new(5),
            drain_delay: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(60),
        }
    );
    assert_eq!(config.health.path.as_deref(), Some("/up"));
    assert_eq!(config.health.allow, ["127.0.0.0/8".parse().unwrap()]);
    assert!(!config.reload.watch);
    let correlation_id = HeaderName::from_static("x-correlation-id");
    assert_eq!(config.request_id, RequestId { enabled: false, header: correlation_id });
    assert_eq!(config.forwarded, Forwarded { x_forwarded: false, forwarded: true, client_cert: false, via: false });
    assert_eq!(config.cache, Cache { memory: 1 << 30, x_cache: false });
    let redis = config.redis.as_ref().unwrap();
    assert_eq!((redis.url.expose(), redis.timeout), ("redis://127.0.0.1:6380/1", Duration::from_millis(20)));
    assert_eq!((redis.key_prefix.as_str(), redis.share.as_slice()), ("x:", [Shared::ApiKeys].as_slice()));
    let few = Quota::per_minute(10).burst(5).unwrap();
    assert_eq!(
        config.rate_limits["few"],
        RateLimit {
            quota: few,
            plans: [("pro".to_owned(), few.with_limit(100).unwrap())].into(),
            key: vec![KeyPart::Subject, KeyPart::Header(HeaderName::from_static("x-tenant"))],
            stage: Stage::AfterAuth,
            headers: vec![HeaderKind::Legacy],
            on_store_error: OnStoreError::Open,
            dry_run: true,
        }
    );
    assert_eq!(
        config.upstreams["users"],
        Upstream {
            servers: vec![
                UpstreamServer { url: "http://127.0.0.1:3001/".parse().unwrap(), weight: NonZeroU32::MIN },
                UpstreamServer {
                    url: "http://127.0.0.1:3002/base".parse().unwrap(),
                    weight: NonZeroU32::new(2).unwrap(),
                },
            ],
            balance: Balance::RoundRobin,
            host: UpstreamHost::Fixed("users.internal".parse().unwrap()),
            protocol: Protocol::Http1,
            tls: UpstreamTls::default(),
            connect_timeout: Some(Duration::from_millis(250)),
            keep_alive_timeout: seconds(30),
            max_connections_per_server: None,
            queue_timeout: seconds(0),
            dns_refresh: Duration::from_secs(3600),
            slow_start: Duration::from_secs(10),
            panic_threshold: 0.25,
            health_check: Some(HealthCheck {
                path: "/ready".to_owned(),
                status: vec![StatusCode::NO_CONTENT],
                interval: Duration::from_secs(2),
                timeout: Duration::from_millis(500),
                unhealthy_after: NonZeroUsize::MIN,
                healthy_after: NonZeroUsize::new(4).unwrap(),
            }),
            outlier_ejection: Some(OutlierEjection {
                consecutive_failures: NonZeroUsize::new(7).unwrap(),
                failure_rate: Some(0.3),
                min_requests: NonZeroUsize::new(50).unwrap(),
                window: Duration::from_secs(20),
                eject_for: Duration::from_secs(60),
                max_ejected: 0.1,
            }),
            circuit_breaker: Some(CircuitBreaker {
                failure_rate: 0.4,
                min_requests: NonZeroUsize::new(30).unwrap(),
                window: Duration::from_secs(15),
                consecutive_failures: NonZeroUsize::new(9),
                slow_call: Some(SlowCall { after: Duration::from_secs(2), rate: 0.8 }),
                open_for: Duration::from_secs(5),
                half_open_requests: NonZeroUsize::new(3).unwrap(),
            }),
            retry: Some(Retry {
                attempts: NonZeroUsize::new(2).unwrap(),
                per_try: seconds(1),
                backoff: Duration::from_millis(10),
                max_backoff: Duration::from_millis(100),
                on: vec![RetryOn::Reset, RetryOn::Status(StatusCode::TOO_MANY_REQUESTS)],
                methods: vec![Method::GET],
                budget: Budget { ratio: 0.1, min_per_second: 0 },
                replay_bytes: 1024,
            }),
        }
    );
    assert_eq!(
        config.routes["users"],
        Route {
            matching: Matching {
                hosts: vec!["api.example.com".to_owned(), "*.example.org".to_owned()],
                path: "/api/users".to_owned(),
                path_match: PathMatch::Prefix,
                methods: Some(vec![Method::GET, Method::POST]),
                headers: [("x-beta".to_owned(), HeaderValue::from_static("1"))].into(),
            },
            target: Target::Upstream("users".to_owned()),
            path_rules: PathRules { strip_prefix: Some("/api".to_owned()), rewrite: Some(template("/v2{path}")) },
            encoded_slashes: EncodedSlashes::Keep,
            timeouts: Timeouts { response_head: seconds(2), body_idle: None, total: None, upgrade_idle: seconds(300) },
            cors: RouteCors::Own(Cors {
                allow_origins: AllowedOrigins::Any,
                allow_methods: vec!["PURGE".parse().unwrap()],
                allow_headers: Vec::new(),
                expose_headers: vec![ETAG],
                allow_credentials: false,
                max_age: seconds(3600),
            }),
            plugins: Vec::new(),
            request: RequestRules {
                max_body_bytes: BodyLimit::Own(Some(1 << 20)),
                content_types: Some(vec!["application/json".to_owned(), "image/*".to_owned()]),
                remove_headers: vec!["x-debug".parse().unwrap()],
                set_headers: [("x-forwarded-user".to_owned(), template("{subject}"))].into(),
            },
            response: ResponseRules {
                remove_headers: vec![SERVER],
                set_headers: [("x-frame-options".to_owned(), template("DENY"))].into(),
                response_time: false,
                server_timing: true,
            },
            rate_limit: vec!["few".to_owned()],
            concurrency: Some(Concurrency::Fixed(NonZeroUsize::new(7).unwrap())),
            ip: Some(IpRules {
                allow: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
                deny: vec!["10.1.0.0/16".parse().unwrap()],
            }),
            cache: Some(RouteCache {
                ttl: seconds(30),
                statuses: vec![StatusCode::OK, StatusCode::NOT_FOUND],
                max_body: None,
                stale_while_revalidate: seconds(5),
                stale_if_error: seconds(60),
                authenticated: Authenticated::PerSubject,
            }),
            auth: None,
        }
    );
    let cors = config.cors.as_ref().unwrap();
    let origins = ["https://app.example", "http://localhost:3000"].map(HeaderValue::from_static);
    assert_eq!(cors.allow_origins, AllowedOrigins::These(origins.into()));
    assert_eq!((cors.allow_methods.len(), cors.allow_headers.len(), cors.expose_headers.len()), (5, 3, 8));
    assert_eq!((cors.allow_credentials, cors.max_age), (true, None));
    assert_eq!(config.routes["fixed"].cors, RouteCors::Off);
    assert_eq!(
        config.routes["fixed"].target,
        Target::Respond(Respond {
            status: StatusCode::NOT_FOUND,
            headers: [("content-type".to_owned(), HeaderValue::from_static("text/html"))].into(),
            body: "<h1>no</h1>".to_owned(),
        })
    );
    let moved = Redirect { status: StatusCode::PERMANENT_REDIRECT, to: template("https://{host}{path}") };
    assert_eq!(config.routes["moved"].target, Target::Redirect(moved));
    assert_eq!(config.routes["one"].response, ResponseRules::default());
    assert_eq!(config.routes["one"].matching.path_match, PathMatch::Exact);
    let off = Timeouts { response_head: None, body_idle: None, total: None, upgrade_idle: None };
    assert_eq!(config.routes["one"].timeouts, off);
    assert_eq!(
        config.routes["two"].timeouts,
        Timeouts {
            response_head: seconds(30),
            body_idle: seconds(60),
            total: seconds(86_400),
            upgrade_idle: seconds(3600),
        }
    );
}

#[test]
fn what_a_file_leaves_out_has_the_defaults_of_the_contract() {
    let config = accepted(parse(MINIMAL));
    assert_eq!(
        config.server,
        Server {
            listen: vec!["127.0.0.1:8080".parse().unwrap()],
            workers: None,
            trusted_proxies: Vec::new(),
            client_ip_from: ClientIpFrom::XForwardedFor,
            header_read_timeout: seconds(10),
            body_read_timeout: seconds(30),
            body_min_rate: Some(128),
            write_timeout: seconds(30),
            keep_alive_timeout: seconds(75),
            max_header_bytes: Some(64 * 1024),
            max_body_bytes: Some(10 * 1024 * 1024),
            max_connections: NonZeroUsize::new(10_000),
            max_connections_per_ip: None,
            drain_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(30),
        }
    );
    assert_eq!(config.health, Health { path: Some("/health".to_owned()), allow: Vec::new() });
    assert!(config.reload.watch);
    let request_id = HeaderName::from_static("x-request-id");
    assert_eq!(config.request_id, RequestId { enabled: true, header: request_id });
    assert_eq!(config.forwarded, Forwarded { x_forwarded: true, forwarded: false, client_cert: false, via: true });
    assert_eq!(config.cache, Cache { memory: 256 << 20, x_cache: true });
    assert_eq!(
        config.upstreams["users"],
        Upstream {
            servers: vec![UpstreamServer { url: "http://127.0.0.1:3001".parse().unwrap(), weight: NonZeroU32::MIN }],
            balance: Balance::LeastRequests,
            host: UpstreamHost::Upstream,
            protocol: Protocol::Auto,
            tls: UpstreamTls::default(),
            connect_timeout: seconds(1),
            keep_alive_timeout: seconds(60),
            max_connections_per_server: NonZeroUsize::new(1024),
            queue_timeout: seconds(1),
            dns_refresh: Duration::from_secs(30),
            slow_start: Duration::ZERO,
            panic_threshold: 0.0,
            health_check: None,
            outlier_ejection: None,
            circuit_breaker: None,
            retry: None,
        }
    );
    assert_eq!(
        config.routes["users"],
        Route {
            matching: Matching {
                hosts: Vec::new(),
                path: "/".to_owned(),
                path_match: PathMatch::Prefix,
                methods: None,
                headers: BTreeMap::new(),
            },
            target: Target::Upstream("users".to_owned()),
            path_rules: PathRules::default(),
            encoded_slashes: EncodedSlashes::Refuse,
            timeouts: Timeouts {
                response_head: seconds(30),
                body_idle: seconds(60),
                total: None,
                upgrade_idle: seconds(3600),
            },
            cors: RouteCors::AsAll,
            rate_limit: Vec::new(),
            concurrency: None,
            ip: None,
            cache: None,
            plugins: Vec::new(),
            request: RequestRules::default(),
            response: ResponseRules {
                remove_headers: vec![SERVER, "x-powered-by".parse().unwrap()],
                set_headers: BTreeMap::new(),
                response_time: true,
                server_timing: false,
            },
            auth: None,
        }
    );
}

#[test]
fn an_empty_table_says_the_same_as_none() {
    let empty = format!("[server]\n[health]\n[request_id]\n[forwarded]\n[access_log]\n[defaults]\n{MINIMAL}");
    assert_eq!(accepted(parse(&empty)), accepted(parse(MINIMAL)));
}

#[test]
fn a_file_on_disk_is_read_and_its_folder_is_where_relative_paths_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(folder.path().join("host.txt"), "users.internal\n").unwrap();
    std::fs::write(&file, MINIMAL.replace("\n[routes", "\nhost = \"${file:host.txt}\"\n[routes")).unwrap();
    let loaded = super::super::Config::load(&file).unwrap();
    let host = &loaded.config.upstreams["users"].host;
    assert_eq!(*host, UpstreamHost::Fixed("users.internal".parse().unwrap()));
    let files: Vec<_> = loaded.files.keys().collect();
    assert_eq!(files, [&file, &folder.path().join("host.txt")]);
}

#[test]
fn tables_that_are_there_and_empty_have_the_defaults_of_the_contract() {
    let text = format!(
        "{MINIMAL}[upstreams.users.health_check]\npath = \"/healthz\"\n[upstreams.users.outlier_ejection]\n\
         [upstreams.users.circuit_breaker]\n[upstreams.users.retry]\n"
    );
    let users = &accepted(parse(&text)).upstreams["users"];
    let count = |number| NonZeroUsize::new(number).unwrap();
    let check = users.health_check.as_ref().unwrap();
    assert_eq!(check.status, [StatusCode::OK, StatusCode::NO_CONTENT]);
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(5), Duration::from_secs(1)));
    assert_eq!((check.unhealthy_after, check.healthy_after), (count(3), count(2)));
    let ejection = users.outlier_ejection.as_ref().unwrap();
    assert_eq!(
        (ejection.consecutive_failures, ejection.failure_rate, ejection.min_requests),
        (count(5), None, count(20))
    );
    assert_eq!((ejection.window, ejection.eject_for), (Duration::from_secs(10), Duration::from_secs(30)));
    assert_eq!(ejection.max_ejected, 0.5);
    let breaker = users.circuit_breaker.as_ref().unwrap();
    assert_eq!((breaker.failure_rate, breaker.min_requests, breaker.half_open_requests), (0.5, count(20), count(1)));
    assert_eq!((breaker.window, breaker.open_for), (Duration::from_secs(30), Duration::from_secs(30)));
    assert_eq!((breaker.consecutive_failures, &breaker.slow_call), (None, &None));
    let retry = users.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.per_try, retry.replay_bytes), (count(3), None, 64 << 10));
    assert_eq!((retry.backoff, retry.max_backoff), (Duration::from_millis(25), Duration::from_millis(250)));
    assert_eq!(retry.methods, [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE]);
    assert_eq!(retry.budget, Budget { ratio: 0.2, min_per_second: 10 });
    let statuses = [502, 503, 504].map(|status| RetryOn::Status(StatusCode::from_u16(status).unwrap()));
    assert_eq!(retry.on, [&[RetryOn::Connect, RetryOn::Reset][..], &statuses].concat());
}

#[test]
fn every_way_to_balance_is_read() {
    let balance = |text: &str| {
        let balance = format!("servers = [\"http://127.0.0.1:3001\"]\nbalance = \"{text}\"");
        let file = MINIMAL.replacen("servers = [\"http://127.0.0.1:3001\"]", &balance, 1);
        accepted(parse(&file)).upstreams["users"].balance.clone()
    };
    assert_eq!(balance("round_robin"), Balance::RoundRobin);
    assert_eq!(balance("peak_ewma"), Balance::PeakEwma);
    assert_eq!(balance("hash:subject"), Balance::HashSubject);
    assert_eq!(balance("hash:client_ip"), Balance::HashClientIp);
    assert_eq!(balance("hash:header:X-Tenant"), Balance::HashHeader(HeaderName::from_static("x-tenant")));
}
