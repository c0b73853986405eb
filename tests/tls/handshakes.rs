//! Certificates, what is spoken, and how connections end.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tower_gateway::serve::Listener;
use tower_gateway::tls::{CertificateKey, ServerTls, TlsError};

use crate::server::{Running, any_port, body, certificate, get, read_answer, read_to_end, tls};
use crate::support::PATIENCE;
use crate::support::certificates::{Authority, Pair, provider};

fn https(tls: &ServerTls) -> Running {
    Running::start([Listener::new(any_port()).tls(tls.clone())])
}

/// Which certificate a client is shown that asks for `name`, and believes anything.
async fn shown(server: &Running, authority: &Authority, name: &str) -> CertificateDer<'static> {
    let stream = server.secure(&authority.connector(), name).await;
    // Of a certificate for another name rustls tells which it was by its error alone, so such are asked for by `shown_to_any`.
    stream.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn is(shown: &CertificateDer<'_>, pair: &Pair) -> bool {
    *shown == pair.chain()[0]
}

#[tokio::test]
async fn each_name_has_its_certificate_and_other_names_get_the_first() {
    let authority = Authority::new("ca");
    let first = authority.server(&["first.example", "127.0.0.1"]);
    let second = authority.server(&["second.example", "*.second.example"]);
    let exact = authority.server(&["own.second.example"]);
    let server = https(&tls([&first, &second, &exact]));
    for (name, pair) in [
        ("first.example", &first),
        ("second.example", &second),
        ("SECOND.example", &second),
        ("any.second.example", &second),
        ("own.second.example", &exact),
        // A client that connects to an address asks for no name.
        ("127.0.0.1", &first),
    ] {
        assert!(is(&shown(&server, &authority, name).await, pair), "{name}");
    }
    for name in ["a.b.second.example", "other.example", "example"] {
        let error = server.secure(&authority.connector(), name).await.unwrap_err();
        assert!(error.to_string().contains("first.example"), "{name}: {error}");
    }
}

#[tokio::test]
async fn of_two_kinds_of_key_for_one_name_the_client_gets_the_one_it_can_verify() {
    let authority = Authority::new("ca");
    let ecdsa = authority.server(&["a.example"]);
    let ed25519 = authority.issue_for(&rcgen::PKCS_ED25519, &["a.example"], |_| ());
    let server = https(&tls([&ed25519, &ecdsa]));
    assert!(is(&shown(&server, &authority, "a.example").await, &ed25519));

    let mut provider = (*provider()).clone();
    let ecdsa_alone = provider.signature_verification_algorithms.mapping;
    provider.signature_verification_algorithms.mapping = ecdsa_alone
        .iter()
        .position(|(scheme, _)| format!("{scheme:?}").contains("ECDSA_NISTP256"))
        .map(|at| &ecdsa_alone[at..=at])
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let stream = server.secure(&TlsConnector::from(Arc::new(config)), "a.example").await.unwrap();
    assert!(is(&stream.get_ref().1.peer_certificates().unwrap()[0], &ecdsa));
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_from_then_on_and_open_connections_go_on() {
    let authority = Authority::new("ca");
    let (old, new) = (authority.server(&["a.example"]), authority.server(&["a.example"]));
    let served = tls([&old]);
    let server = https(&served);
    let mut before = server.secure(&authority.connector(), "a.example").await.unwrap();
    assert_eq!(body(&get(&mut before, "/one").await), "/one");
    served.replace(&tls([&new]));
    assert!(is(&shown(&server, &authority, "a.example").await, &new));
    assert_eq!(body(&get(&mut before, "/two").await), "/two");
}

#[tokio::test]
async fn sessions_are_resumed_over_both_versions_also_after_a_replacement() {
    let authority = Authority::new("ca");
    let (old, new) = (authority.server(&["a.example"]), authority.server(&["a.example"]));
    for version in [&TLS13, &TLS12] {
        let served = tls([&old]);
        let server = https(&served);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        let connector = TlsConnector::from(Arc::new(config));
        let mut kinds = Vec::new();
        for round in 0..3 {
            let mut stream = server.secure(&connector, "a.example").await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            // The ticket comes behind the handshake.
            get(&mut stream, "/").await;
            stream.shutdown().await.unwrap();
            if round == 1 {
                served.replace(&tls([&new]));
            }
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed], "{version:?}");
    }
}

#[tokio::test]
async fn what_is_older_than_1_2_or_offers_no_protocol_that_is_spoken_is_refused_with_an_alert() {
    let authority = Authority::new("ca");
    let server = https(&tls([&authority.server(&["a.example"])]));
    let mut config = authority.client_config(None);
    config.alpn_protocols = vec![b"spdy/3".to_vec()];
    let error = server.secure(&TlsConnector::from(Arc::new(config)), "a.example").await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");

    // A ClientHello of TLS 1.1 with one of its suites.
    let mut stream = server.connect(0).await;
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
    stream.write_all(&hello).await.unwrap();
    let (answer, _) = read_to_end(&mut stream).await;
    // A fatal alert: protocol_version, or handshake_failure for the suite.
    assert!(matches!(answer[..], [0x15, 3, _, 0, 2, 2, 70 | 40]), "{answer:?}");
    server.until(|stats| stats.unopened == 2 && stats.open == 0).await;
}

#[tokio::test]
async fn both_versions_and_http_1_1_by_name_are_spoken() {
    let authority = Authority::new("ca");
    let server = https(&tls([&authority.server(&["a.example"])]));
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut stream = server.secure(&TlsConnector::from(Arc::new(config)), "a.example").await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(body(&get(&mut stream, "/connection").await).ends_with(" true nobody"));
        assert_eq!(body(&get(&mut stream, "/large").await).len(), 10 << 20);
    }
}

#[tokio::test]
async fn a_plain_request_is_told_that_the_port_is_for_https() {
    let authority = Authority::new("ca");
    let server = https(&tls([&authority.server(&["a.example"])]));
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "post"] {
        let mut stream = server.connect(0).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let (answer, end) = read_to_end(&mut stream).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"), "{answer}");
        let length: usize =
            answer.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
        assert_eq!(body(&answer).len(), length);
        assert!(body(&answer).contains("HTTPS port"), "{answer}");
        end.unwrap();
    }
}

#[tokio::test]
async fn silence_and_garbage_cost_no_more_than_the_time_for_a_head_and_a_place() {
    let authority = Authority::new("ca");
    let limit = Duration::from_secs(1);
    let tls = tls([&authority.server(&["a.example"])]);
    let listener = Listener::new(any_port()).tls(tls);
    let server = Running::start_with([listener], |server| server.header_read_timeout(limit).max_connections(2));

    let mut garbage = server.connect(0).await;
    garbage.write_all(b"\x16\x03\x01\xff\xff garbage that is no handshake of any kind").await.unwrap();
    let (answer, _) = read_to_end(&mut garbage).await;
    assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
    drop(garbage);

    let (mut silent, mut dripping) = (server.connect(0).await, server.connect(0).await);
    dripping.write_all(b"\x16\x03\x01").await.unwrap();
    server.until(|stats| stats.open == 2).await;
    // Both places are taken, so this one waits for them to be given up.
    let connector = authority.connector();
    let mut third = server.secure(&connector, "a.example").await.unwrap();
    for stream in [&mut silent, &mut dripping] {
        let _ = read_to_end(stream).await;
    }
    assert_eq!(body(&get(&mut third, "/").await), "/");
    server.until(|stats| stats.timed_out == 2 && stats.unopened == 1 && stats.open == 1).await;

    // A handshake that is done gives no new time for the head.
    let mut fourth = server.secure(&connector, "a.example").await.unwrap();
    fourth.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let (answer, end) = read_to_end(&mut fourth).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "));
    end.unwrap();
}

#[tokio::test]
async fn every_end_that_the_server_makes_is_announced() {
    let authority = Authority::new("ca");
    let tls = tls([&authority.server(&["a.example"])]);
    let listener = Listener::new(any_port()).tls(tls);
    let server = Running::start_with([listener], |server| server.keep_alive_timeout(Duration::from_millis(100)));
    let connector = authority.connector();

    let mut idle = server.secure(&connector, "a.example").await.unwrap();
    get(&mut idle, "/").await;
    read_to_end(&mut idle).await.1.expect("a close_notify when it has been idle for too long");

    let mut closing = server.secure(&connector, "a.example").await.unwrap();
    closing.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let (answer, end) = read_to_end(&mut closing).await;
    assert!(answer.ends_with(b"/"));
    end.expect("a close_notify behind the last answer");

    let mut fresh = server.secure(&connector, "a.example").await.unwrap();
    let mut answering = server.secure(&connector, "a.example").await.unwrap();
    answering.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answering.read_u8().await.unwrap();
    let drained = server.0.drain(PATIENCE);
    read_to_end(&mut fresh).await.1.expect("a close_notify when the server drains");
    let (answer, end) = read_to_end(&mut answering).await;
    assert!(answer.len() > 10 << 20);
    end.expect("a close_notify behind what was in flight");
    let drained = drained.await;
    assert_eq!((drained.finished, drained.aborted), (1, 0));
}

#[tokio::test]
async fn a_stream_that_is_cut_is_not_the_end_of_a_body() {
    let authority = Authority::new("ca");
    let server = https(&tls([&authority.server(&["a.example"])]));
    let connector = authority.connector();
    let mut stream = server.secure(&connector, "a.example").await.unwrap();
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await
        .unwrap();
    // The end of TCP without that of TLS.
    let (mut tcp, _) = stream.into_inner();
    tcp.shutdown().await.unwrap();
    server.until(|stats| stats.open == 0).await;
    let (answer, _) = read_to_end(&mut tcp).await;
    assert!(!String::from_utf8_lossy(&answer).contains("3 bytes"));

    // One that ends its side and says so is answered.
    let mut stream = server.secure(&connector, "a.example").await.unwrap();
    stream.write_all(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(body(&read_answer(&mut stream).await), "/half");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up_and_one_that_reads_slowly_is_not() {
    let authority = Authority::new("ca");
    let listener = Listener::new(any_port()).tls(tls([&authority.server(&["a.example"])]));
    let limit = Duration::from_secs(2);
    let server = Running::start_with([listener], |server| server.write_timeout(limit));
    let connector = authority.connector();
    let mut slow = server.secure(&connector, "a.example").await.unwrap();
    slow.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut silent = server.secure(&connector, "a.example").await.unwrap();
    silent.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut piece = vec![0; 1 << 20];
    let mut received = 0;
    while received < 10 << 20 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        received += slow.read(&mut piece).await.expect("it is read from all the time");
    }
    server.until(|stats| stats.timed_out == 1 && stats.open == 1).await;
}

#[test]
fn what_does_not_belong_together_is_named() {
    let authority = Authority::new("ca");
    let (one, other) = (authority.server(&["a.example"]), authority.server(&["b.example"]));
    let read = |cert: &str, key: &str| CertificateKey::from_pem(cert.as_bytes(), key.as_bytes());
    assert!(matches!(read(&one.cert, &other.key), Err(TlsError::Mismatch)));
    assert!(matches!(read(&one.key, &one.key), Err(TlsError::NoCertificate)));
    assert!(matches!(read(&one.cert, &one.cert), Err(TlsError::NoKey)));
    assert!(matches!(read("", ""), Err(TlsError::NoCertificate)));
    // The authority's certificate before the server's.
    let chain = format!("{}{}", authority.pem, one.cert);
    assert!(matches!(read(&chain, &one.key), Err(TlsError::Mismatch)));
    assert!(read(&format!("{}{}", one.cert, authority.pem), &one.key).is_ok());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(matches!(read(&one.cert, encrypted), Err(TlsError::EncryptedKey)));
    let broken = one.cert.replace("MII", "M*I");
    assert!(read(&broken, &one.key).is_err());
    assert!(matches!(ServerTls::builder([]).build(), Err(TlsError::NoCertificates)));
}

#[test]
fn a_certificate_is_good_in_its_time_and_for_its_names() {
    let authority = Authority::new("ca");
    let pair = authority.issue(&["a.example", "*.b.example", "127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let certificate = certificate(&pair);
    assert_eq!(certificate.names().collect::<Vec<_>>(), ["a.example", "*.b.example"]);
    let at = |year: u64| std::time::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600);
    assert!(matches!(certificate.check_time(at(2019)), Err(TlsError::NotYetValid(_))));
    assert!(certificate.check_time(certificate.not_after() - Duration::from_secs(1)).is_ok());
    let error = certificate.check_time(at(2022)).unwrap_err();
    assert_eq!(error.to_string(), "the certificate expired on 2021-01-01T00:00:00Z");
}
