//! Several layers on an axum app: keys for all of it, another limit for each part, and who is asking in a handler.
//!
//! `cargo run --example axum_several_layers`, then `curl -i -H 'x-api-key: swordfish' http://127.0.0.1:3000/me`.

use axum::routing::{get, post};
use axum::{Extension, Router};
use tower::ServiceBuilder;
use tower_gateway::auth::{ApiKey, ApiKeys, AuthLayer, KeyDigest, MemoryKeyStore};
use tower_gateway::limits::BodyLimitLayer;
use tower_gateway::rate_limit::{Key, Limit, Quota, RateLimitLayer};
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::{Identity, RequestContext};

fn app() -> Router {
    let per_minute =
        |name, requests| RateLimitLayer::new([Limit::new(name, Quota::per_minute(requests)).key(Key::subject())]);
    let reads = Router::new().route("/me", get(me)).layer(per_minute("reads", 100));
    let writes = Router::new()
        .route("/notes", post(note))
        .layer(ServiceBuilder::new().layer(BodyLimitLayer::new(1024)).layer(per_minute("writes", 2)));

    let keys = MemoryKeyStore::new([(KeyDigest::of(b"swordfish"), ApiKey::new("k1").subject("ada"))]);
    reads.merge(writes).layer(
        ServiceBuilder::new()
            .layer(RequestIdLayer::new()) // refusals name the request
            .layer(AuthLayer::new(ApiKeys::new(keys))), // who is asking, for the limits and the handlers
    )
}

async fn me(Extension(context): Extension<RequestContext>) -> String {
    let subject = context.identity().and_then(Identity::subject).unwrap_or("nobody");
    format!("hello, {subject}\n")
}

async fn note(body: String) -> String {
    format!("noted: {body}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app()).await?)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn send(app: &Router, method: &str, path: &str, key: &str, body: String) -> (u16, String) {
        let request =
            Request::builder().method(method).uri(path).header("x-api-key", key).body(Body::from(body)).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_part_has_its_limits_and_a_handler_knows_who_asks() {
        let app = app();
        assert_eq!(send(&app, "GET", "/me", "swordfish", String::new()).await, (200, "hello, ada\n".to_owned()));
        assert_eq!(send(&app, "GET", "/me", "guess", String::new()).await.0, 401);
        assert_eq!(send(&app, "POST", "/notes", "swordfish", "x".repeat(1025)).await.0, 413);
        let notes = [200, 200, 429];
        for status in notes {
            assert_eq!(send(&app, "POST", "/notes", "swordfish", "milk".to_owned()).await.0, status);
        }
        assert_eq!(send(&app, "GET", "/me", "swordfish", String::new()).await.0, 200);
    }
}
