//! What a caller, an upstream and an operator see of `RequestIdLayer`.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::request_id::{RequestIdFuture, RequestIdLayer, RequestIdService};
use tower_gateway::{ClientIp, Clock, Reason, Rejection, RequestContext, RequestId, TraceContext};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

static_assertions::assert_impl_all!(RequestIdLayer: Clone, Send, Sync, Default, std::fmt::Debug);
static_assertions::assert_impl_all!(RequestIdService<Origin>: Clone, Send, Sync);
static_assertions::assert_impl_all!(RequestIdFuture<std::future::Ready<()>>: Send, Sync, Unpin);

/// What went inwards and what came back.
struct Seen {
    inner: HeaderMap,
    context: Option<RequestContext>,
    answer: HeaderMap,
}

impl Seen {
    fn inner(&self, name: &str) -> Vec<&str> {
        self.inner.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    fn answer(&self, name: &str) -> Vec<&str> {
        self.answer.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    fn id(&self) -> &str {
        self.context.as_ref().unwrap().request_id().unwrap().as_str()
    }

    fn trace(&self) -> &TraceContext {
        self.context.as_ref().unwrap().trace().unwrap()
    }

    fn assert_one_id(&self) {
        assert_eq!((self.inner("x-request-id"), self.answer("x-request-id")), (vec![self.id()], vec![self.id()]));
    }
}

/// An origin that answers with an error, and with ids of its own.
#[derive(Clone, Default)]
struct Origin(Arc<OnceLock<(HeaderMap, Option<RequestContext>)>>);

impl Service<Request<()>> for Origin {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let context = request.extensions().get().cloned();
        self.0.set((request.into_parts().0.headers, context)).expect("one request reaches the origin");
        let response =
            Response::builder().status(500).header("x-request-id", "its-own").header("x-request-id", "twice");
        ready(Ok(response.body(()).unwrap()))
    }
}

async fn send<L, R>(layer: &L, request: Request<()>) -> Seen
where
    L: Layer<Origin>,
    L::Service: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    let origin = Origin::default();
    let answer = layer.layer(origin.clone()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 500);
    let (inner, context) = origin.0.get().cloned().unwrap();
    Seen { inner, context, answer: answer.into_parts().0.headers }
}

/// A request that no layer has said the peer of.
fn from_nowhere(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn from_stranger(headers: &[(&str, &str)]) -> Request<()> {
    from_client(headers, ClientIp::from_peer("192.0.2.1:4711".parse().unwrap(), 64))
}

fn from_trusted(headers: &[(&str, &str)]) -> Request<()> {
    let (peer, client) = ("192.0.2.1:4711".parse().unwrap(), "198.51.100.7".parse().unwrap());
    from_client(headers, ClientIp::behind_trusted(peer, client, 64))
}

fn from_client(headers: &[(&str, &str)], client: ClientIp) -> Request<()> {
    let mut request = from_nowhere(headers);
    RequestContext::of(request.extensions_mut()).set_client_ip(client);
    request
}

fn is_uuid_v7(id: &str) -> bool {
    let bytes = id.as_bytes();
    bytes.len() == 36 && bytes[14] == b'7' && b"89ab".contains(&bytes[19])
}

#[tokio::test]
async fn one_id_goes_inwards_and_the_same_comes_back_also_with_an_error() {
    let seen = send(&RequestIdLayer::new(), from_nowhere(&[])).await;
    assert!(is_uuid_v7(seen.id()), "{}", seen.id());
    seen.assert_one_id();
}

#[tokio::test]
async fn a_peer_that_is_not_trusted_does_not_choose_its_id() {
    let forged = [("x-request-id", "forged")];
    for request in [from_stranger(&forged), from_nowhere(&forged)] {
        let seen = send(&RequestIdLayer::new(), request).await;
        assert!(is_uuid_v7(seen.id()));
        seen.assert_one_id();
    }
}

#[tokio::test]
async fn a_trusted_peers_id_is_kept() {
    let longest = "a".repeat(128);
    for id in ["a", "Az09._:+/=@-", &longest] {
        let seen = send(&RequestIdLayer::new(), from_trusted(&[("x-request-id", id)])).await;
        assert_eq!(seen.id(), id);
        seen.assert_one_id();
    }
}

#[tokio::test]
async fn a_trusted_peers_id_that_is_malformed_is_replaced() {
    let too_long = "a".repeat(129);
    for id in ["", "a b", "a,b", "a\"b", "<a>", "a;b", "a\tb", &too_long] {
        let seen = send(&RequestIdLayer::new(), from_trusted(&[("x-request-id", id)])).await;
        assert!(is_uuid_v7(seen.id()), "{id:?}");
        seen.assert_one_id();
    }
}

#[tokio::test]
async fn two_incoming_ids_are_none() {
    let twice = from_trusted(&[("x-request-id", "a"), ("x-request-id", "a")]);
    let seen = send(&RequestIdLayer::new(), twice).await;
    assert!(is_uuid_v7(seen.id()));
    seen.assert_one_id();
}

#[tokio::test]
async fn other_spellings_of_the_header_go_no_further() {
    let spellings = [("x_request_id", "a"), ("X-Request_Id", "b"), ("x-request-id", "c")];
    for request in [from_stranger(&spellings), from_trusted(&spellings)] {
        let seen = send(&RequestIdLayer::new(), request).await;
        assert!(!seen.inner.contains_key("x_request_id") && !seen.inner.contains_key("x-request_id"));
        seen.assert_one_id();
    }
}

#[tokio::test]
async fn every_peer_may_be_trusted_where_only_a_gateway_can_reach_the_service() {
    let layer = RequestIdLayer::new().trust_every_peer(true);
    for request in [from_nowhere(&[("x-request-id", "a-1")]), from_stranger(&[("x-request-id", "a-1")])] {
        assert_eq!(send(&layer, request).await.id(), "a-1");
    }
}

#[tokio::test]
async fn the_outermost_of_two_layers_decides() {
    let next = AtomicU64::new(7);
    let outer = RequestIdLayer::new().make_with(move |_| RequestId::new(next.fetch_add(1, Ordering::Relaxed).into()));
    let inner = RequestIdLayer::new().header(HeaderName::from_static("x-correlation-id"));
    let both = tower::layer::layer_fn(|origin| outer.layer(inner.layer(origin)));
    let seen = send(&both, from_nowhere(&[("x-correlation-id", "forged")])).await;
    assert_eq!(seen.id(), "7");
    seen.assert_one_id();
    assert_eq!((seen.inner("x-correlation-id"), seen.answer("x-correlation-id")), (vec!["7"], vec!["7"]));
    assert_eq!(seen.inner("traceparent"), [seen.trace().traceparent()]);
}

#[tokio::test]
async fn a_maker_that_has_none_leaves_it_to_the_layer() {
    let layer = RequestIdLayer::new().make_with(|head| head.headers().get("x-order").cloned().and_then(RequestId::new));
    assert_eq!(send(&layer, from_nowhere(&[("x-order", "o-17")])).await.id(), "o-17");
    assert!(is_uuid_v7(send(&layer, from_nowhere(&[])).await.id()));
}

#[tokio::test]
async fn ids_sort_by_the_time_of_the_clock() {
    let (clock, hand) = Clock::manual();
    let layer = RequestIdLayer::new().clock(clock);
    let first = send(&layer, from_nowhere(&[])).await;
    hand.advance(Duration::from_millis(1));
    let second = send(&layer, from_nowhere(&[])).await;
    hand.step_wall(-1000);
    let third = send(&layer, from_nowhere(&[])).await;
    assert!(first.id() < second.id() && second.id() < third.id());
}

#[tokio::test]
async fn switched_off_or_skipped_it_touches_nothing() {
    let off = RequestIdLayer::new().enabled(false);
    let skipping = RequestIdLayer::new().skip(|head| head.headers().contains_key("traceparent"));
    for layer in [off, skipping] {
        let seen = send(&layer, from_nowhere(&[("x-request-id", "theirs"), ("traceparent", "x")])).await;
        assert!(seen.context.is_none());
        assert_eq!((seen.inner("x-request-id"), seen.inner("traceparent")), (vec!["theirs"], vec!["x"]));
        assert_eq!(seen.answer("x-request-id"), ["its-own", "twice"]);
    }
}

#[tokio::test]
async fn a_trace_is_continued_with_a_parent_id_of_this_hop() {
    let layer = RequestIdLayer::new();
    let incoming = [("traceparent", TRACE), ("tracestate", "a=1"), ("tracestate", "b=2")];
    let seen = send(&layer, from_stranger(&incoming)).await;
    assert_eq!(seen.trace().trace_id(), TRACE_ID);
    assert!(seen.trace().is_sampled());
    assert!(!TRACE.contains(seen.trace().parent_id()));
    assert_eq!(seen.inner("traceparent"), [seen.trace().traceparent()]);
    assert_eq!(seen.inner("tracestate"), ["a=1,b=2"]);
    assert!(!seen.answer.contains_key("traceparent") && !seen.answer.contains_key("tracestate"));

    let again = send(&layer, from_stranger(&incoming)).await;
    assert_ne!(seen.trace().parent_id(), again.trace().parent_id());
}

#[tokio::test]
async fn without_a_valid_trace_a_new_one_starts_and_drops_the_state() {
    let layer = RequestIdLayer::new();
    for headers in [
        &[("tracestate", "a=1")][..],
        &[("traceparent", "00-zz"), ("tracestate", "a=1")],
        &[("traceparent", TRACE), ("traceparent", TRACE), ("tracestate", "a=1")],
    ] {
        let seen = send(&layer, from_nowhere(headers)).await;
        assert_ne!(seen.trace().trace_id(), TRACE_ID);
        assert_eq!(seen.inner("traceparent"), [seen.trace().traceparent()]);
        assert!(seen.trace().traceparent().ends_with("-02"), "a random trace id, and not sampled");
        assert!(!seen.inner.contains_key("tracestate"));
    }
    let seen = send(&layer.sample_started_traces(true), from_nowhere(&[])).await;
    assert!(seen.trace().is_sampled());
}

#[tokio::test]
async fn a_malformed_state_is_dropped_and_its_trace_kept() {
    let seen = send(&RequestIdLayer::new(), from_nowhere(&[("traceparent", TRACE), ("tracestate", "a")])).await;
    assert_eq!(seen.trace().trace_id(), TRACE_ID);
    assert!(!seen.inner.contains_key("tracestate"));
}

#[tokio::test]
async fn traces_of_untrusted_peers_can_be_started_anew() {
    let layer = RequestIdLayer::new().restart_untrusted_traces(true);
    let incoming = [("traceparent", TRACE), ("tracestate", "a=1")];
    for request in [from_stranger(&incoming), from_nowhere(&incoming)] {
        let seen = send(&layer, request).await;
        assert_ne!(seen.trace().trace_id(), TRACE_ID);
        assert!(!seen.trace().is_sampled() && !seen.inner.contains_key("tracestate"));
    }
    let trusted = send(&layer, from_trusted(&incoming)).await;
    assert_eq!(trusted.trace().trace_id(), TRACE_ID);
    assert_eq!(trusted.inner("tracestate"), ["a=1"]);
}

#[tokio::test]
async fn with_trace_context_off_what_came_passes() {
    let layer = RequestIdLayer::new().trace_context(false);
    let seen = send(&layer, from_nowhere(&[("traceparent", "x"), ("tracestate", "y")])).await;
    assert_eq!((seen.inner("traceparent"), seen.inner("tracestate")), (vec!["x"], vec!["y"]));
    assert!(seen.context.unwrap().trace().is_none());
    assert!(send(&layer, from_nowhere(&[])).await.inner("traceparent").is_empty());
}

#[tokio::test]
async fn a_refusal_further_in_names_the_request_and_carries_its_id() {
    let refusing = service_fn(|request: Request<()>| {
        let refusal = Rejection::new("test", Reason::IpDenied).response(request.extensions().get());
        ready(Ok::<_, Infallible>(refusal.map(Full::<Bytes>::new)))
    });
    let answer = RequestIdLayer::new().layer(refusing).oneshot(from_nowhere(&[])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains(&format!(r#""request_id":"{id}""#)));
}

#[tokio::test]
async fn the_inner_error_passes_untouched() {
    let failing = service_fn(|_: Request<()>| ready(Err::<Response<()>, _>("broken")));
    assert_eq!(RequestIdLayer::new().layer(failing).oneshot(from_nowhere(&[])).await.unwrap_err(), "broken");
}

#[tokio::test]
async fn an_axum_app_gives_an_id_with_every_answer() {
    use axum::{Router, body::Body, routing::get};

    let app = Router::new().route("/ok", get(|| async { "ok" })).layer(RequestIdLayer::new());
    let mut ids = HashSet::new();
    for (method, path, status) in [("GET", "/ok", 200), ("POST", "/ok", 405), ("GET", "/missing", 404)] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
        ids.insert(answer.headers()["x-request-id"].clone());
    }
    assert_eq!(ids.len(), 3);
}
