//! What stands before a request: the PROXY protocol, and redirects to HTTPS.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_gateway::client_ip::IpNet;
use tower_gateway::serve::{Listener, ProxyProtocol, ServeError, Server};

use crate::server::{Running, any_port, body, get, read_answer, read_to_end, tls};
use crate::support::certificates::Authority;

fn proxies(network: &str) -> ProxyProtocol {
    ProxyProtocol::from_trusted([network.parse::<IpNet>().unwrap()])
}

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

fn binary_header(version_and_command: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version_and_command, 0x11][..], &length, addresses].concat()
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_connection_it_is() {
    let server = Running::start([Listener::new(any_port()).proxy_protocol(proxies("127.0.0.0/8"))]);
    let binary = binary_header(0x21, &[192, 0, 2, 8, 1, 1, 1, 1, 0x12, 0x68, 0, 80]);
    for (header, peer) in [(HEADER, Some("192.0.2.7:4711")), (&binary, Some("192.0.2.8:4712"))] {
        let mut stream = server.connect(0).await;
        stream.write_all(header).await.unwrap();
        assert_eq!(body(&get(&mut stream, "/connection").await), format!("{} false nobody", peer.unwrap()));
        // It is the connection's, not the request's.
        assert_eq!(body(&get(&mut stream, "/connection").await), format!("{} false nobody", peer.unwrap()));
    }
    for header in [&b"PROXY UNKNOWN\r\n"[..], &binary_header(0x20, &[0; 12])] {
        let mut stream = server.connect(0).await;
        let own = stream.local_addr().unwrap();
        stream.write_all(header).await.unwrap();
        assert_eq!(body(&get(&mut stream, "/connection").await), format!("{own} false nobody"));
    }
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_or_says_nothing_is_not_served() {
    let trusted = proxies("192.0.2.0/24");
    let server = Running::start([Listener::new(any_port()).proxy_protocol(trusted.clone())]);
    let mut stranger = server.connect(0).await;
    let _ = stranger.write_all(&[HEADER, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
    assert!(read_to_end(&mut stranger).await.0.is_empty());
    server.until(|stats| stats.refused == 1 && stats.open == 0).await;

    trusted.set_trusted(["127.0.0.1/32".parse::<IpNet>().unwrap()]);
    let mut proxy = server.connect(0).await;
    proxy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut proxy).await.0.is_empty());
    server.until(|stats| stats.unopened == 1 && stats.open == 0).await;
}

#[tokio::test]
async fn a_header_comes_in_the_time_for_a_head() {
    let listener = Listener::new(any_port()).proxy_protocol(proxies("127.0.0.1/32"));
    let server = Running::start_with([listener], |server| server.header_read_timeout(Duration::from_millis(200)));
    let mut stream = server.connect(0).await;
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51").await.unwrap();
    assert!(read_to_end(&mut stream).await.0.is_empty());
    server.until(|stats| stats.timed_out == 1 && stats.open == 0).await;
}

#[tokio::test]
async fn connections_behind_a_proxy_are_counted_by_their_clients() {
    let listener = Listener::new(any_port()).proxy_protocol(proxies("127.0.0.1/32"));
    let server = Running::start_with([listener], |server| server.max_connections_per_ip(1));
    let mut first = server.connect(0).await;
    first.write_all(HEADER).await.unwrap();
    get(&mut first, "/").await;
    let mut again = server.connect(0).await;
    let _ = again.write_all(HEADER).await;
    assert!(read_to_end(&mut again).await.0.is_empty());
    let mut other = server.connect(0).await;
    other.write_all(b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 443\r\n").await.unwrap();
    get(&mut other, "/").await;
    drop(first);
    server.until(|stats| stats.open == 1 && stats.refused == 1).await;
    let mut later = server.connect(0).await;
    later.write_all(HEADER).await.unwrap();
    get(&mut later, "/").await;
}

#[tokio::test]
async fn a_header_stands_before_tls() {
    let authority = Authority::new("ca");
    let tls = tls([&authority.server(&["a.example"])]);
    let server = Running::start([Listener::new(any_port()).tls(tls).proxy_protocol(proxies("127.0.0.1/32"))]);
    let mut stream = server.connect(0).await;
    stream.write_all(HEADER).await.unwrap();
    let name = ServerName::try_from("a.example").unwrap();
    let mut stream = authority.connector().connect(name, stream).await.unwrap();
    assert_eq!(body(&get(&mut stream, "/connection").await), "192.0.2.7:4711 true nobody");
}

#[tokio::test]
async fn a_listener_that_redirects_serves_nothing_else() {
    let authority = Authority::new("ca");
    let https = Listener::new(any_port()).name("https").tls(tls([&authority.server(&["a.example"])]));
    let server = Running::start([Listener::new(any_port()).redirect_to("https"), https]);
    let port = server.address(1).port();
    let mut stream = server.connect(0).await;
    for (target, host, location) in [
        ("/a/b?c=d", "a.example", Some("https://a.example:PORT/a/b?c=d")),
        ("/", "A.example:8080", Some("https://A.example:PORT/")),
        ("http://b.example/x", "a.example", Some("https://b.example:PORT/x")),
        ("/x", "evil@a.example", None),
    ] {
        let request = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        let line =
            location.map(|location| format!("\r\nlocation: {}\r\n", location.replace("PORT", &port.to_string())));
        match line {
            Some(line) => assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains(&line), "{answer}"),
            None => assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("location"), "{answer}"),
        }
    }
}

#[test]
fn a_redirect_leads_to_a_listener_with_tls() {
    let refused = |listeners: Vec<Listener>| Server::listen(listeners).unwrap_err();
    let redirecting = || Listener::new(any_port()).redirect_to("https");
    let alone = refused(vec![redirecting()]);
    assert!(matches!(&alone, ServeError::Redirect { name } if name == "https"), "{alone}");
    let plain = refused(vec![redirecting(), Listener::new(any_port()).name("https")]);
    assert!(plain.to_string().contains("\"https\""), "{plain}");
}
