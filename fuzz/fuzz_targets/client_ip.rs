//! Whatever a client writes into forwarding headers: an untrusted peer is itself the client, and nothing it wrote is left;
//! behind a trusted peer the walk ends at an address, and what is left is read the same again.
#![no_main]

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use tower::{Layer, Service, service_fn};
use tower_gateway::client_ip::{CidrSet, ClientIpLayer, ForwardingHeader};
use tower_gateway::{ClientIp, RequestContext};

const PEER: ([u8; 4], u16) = ([10, 0, 0, 1], 4711);

/// What the layer makes of these headers.
fn resolve(layer: &ClientIpLayer, headers: HeaderMap) -> (ClientIp, HeaderMap) {
    let mut found = None;
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        let client = *request.extensions().get::<RequestContext>().unwrap().client_ip().unwrap();
        found = Some((client, request.into_parts().0.headers));
        ready(Ok::<_, Infallible>(Response::new(())))
    }));
    let mut request = Request::new(());
    request.extensions_mut().insert(SocketAddr::from(PEER));
    *request.headers_mut() = headers;
    let mut answer = pin!(service.call(request));
    assert!(matches!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
    drop(service);
    found.unwrap()
}

fuzz_target!(|lines: Vec<(u8, Vec<u8>)>| {
    const NAMES: [&str; 6] = ["x-forwarded-for", "forwarded", "x-real-ip", "x_forwarded_for", "x-forwarded-proto", "x-forwarded-host"];
    let mut headers = HeaderMap::new();
    for (name, value) in &lines {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(NAMES[usize::from(*name) % NAMES.len()], value);
        }
    }
    let (client, left) = resolve(&ClientIpLayer::new(), headers.clone());
    assert!(client.address() == SocketAddr::from(PEER).ip() && !client.peer_is_trusted() && left.is_empty());

    let trusted = CidrSet::parse(["10.0.0.0/8"]).unwrap();
    for header in [
        ForwardingHeader::XForwardedFor,
        ForwardingHeader::Forwarded,
        ForwardingHeader::Single("x-real-ip".parse().unwrap()),
    ] {
        let layer = ClientIpLayer::new().trusted_proxies(trusted.clone()).header(header);
        let (client, left) = resolve(&layer, headers.clone());
        assert!(client.peer_is_trusted());
        let (again, same) = resolve(&layer, left.clone());
        assert_eq!((again.address(), &same), (client.address(), &left));
    }
});
