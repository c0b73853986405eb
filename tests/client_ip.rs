//! What `ClientIpLayer` tells the layers and origins behind it.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::client_ip::{CidrSet, ClientIpFuture, ClientIpLayer, ClientIpService, ForwardingHeader};
use tower_gateway::{ClientIp, Connection, RequestContext};

/// What the service behind the layer was given.
#[derive(Debug)]
struct Seen {
    client: Option<ClientIp>,
    headers: HeaderMap,
}

impl Seen {
    fn client(&self) -> String {
        self.client.expect("a client is known").to_string()
    }

    fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

async fn see(layer: &ClientIpLayer, mut request: Request<()>) -> Seen {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let inner = service_fn(move |request: Request<()>| {
        let client = request.extensions().get::<RequestContext>().and_then(|context| context.client_ip().copied());
        sender.try_send(Seen { client, headers: request.headers().clone() }).unwrap();
        async { Ok::<_, Infallible>(Response::new(())) }
    });
    request.headers_mut().insert("accept", HeaderValue::from_static("*/*"));
    layer.layer(inner).oneshot(request).await.unwrap();
    let seen = receiver.try_recv().unwrap();
    assert_eq!(seen.header("accept"), ["*/*"], "what does not concern the layer stays");
    seen
}

fn request_from(peer: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(address(peer));
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
    }
    request
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn behind_load_balancers() -> ClientIpLayer {
    ClientIpLayer::new().trusted_proxies(CidrSet::parse(["10.0.0.0/8", "2001:db8:1b::/48"]).unwrap())
}

#[test]
fn services_and_futures_go_wherever_the_inner_ones_go() {
    static_assertions::assert_impl_all!(ClientIpLayer: Clone, Send, Sync, std::fmt::Debug);
    static_assertions::assert_impl_all!(ClientIpService<()>: Clone, Send, Sync, std::fmt::Debug);
    static_assertions::assert_impl_all!(ClientIpFuture<std::future::Ready<()>>: Send, Sync);
}

#[tokio::test]
async fn by_default_the_client_is_the_peer_and_nothing_it_says_of_itself_is_left() {
    let headers = [("x-forwarded-for", "192.0.2.66"), ("forwarded", "for=192.0.2.66"), ("x_real_ip", "192.0.2.66")];
    let seen = see(&ClientIpLayer::new(), request_from("203.0.113.9:4711", &headers)).await;
    assert_eq!(seen.client(), "203.0.113.9");
    assert!(!seen.client.unwrap().peer_is_trusted());
    assert_eq!(seen.headers.len(), 1, "{:?}", seen.headers);
}

#[tokio::test]
async fn behind_trusted_proxies_the_client_is_the_nearest_address_that_is_not_one() {
    let headers = [("x-forwarded-for", "192.0.2.66, 203.0.113.9"), ("x-forwarded-for", "10.0.0.7")];
    let seen = see(&behind_load_balancers(), request_from("[::ffff:10.0.0.1]:80", &headers)).await;
    assert_eq!(seen.client(), "203.0.113.9");
    assert_eq!(seen.client.unwrap().peer(), address("10.0.0.1:80"));
    assert!(seen.client.unwrap().peer_is_trusted());
    assert_eq!(seen.header("x-forwarded-for"), ["203.0.113.9, 10.0.0.7"]);
}

#[tokio::test]
async fn only_the_configured_header_is_believed() {
    let headers = [
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", r#"for="[2001:db8::2]""#),
        ("cf-connecting-ip", "192.0.2.3"),
        ("x-forwarded-proto", "https"),
    ];
    let cloudflare = HeaderName::from_static("cf-connecting-ip");
    for (layer, client, kept) in [
        (behind_load_balancers(), "192.0.2.1", vec!["x-forwarded-for", "x-forwarded-proto"]),
        (behind_load_balancers().header(ForwardingHeader::Forwarded), "2001:db8::2", vec!["forwarded"]),
        (behind_load_balancers().header(cloudflare), "192.0.2.3", vec!["cf-connecting-ip"]),
    ] {
        let seen = see(&layer, request_from("10.0.0.1:80", &headers)).await;
        assert_eq!(seen.client(), client);
        for (name, _) in headers {
            assert_eq!(seen.headers.contains_key(name), kept.contains(&name), "{name} beside {kept:?}");
        }
    }
}

#[tokio::test]
async fn an_ipv6_client_is_counted_by_the_configured_prefix() {
    let request = || request_from("[2001:db8:1:2:3::4]:80", &[]);
    let network = |seen: Seen| seen.client.unwrap().network().to_string();
    assert_eq!(network(see(&ClientIpLayer::new(), request()).await), "2001:db8:1:2::");
    assert_eq!(network(see(&ClientIpLayer::new().ipv6_prefix(48), request()).await), "2001:db8:1::");
    assert_eq!(network(see(&ClientIpLayer::new().ipv6_prefix(255), request()).await), "2001:db8:1:2:3::4");
}

#[tokio::test]
async fn the_peer_is_looked_for_where_it_is_surest() {
    #[derive(Clone)]
    struct Accepted(SocketAddr);
    let own = ClientIpLayer::new().peer_from(|extensions| Some(extensions.get::<Accepted>()?.0));

    let mut request = Request::new(());
    request.extensions_mut().insert(address("192.0.2.4:80"));
    assert_eq!(see(&own, request.clone()).await.client(), "192.0.2.4");

    request.extensions_mut().insert(ConnectInfo(address("192.0.2.3:80")));
    assert_eq!(see(&own, request.clone()).await.client(), "192.0.2.3");

    let (context, peer) = (RequestContext::new(), address("192.0.2.2:80"));
    context.set_connection(Connection::plain(peer, address("127.0.0.1:8080")));
    request.extensions_mut().insert(context.fork());
    assert_eq!(see(&own, request.clone()).await.client(), "192.0.2.2");

    request.extensions_mut().insert(context.fork());
    request.extensions_mut().insert(Accepted(address("192.0.2.1:80")));
    assert_eq!(see(&own, request).await.client(), "192.0.2.1");
}

#[tokio::test]
async fn without_a_peer_nobody_is_the_client_and_nothing_is_believed() {
    let everybody = ClientIpLayer::new().trusted_proxies(CidrSet::parse(["0.0.0.0/0", "::/0"]).unwrap());
    let mut request = Request::new(());
    request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("192.0.2.66"));
    let seen = see(&everybody, request).await;
    assert!(seen.client.is_none());
    assert!(seen.header("x-forwarded-for").is_empty());
}

#[tokio::test]
async fn a_layer_that_is_off_or_skips_leaves_the_request_as_it_came() {
    for layer in [ClientIpLayer::new().enabled(false), ClientIpLayer::new().skip(|head| head.uri().path() == "/")] {
        let seen = see(&layer, request_from("203.0.113.9:80", &[("x-forwarded-for", "192.0.2.66")])).await;
        assert!(seen.client.is_none());
        assert_eq!(seen.header("x-forwarded-for"), ["192.0.2.66"]);
    }
}

#[tokio::test]
async fn changing_a_layer_does_not_change_the_one_it_was_cloned_from() {
    let strict = ClientIpLayer::new();
    let trusting = strict.clone().trusted_proxies(CidrSet::parse(["10.0.0.1"]).unwrap());
    let request = || request_from("10.0.0.1:80", &[("x-forwarded-for", "203.0.113.9")]);
    assert_eq!(see(&strict, request()).await.client(), "10.0.0.1");
    assert_eq!(see(&trusting, request()).await.client(), "203.0.113.9");
}

#[tokio::test]
async fn the_inner_error_passes_through() {
    let inner = service_fn(|_: Request<()>| async { Err::<Response<()>, _>("inner") });
    let error = ClientIpLayer::new().layer(inner).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error, "inner");
}

#[tokio::test]
async fn it_is_ready_exactly_when_the_inner_service_is() {
    let inner = service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, Infallible>>());
    let mut service = ClientIpLayer::new().layer(tower::limit::ConcurrencyLimit::new(inner, 1));
    let in_flight = service.ready().await.unwrap().call(Request::new(()));
    assert!(tokio_test::task::spawn(service.ready()).poll().is_pending());
    drop(in_flight);
    service.ready().await.unwrap();
}

#[tokio::test]
async fn an_axum_app_learns_the_client_from_its_own_server() {
    let who = get(async |Extension(context): Extension<RequestContext>| context.client_ip().unwrap().to_string());
    let app = Router::new().route("/", who);
    let loopback = CidrSet::parse(["127.0.0.0/8"]).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = app.layer(ClientIpLayer::new().trusted_proxies(loopback));
    tokio::spawn(async { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await });

    let ask =
        |forwarded_for: &'static str| reqwest::Client::new().get(&url).header("x-forwarded-for", forwarded_for).send();
    assert_eq!(ask("192.0.2.66, 203.0.113.9").await.unwrap().text().await.unwrap(), "203.0.113.9");
    assert_eq!(ask("garbage").await.unwrap().text().await.unwrap(), "127.0.0.1");
}

fn any_forwarding_field() -> impl Strategy<Value = (&'static str, String)> {
    let names =
        ["x-forwarded-for", "x_forwarded_for", "forwarded", "x-real-ip", "cf-connecting-ip", "x-forwarded-host"];
    let value = prop_oneof![
        any::<std::net::IpAddr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|v6| format!(r#"for="[{v6}]:80""#)),
        Just("10.0.0.1".to_owned()),
        "[ -~]{0,30}",
    ];
    (proptest::sample::select(names.to_vec()), proptest::collection::vec(value, 1..4).prop_map(|list| list.join(", ")))
}

fn any_header() -> impl Strategy<Value = ForwardingHeader> {
    proptest::sample::select(vec!["x-forwarded-for", "forwarded", "x-real-ip"])
        .prop_map(|name| HeaderName::from_static(name).into())
}

proptest! {
    #[test]
    fn a_peer_that_is_not_trusted_is_always_the_client(
        fields in proptest::collection::vec(any_forwarding_field(), 0..8),
        header in any_header(),
        last in any::<u8>(),
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = request_from(&format!("203.0.113.{last}:80"), &fields);
        let seen = futures_util::FutureExt::now_or_never(see(&behind_load_balancers().header(header), request)).unwrap();
        prop_assert_eq!(seen.client(), format!("203.0.113.{last}"));
        prop_assert_eq!(seen.headers.len(), 1, "{:?}", seen.headers);
    }

    #[test]
    fn what_is_left_says_the_same_when_it_is_read_again(
        fields in proptest::collection::vec(any_forwarding_field(), 0..8),
        header in any_header(),
    ) {
        let layer = behind_load_balancers().header(header);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let see_now = |request| futures_util::FutureExt::now_or_never(see(&layer, request)).unwrap();
        let first = see_now(request_from("10.0.0.1:80", &fields));
        let mut again = request_from("10.0.0.1:80", &[]);
        again.headers_mut().clone_from(&first.headers);
        let second = see_now(again);
        prop_assert_eq!(first.client, second.client);
        prop_assert_eq!(first.headers, second.headers);
    }
}
