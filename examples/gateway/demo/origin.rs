//! The origin that the demo's gateway stands before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use futures_util::StreamExt;
use http::StatusCode;

pub(super) fn app() -> Router {
    Router::new()
        .route("/users/{id}", get(user))
        .route("/echo", any(echo))
        .route("/me", any(echo))
        .route("/count", any(count))
        .route("/slow", get(slow))
        .route("/report", get(report))
        .route("/fail", get(fail))
        .route("/sometimes", get(sometimes))
}

/// What is worth storing: it takes its time, and says for how long it holds.
async fn report() -> impl IntoResponse {
    tokio::time::sleep(Duration::from_millis(500)).await;
    ([("cache-control", "max-age=10")], "all is well\n")
}

async fn user(Path(id): Path<u64>) -> impl IntoResponse {
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

/// Fails as long as it is asked.
async fn fail() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

/// Is not there for every other request.
async fn sometimes() -> (StatusCode, &'static str) {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    match ASKED.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "not now\n"),
        _ => (StatusCode::OK, "here I am\n"),
    }
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(5)).await;
    "at last\n"
}
