//! `StrictLayer` as the services behind it and the clients before it meet it.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, ServiceExt};
use tower_gateway::RequestContext;
use tower_gateway::strict::{EncodedSlashes, StrictLayer};

type Body = Empty<Bytes>;

/// Answers with the target and the Host it was sent.
async fn tell(request: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers().get("host").map(|host| host.to_str().unwrap()).unwrap_or("-");
    Ok(Response::new(Full::from(format!("{} {host}", request.uri()))))
}

fn request(target: &str) -> Request<Body> {
    Request::get(target).header("host", "a").body(Body::new()).unwrap()
}

async fn answer(layer: &StrictLayer, request: Request<Body>) -> Response<String> {
    let Ok(answer) = layer.layer(tower::service_fn(tell)).oneshot(request).await;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_normal_form_is_what_goes_on_and_the_query_stays() {
    let layer = StrictLayer::new();
    for (target, seen) in [
        ("/a/b?c", "/a/b?c a"),
        ("/a/%2e%2E//%62?x=/../%61&&%zz", "/b?x=/../%61&&%zz a"),
        ("/%61?", "/a? a"),
        ("http://b:80/x/../y?z", "http://b:80/y?z b:80"),
        ("http://b", "http://b/ b"),
    ] {
        assert_eq!(answer(&layer, request(target)).await.body(), seen, "{target}");
    }
}

#[tokio::test]
async fn a_refusal_is_a_problem_document_and_closes_when_the_next_request_is_in_doubt() {
    let layer = StrictLayer::new();
    let in_path = answer(&layer, request("/a/..;/b")).await;
    assert_eq!(in_path.status(), 400);
    assert_eq!(in_path.headers()["content-type"], "application/problem+json");
    assert!(in_path.body().contains("\"error\":\"bad_request\"") && !in_path.headers().contains_key("connection"));

    let mut two_hosts = request("/");
    two_hosts.headers_mut().append("host", "b".parse().unwrap());
    let refused = answer(&layer, two_hosts.clone()).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["connection"]), (400, &"close".parse().unwrap()));
    // HTTP/2 has no such field.
    *two_hosts.version_mut() = Version::HTTP_2;
    assert!(!answer(&layer, two_hosts).await.headers().contains_key("connection"));
}

#[tokio::test]
async fn encoded_slashes_are_refused_or_kept() {
    assert_eq!(answer(&StrictLayer::new(), request("/a%2fb")).await.status(), 400);
    let keeping = StrictLayer::new().encoded_slashes(EncodedSlashes::Keep);
    assert_eq!(answer(&keeping, request("/a%2fb")).await.body(), "/a%2Fb a");
    assert!(!EncodedSlashes::Refuse.admits("/a%2Fb") && EncodedSlashes::Keep.admits("/a%2Fb"));
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let layer = StrictLayer::new().dry_run(true);
    assert_eq!(answer(&layer, request("/a/../b")).await.body(), "/a/../b a");
    let mut bad = request("/a/..;/b");
    let context = RequestContext::of(bad.extensions_mut()).clone();
    assert_eq!(answer(&layer, bad).await.body(), "/a/..;/b a");
    assert!(context.rejection().is_some_and(|rejection| rejection.is_dry_run() && rejection.layer() == "strict"));
}

#[tokio::test]
async fn whom_it_skips_and_what_it_answers_can_be_told() {
    let layer = StrictLayer::new().skip(|head| head.uri().path().starts_with("/raw/"));
    assert_eq!(answer(&layer, request("/raw/../b")).await.body(), "/raw/../b a");
    let layer = StrictLayer::new().on_reject(|_, _, answer| *answer.status_mut() = http::StatusCode::IM_A_TEAPOT);
    assert_eq!(answer(&layer, request("/%zz")).await.status(), 418);
    let off = StrictLayer::new().enabled(false);
    assert_eq!(answer(&off, request("/%zz")).await.status(), 200);
}
