//! Certificates of clients.

use std::sync::Arc;

use rcgen::{DnType, ExtendedKeyUsagePurpose, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};
use tower_gateway::ClientCertificate;
use tower_gateway::serve::Listener;
use tower_gateway::tls::{ClientAuth, Roots, ServerTls};

use crate::server::{Running, any_port, body, certificate, get, read_to_end};
use crate::support::certificates::{Authority, Pair, provider};

fn served(own: &Pair, client_auth: ClientAuth) -> ServerTls {
    ServerTls::builder([certificate(own)]).client_auth(client_auth).build().unwrap()
}

fn roots(authority: &Authority) -> Roots {
    Roots::from_pem(authority.pem.as_bytes()).unwrap()
}

fn start(tls: &ServerTls) -> Running {
    Running::start([Listener::new(any_port()).tls(tls.clone())])
}

/// What the server knows of a client that shows this certificate, or the alert that it answers with.
async fn known(server: &Running, authority: &Authority, own: Option<&Pair>) -> Result<String, String> {
    let connector = TlsConnector::from(Arc::new(authority.client_config(own)));
    let mut stream = server.secure(&connector, "a.example").await.map_err(|error| error.to_string())?;
    // With TLS 1.3 the client's certificate is judged when it takes the connection for open already.
    stream.write_all(b"GET /connection HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let (answer, end) = read_to_end(&mut stream).await;
    end.map_err(|error| error.to_string())?;
    let answer = String::from_utf8(answer).unwrap();
    Ok(body(&answer).rsplit(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_where_it_is_asked_for_one() {
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let own = authority.server(&["a.example"]);
    let alice = clients.client("alice");
    let asked = [
        (ClientAuth::None, Ok("nobody"), Ok("nobody")),
        (ClientAuth::Optional(roots(&clients)), Ok("nobody"), Ok("CN=alice")),
        (ClientAuth::Required(roots(&clients)), Err("CertificateRequired"), Ok("CN=alice")),
    ];
    for (client_auth, without, with) in asked {
        let server = start(&served(&own, client_auth.clone()));
        for (own, expected) in [(None, without), (Some(&alice), with)] {
            let known = known(&server, &authority, own).await;
            match expected {
                Ok(expected) => assert_eq!(known.as_deref(), Ok(expected), "{client_auth:?}"),
                Err(alert) => assert!(known.as_ref().is_err_and(|error| error.contains(alert)), "{known:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_no_good_is_refused_also_where_none_is_needed() {
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let own = authority.server(&["a.example"]);
    let server = start(&served(&own, ClientAuth::Optional(roots(&clients))));
    let expired = clients.issue(&[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, "late");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let of_a_server = clients.server(&["client.example"]);
    let of_another = Authority::new("clients").client("alice");
    for (pair, alert) in [(expired, "Expired"), (of_a_server, "alert"), (of_another, "alert")] {
        let error = known(&server, &authority, Some(&pair)).await.unwrap_err();
        assert!(error.contains(alert), "{error}");
    }
    server.until(|stats| stats.unopened == 3 && stats.open == 0).await;
}

#[tokio::test]
async fn a_session_is_resumed_with_its_certificate_and_not_where_other_authorities_are_trusted() {
    let (authority, clients, others) = (Authority::new("ca"), Authority::new("clients"), Authority::new("others"));
    let own = authority.server(&["a.example"]);
    let tls = served(&own, ClientAuth::Required(roots(&clients)));
    let server = start(&tls);
    for version in [&tokio_rustls::rustls::version::TLS13, &tokio_rustls::rustls::version::TLS12] {
        tls.replace(&served(&own, ClientAuth::Required(roots(&clients))));
        let alice = clients.client("alice");
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_client_auth_cert(alice.chain(), alice.private_key())
            .unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = server.secure(&connector, "a.example").await.unwrap();
            assert!(body(&get(&mut stream, "/connection").await).ends_with(" CN=alice"));
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
            stream.shutdown().await.unwrap();
        }
        tls.replace(&served(&own, ClientAuth::Required(roots(&others))));
        let refused = match server.secure(&connector, "a.example").await {
            Err(error) => error,
            Ok(mut stream) => stream.read_u8().await.unwrap_err(),
        };
        assert!(refused.to_string().contains("alert"), "{refused}");
    }
}

#[test]
fn a_certificate_says_who_its_client_is() {
    let pair = Authority::new("clients").issue(&["a.example", "b.example", "192.0.2.1"], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "orders");
        let more = [
            SanType::URI("spiffe://example/orders".try_into().unwrap()),
            SanType::Rfc822Name("orders@example.com".try_into().unwrap()),
        ];
        params.subject_alt_names.extend(more);
    });
    let der = pair.chain()[0].clone();
    let certificate = ClientCertificate::of_verified(&der).unwrap();
    assert_eq!(certificate.subject(), "CN=orders,O=Example\\, Inc.");
    assert_eq!(certificate.common_name(), Some("orders"));
    assert_eq!(certificate.dns_names().collect::<Vec<_>>(), ["a.example", "b.example"]);
    assert_eq!(certificate.uris().collect::<Vec<_>>(), ["spiffe://example/orders"]);
    assert_eq!(certificate.emails().collect::<Vec<_>>(), ["orders@example.com"]);
    assert_eq!(certificate.addresses(), ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    assert_eq!(certificate.fingerprint()[..], *digest.as_ref());
    assert_eq!(certificate.der()[..], *der);
    assert!(ClientCertificate::of_verified(b"no certificate").is_err());
}
