//! What the gateway shows when it is given no file: an origin inside this process, and commands to try.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Request};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use futures_util::StreamExt;
use tower_gateway::BoxError;

use crate::config::{Config, Faults, Loaded};

const CONFIG: &str = include_str!("gateway.toml");

/// The demo's origin, running.
pub(crate) struct Demo {
    origin: SocketAddr,
}

impl Demo {
    /// Starts the origin on a free port of this machine alone.
    pub(crate) fn start(control: &tokio::runtime::Runtime) -> Result<Self, BoxError> {
        let listener = control.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let origin = listener.local_addr()?;
        control.spawn(async move { axum::serve(listener, origin_app()).await });
        Ok(Self { origin })
    }

    /// The demo's configuration: the file beside this one, with the origin's address in it.
    pub(crate) fn config(&self) -> Result<Loaded, Faults> {
        let origin = self.origin.to_string();
        let variables = |name: &str| match name {
            "DEMO_UPSTREAM" => Some(origin.clone()),
            _ => std::env::var(name).ok(),
        };
        Config::parse(CONFIG, "gateway.toml", Path::new("."), &variables)
    }

    /// What to try, each line showing one thing.
    pub(crate) fn tour(&self, gateway: SocketAddr) -> String {
        format!(
            "\
the demo's origin is http://{origin}

  the gateway itself is well
    curl -i http://{gateway}/health
  a request that is proxied, and loses its prefix /api
    curl -i http://{gateway}/api/users/42
  what the origin is told: X-Request-Id, traceparent, X-Forwarded-*, Via
    curl -s http://{gateway}/api/echo
  what a client says of itself is not believed
    curl -s -H 'X-Forwarded-For: 6.6.6.6' http://{gateway}/api/echo
  a body streams both ways
    head -c 100000 /dev/zero | curl -s -T - http://{gateway}/api/count
  an origin that takes too long is a 504 after two seconds
    curl -i http://{gateway}/api/slow
  a report that takes half a second is made once in ten: X-Cache says MISS, then HIT
    curl -si http://{gateway}/api/report; curl -si http://{gateway}/api/report
  an unknown route is a 404 that says so
    curl -i http://{gateway}/nowhere

next: copy examples/gateway/gateway.toml, put your own servers in, and run with --config FILE
stop with Ctrl-C
",
            origin = self.origin
        )
    }
}

fn origin_app() -> Router {
    Router::new()
        .route("/users/{id}", get(user))
        .route("/echo", any(echo))
        .route("/count", any(count))
        .route("/slow", get(slow))
        .route("/report", get(report))
}

async fn report() -> impl IntoResponse {
    tokio::time::sleep(Duration::from_millis(500)).await;
    ([("cache-control", "max-age=10")], "all is well\n")
}

async fn user(UrlPath(id): UrlPath<u64>) -> impl IntoResponse {
    axum::response::Json(format!("user {id}"))
}

/// The head of the request as it came.
async fn echo(request: Request) -> String {
    let mut head = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    head
}

async fn count(body: Body) -> String {
    let mut bytes = 0;
    let mut frames = body.into_data_stream();
    while let Some(Ok(frame)) = frames.next().await {
        bytes += frame.len();
    }
    format!("{bytes} bytes\n")
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(5)).await;
    "at last\n"
}
