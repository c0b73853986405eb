use std::convert::Infallible;

use http::StatusCode;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};

use super::super::{HeaderRules, TransformLayer};
use super::*;
use crate::{Clock, CredentialKind, Identity};

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn rules(removed: &[&'static str], set: &[(&'static str, &str)]) -> HeaderRules {
    let rules = HeaderRules::new().remove(removed.iter().map(|removed| name(removed)));
    set.iter().fold(rules, |rules, (field, template)| rules.set(name(field), template.parse().unwrap()))
}

fn request(fields: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::get("/a?b=c").body(()).unwrap();
    for (field, value) in fields {
        request.headers_mut().append(name(field), HeaderValue::from_static(value));
    }
    request
}

fn made_by(subject: &str, mut request: Request<()>) -> Request<()> {
    let identity = Identity::builder(CredentialKind::Jwt).subject(subject).build();
    RequestContext::of(request.extensions_mut()).set_identity(identity);
    request
}

/// What the inner service was asked with, and what came back of its answer, which had `own` fields.
async fn send(
    layer: TransformLayer,
    own: &[(&'static str, &'static str)],
    request: Request<()>,
) -> (String, Response<Bytes>) {
    let inner = service_fn(|request: Request<()>| async move {
        let shown = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}={}", value.to_str().unwrap());
        let mut seen: Vec<_> = request.headers().iter().map(shown).collect();
        seen.sort();
        let mut response = Response::new(Full::new(Bytes::from(seen.join(" "))));
        for (field, value) in own {
            response.headers_mut().append(name(field), HeaderValue::from_static(value));
        }
        Ok::<_, Infallible>(response)
    });
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (String::from_utf8(body.to_vec()).unwrap(), Response::from_parts(parts, body))
}

fn lines<'a>(response: &'a Response<Bytes>, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().map(|line| line.to_str().unwrap()).collect()
}

#[tokio::test]
async fn removals_come_before_sets_and_know_other_spellings() {
    let layer = TransformLayer::new().request(rules(&["x-user", "x-gone"], &[("x-user", "{subject}"), ("x-new", "1")]));
    let sent = request(&[("x_user", "admin"), ("x-user", "root"), ("x-gone", "1"), ("x-kept", "1"), ("x-new", "0")]);
    let (seen, _) = send(layer, &[], made_by("u1", sent)).await;
    assert_eq!(seen, "x-kept=1 x-new=1 x-user=u1");
}

#[tokio::test]
async fn an_empty_template_removes_what_the_client_sent() {
    let layer = TransformLayer::new().request(rules(&[], &[("x-user", "{subject}"), ("x-none", "")]));
    let (seen, _) = send(layer, &[], request(&[("x-user", "admin"), ("x-none", "1")])).await;
    assert_eq!(seen, "");
}

#[tokio::test]
async fn the_values_are_those_of_the_request_as_it_came() {
    let layer = TransformLayer::new().request(rules(&["host"], &[("x-host", "{host}{path}{query}")]));
    let (seen, _) = send(layer, &[], request(&[("host", "a.example:1")])).await;
    assert_eq!(seen, "x-host=a.example/a?b=c");
}

#[tokio::test]
async fn a_client_cannot_name_away_what_is_set() {
    let layer = TransformLayer::new().request(rules(&[], &[("x-user", "{subject}")]));
    let (seen, _) = send(layer, &[], made_by("u1", request(&[("connection", "close, X-User")]))).await;
    assert_eq!(seen, "connection=close x-user=u1");
}

#[tokio::test]
async fn a_request_with_a_value_that_no_field_can_carry_is_refused() {
    let layer = TransformLayer::new()
        .request(rules(&[], &[("x-user", "{subject}")]))
        .response(rules(&[], &[("x-who", "{subject}"), ("x-frame-options", "DENY")]));
    let request = made_by("u1\r\nx-admin: yes", request(&[]));
    let context = request.extensions().get::<RequestContext>().unwrap().clone();
    let (said, response) = send(layer, &[], request).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(said.contains("\"error\":\"bad_request\""), "{said}");
    assert_eq!(context.rejection().unwrap().layer(), "transform");
    // The refusal is an answer too, and goes without what it cannot have.
    assert_eq!((lines(&response, "x-frame-options"), lines(&response, "x-who")), (vec!["DENY"], vec![]));
}

#[tokio::test]
async fn an_answer_loses_what_is_removed_and_gets_what_is_set() {
    let layer = TransformLayer::new().response(rules(
        &["server", "x-powered-by"],
        &[("x-who", "{subject|nobody}@{host}"), ("vary", "x"), ("age", "")],
    ));
    let own =
        [("server", "secret/1.2"), ("x_powered_by", "php"), ("vary", "a"), ("vary", "b"), ("age", "1"), ("etag", "e")];
    let (_, response) = send(layer.clone(), &own, request(&[("host", "a")])).await;
    assert_eq!(lines(&response, "x-who"), ["nobody@a"]);
    assert_eq!(lines(&response, "vary"), ["x"]);
    assert_eq!(response.headers().len(), 3, "{response:?}");
    // Who is asking may be found out after this layer.
    let inner = service_fn(|request: Request<()>| async move {
        let identity = Identity::builder(CredentialKind::Jwt).subject("late").build();
        request.extensions().get::<RequestContext>().unwrap().set_identity(identity);
        Ok::<_, Infallible>(Response::new(()))
    });
    let mut request = request(&[("host", "a")]);
    RequestContext::of(request.extensions_mut());
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    assert_eq!(response.headers()["x-who"], "late@a");
}

#[tokio::test]
async fn the_time_is_told_in_whole_milliseconds_and_to_the_browser_beside_the_origins() {
    let (clock, hand) = Clock::manual();
    let inner = service_fn(move |_: Request<()>| {
        hand.advance(Duration::from_micros(12_345));
        let mut response = Response::new(());
        response.headers_mut().insert("server-timing", HeaderValue::from_static("db;dur=5"));
        response.headers_mut().insert("x-response-time", HeaderValue::from_static("1ms"));
        async { Ok::<_, Infallible>(response) }
    });
    let layer = TransformLayer::new().response_time(true).server_timing(true).clock(clock);
    let Ok(response) = layer.layer(inner).oneshot(request(&[])).await;
    assert_eq!(response.headers()["x-response-time"], "12ms");
    let timings: Vec<_> = response.headers().get_all("server-timing").iter().collect();
    assert_eq!(timings, ["db;dur=5", "gateway;dur=12.345"]);
}

#[tokio::test]
async fn switched_off_and_skipped_it_changes_nothing() {
    let layer = || TransformLayer::new().request(rules(&["a"], &[])).response(rules(&["b"], &[])).response_time(true);
    for layer in [layer().enabled(false), layer().skip(|head| head.headers().contains_key("a"))] {
        let (seen, response) = send(layer, &[("b", "1")], request(&[("a", "1")])).await;
        assert_eq!((seen.as_str(), response.headers().len()), ("a=1", 1));
    }
}
