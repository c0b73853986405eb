//! TLS and the PROXY protocol in the example gateway: its file, its binary, sockets.
#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use support::certificates::{Authority, Pair, provider};
use support::gateway::{Gateway, binary, status};
use support::{PATIENCE, RawOrigin, field};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway over a folder of its own, which is told what its listeners' addresses are.
struct Served {
    gateway: Gateway,
    /// Of every listener, in the order of the file: those of `[server]`, then the others by name.
    addresses: Vec<SocketAddr>,
    says: mpsc::Receiver<String>,
    folder: tempfile::TempDir,
}

impl Served {
    /// `config` is written into the folder that `prepare` has put the other files into.
    fn start(listeners: usize, config: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, config).unwrap();
        let mut gateway = Gateway::start_telling(Command::new(binary()).arg("--config").arg(&file));
        let mut addresses = vec![gateway.address];
        while addresses.len() < listeners {
            let line = gateway.next_line();
            addresses.push(line.rsplit("://").next().unwrap().parse().unwrap());
        }
        let stderr = BufReader::new(gateway.process.stderr.take().unwrap());
        let (sender, says) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { gateway, addresses, says, folder }
    }

    async fn secure(&self, listener: usize, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.addresses[listener]).await.unwrap();
        let name = ServerName::try_from("gw.example").unwrap();
        tokio::time::timeout(PATIENCE, connector.connect(name, stream)).await.expect("no end of the handshake")
    }

    /// What it says, up to the line that ends a reload.
    fn hears(&self) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains("reloaded")) {
            lines.push(self.says.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no word of a reload: {lines:#?}")));
        }
        lines
    }
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("no end").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n")).await
}

fn config(origin: &RawOrigin, server: &str, listeners: &str, route: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n{server}\n{listeners}\n\
         [upstreams.o]\nservers = [\"{}\"]\n[routes.api]\npath = \"/\"\nupstream = \"o\"\n{route}\n",
        origin.url()
    )
}

const HTTPS: &str = "[listeners.https]\naddress = \"127.0.0.1:0\"\n\
    tls = { certificates = [{ cert = \"gw.pem\", key = \"gw.key\" }] }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_tls_serves_the_same_routes_and_the_origin_learns_of_it() {
    let mut origin = RawOrigin::answering(OK).await;
    let authority = Authority::new("ca");
    let hsts = "[routes.api.response]\nset_headers = { strict-transport-security = \"max-age=31536000\" }";
    let served = Served::start(2, &config(&origin, "", HTTPS, hsts), |folder| {
        authority.server(&["gw.example"]).write(folder, "gw");
    });
    let mut stream = served.secure(1, &authority.connector()).await.unwrap();
    let answer = get(&mut stream, "/x").await;
    assert_eq!(status(&answer), "200");
    assert_eq!(field(&answer, "strict-transport-security"), Some("max-age=31536000"));
    let head = origin.received().await;
    assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));

    assert_eq!(status(&served.gateway.get("/x")), "200");
    assert_eq!(field(&origin.received().await, "x-forwarded-proto"), Some("http"));

    let mut plain = TcpStream::connect(served.addresses[1]).await.unwrap();
    let answer = get(&mut plain, "/x").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("HTTPS port"), "{answer}");
    assert!(origin.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_exchanged_is_served_and_a_bad_one_is_not() {
    let origin = RawOrigin::answering(OK).await;
    let authority = Authority::new("ca");
    let served = Served::start(2, &config(&origin, "", HTTPS, ""), |folder| {
        authority.server(&["gw.example"]).write(folder, "gw");
    });
    let shown = async || {
        let stream = served.secure(1, &authority.connector()).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut open = served.secure(1, &authority.connector()).await.unwrap();
    let first = shown().await;
    let renewed = authority.server(&["gw.example"]);
    renewed.write(served.folder.path(), "gw");
    assert!(served.hears().last().unwrap().ends_with("gateway.toml: reloaded"));
    assert_eq!(shown().await, renewed.chain()[0]);
    assert_ne!(shown().await, first);
    assert_eq!(status(&get(&mut open, "/").await), "200");

    // A key that belongs to another certificate.
    std::fs::write(served.folder.path().join("gw.key"), authority.server(&["gw.example"]).key).unwrap();
    let lines = served.hears();
    assert!(lines.last().unwrap().ends_with("not reloaded, the configuration before it stays"), "{lines:#?}");
    assert!(lines[0].contains("the key is not that of the first certificate"), "{lines:#?}");
    assert_eq!(shown().await, renewed.chain()[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_to_the_same_url_over_https() {
    let origin = RawOrigin::answering(OK).await;
    let authority = Authority::new("ca");
    let listeners = format!("[listeners.a]\naddress = \"127.0.0.1:0\"\nredirect_to = \"https\"\n{HTTPS}");
    let served = Served::start(3, &config(&origin, "", &listeners, ""), |folder| {
        authority.server(&["gw.example"]).write(folder, "gw");
    });
    let answer = get(&mut TcpStream::connect(served.addresses[1]).await.unwrap(), "/a%20b?c=d").await;
    assert_eq!(status(&answer), "308");
    let port = served.addresses[2].port();
    assert_eq!(field(&answer, "location"), Some(format!("https://gw.example:{port}/a%20b?c=d").as_str()));
    let mut stream = served.secure(2, &authority.connector()).await.unwrap();
    assert_eq!(status(&get(&mut stream, "/a%20b?c=d").await), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_redirects_says_before_that_what_every_public_one_says() {
    let origin = RawOrigin::answering(OK).await;
    let authority = Authority::new("ca");
    let listeners = format!("[listeners.a]\naddress = \"127.0.0.1:0\"\nredirect_to = \"https\"\n{HTTPS}");
    let config = |header: &str| {
        config(&origin, "", &listeners, &format!("[request_id]\nheader = \"{header}\"\n[health]\npath = \"/up\"\n"))
    };
    let served = Served::start(3, &config("x-one"), |folder| {
        authority.server(&["gw.example"]).write(folder, "gw");
    });
    let ask = async |path| get(&mut TcpStream::connect(served.addresses[1]).await.unwrap(), path).await;
    let health = ask("/up").await;
    assert!(status(&health) == "200" && health.ends_with("{\"status\":\"ok\"}"), "{health}");
    for (path, expected) in [("/up/not", "308"), ("/a%2Fb", "308"), ("/../b", "400")] {
        let answer = ask(path).await;
        assert_eq!(status(&answer), expected);
        assert!(field(&answer, "x-one").is_some(), "{answer}");
    }
    std::fs::write(served.folder.path().join("gateway.toml"), config("x-two")).unwrap();
    served.gateway.signal("HUP");
    let lines = served.hears();
    assert!(lines.last().unwrap().ends_with("reloaded"), "{lines:#?}");
    assert!(field(&ask("/a").await, "x-two").is_some());
    served.gateway.signal("TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_whose_connection_it_is_and_others_are_not_listened_to() {
    let mut origin = RawOrigin::answering(OK).await;
    let listeners = "[listeners.proxied]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n";
    let trusting = "trusted_proxies = [\"127.0.0.1/32\"]";
    let served = Served::start(2, &config(&origin, trusting, listeners, ""), |_| ());
    let mut stream = TcpStream::connect(served.addresses[1]).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n").await.unwrap();
    // What a client behind the proxy says of itself is the client's word, not the proxy's.
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(&mut stream, request).await), "200");
    assert_eq!(field(&origin.received().await, "x-forwarded-for"), Some("192.0.2.7"));

    // From now on nobody is trusted.
    let nobody = config(&origin, "", listeners, "");
    std::fs::write(served.folder.path().join("gateway.toml"), nobody).unwrap();
    assert!(served.hears().last().unwrap().ends_with("gateway.toml: reloaded"));
    let mut stream = TcpStream::connect(served.addresses[1]).await.unwrap();
    let _ = stream.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() && origin.is_untouched());
}

// === --check ===

/// What `--check` says of this configuration, with these files beside it.
fn check(config: &str, files: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).unwrap();
    let Output { status, stderr, .. } =
        Command::new(binary()).arg("--config").arg(&file).arg("--check").output().unwrap();
    (status.success(), String::from_utf8(stderr).unwrap())
}

/// One listener with these keys, which begin in line 3.
fn with_listener(keys: &str) -> String {
    format!(
        "[listeners.https]\naddress = \"127.0.0.1:8443\"\n{keys}\n[routes.r]\npath = \"/\"\nrespond = {{ status = 204 }}\n"
    )
}

fn refused(config: &str, files: &[(&str, &str)], words: &str) {
    let (accepted, said) = check(config, files);
    assert!(!accepted && said.contains(words), "{words}\n{said}");
}

#[test]
fn certificates_and_keys_are_looked_at_before_anything_is_served() {
    let authority = Authority::new("ca");
    let Pair { cert, key } = authority.server(&["gw.example"]);
    let tls = with_listener("tls = { certificates = [{ cert = \"gw.pem\", key = \"gw.key\" }] }");
    let with = |cert: &str, key: &str, words: &str| refused(&tls, &[("gw.pem", cert), ("gw.key", key)], words);
    let (accepted, said) = check(&tls, &[("gw.pem", &cert), ("gw.key", &key)]);
    assert!(accepted, "{said}");

    refused(
        &tls,
        &[("gw.key", &key)],
        "toml:3:34: listeners.https.tls.certificates[0].cert: the file \"gw.pem\" cannot be read",
    );
    refused(&tls, &[("gw.pem", &cert)], "listeners.https.tls.certificates[0].key: the file \"gw.key\" cannot be read");
    with(
        &cert,
        &authority.server(&["gw.example"]).key,
        ".certificates[0].key: the key is not that of the first certificate",
    );
    with(&key, &key, ".cert: there is no certificate in it");
    with(&cert, &cert, ".key: there is no private key in it");
    let dated = |from: i32, to: i32| {
        authority.issue(&["gw.example"], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        })
    };
    let (over, early) = (dated(2020, 2021), dated(2090, 2091));
    with(&over.cert, &over.key, ".cert: the certificate expired on 2021-01-01T00:00:00Z");
    with(&early.cert, &early.key, ".cert: the certificate is not valid before 2090-01-01T00:00:00Z");

    let asking = |more: &str| {
        with_listener(&format!("tls = {{ certificates = [{{ cert = \"gw.pem\", key = \"gw.key\" }}], {more} }}"))
    };
    let pair = [("gw.pem", &*cert), ("gw.key", &*key), ("ca.pem", &authority.pem), ("bad.pem", "nothing")];
    refused(&asking("client_auth = \"required\""), &pair, "\"client_ca\" is missing in [listeners.https.tls]");
    refused(
        &asking("client_auth = \"optional\", client_ca = \"bad.pem\""),
        &pair,
        "client_ca: there is no certificate in it",
    );
    refused(&asking("client_auth = \"maybe\""), &pair, "\"maybe\" is not \"none\", \"optional\" or \"required\"");
    let (accepted, said) = check(&asking("client_auth = \"none\", client_ca = \"ca.pem\""), &pair);
    assert!(accepted && said.contains("asks no client for a certificate"), "{said}");
    assert!(check(&asking("client_auth = \"required\", client_ca = \"ca.pem\""), &pair).0);
}

#[test]
fn listeners_that_cannot_be_are_refused() {
    let authority = Authority::new("ca");
    let Pair { cert, key } = authority.server(&["gw.example"]);
    let pair = [("gw.pem", &*cert), ("gw.key", &*key)];
    let tls = "tls = { certificates = [{ cert = \"gw.pem\", key = \"gw.key\" }] }";
    refused(&with_listener("redirect_to = \"http\""), &[], "no listener is named \"http\"");
    refused(&with_listener("redirect_to = \"https\""), &[], "[listeners.https] has no tls; name a listener that has");
    refused(&with_listener(&format!("{tls}\nredirect_to = \"https\"")), &pair, "has tls and redirects");
    refused(
        &with_listener("[listeners.other]\naddress = \"127.0.0.1:8443\""),
        &[],
        "127.0.0.1:8443 is taken by listeners.https.address",
    );
    refused(&with_listener("[listeners.other]\naddress = \"0.0.0.0:8443\""), &[], "taken by listeners.https.address");
    refused(&with_listener("[server]\nlisten = [\"127.0.0.1:8443\"]"), &[], "taken by server.listen");
    refused(&with_listener("tls = { certificates = [] }"), &[], "the list is empty");
    refused("[listeners.a]\n[server]\nlisten = []\n", &[], "\"address\" is missing in [listeners.a]");
    let (accepted, said) = check(&with_listener("proxy_protocol = true"), &[]);
    assert!(accepted && said.contains("serves nobody"), "{said}");
    // Without a plain one.
    let (accepted, said) = check(&with_listener(&format!("{tls}\n[server]\nlisten = []")), &pair);
    assert!(accepted, "{said}");
}

// === Upstreams ===

/// An origin with TLS that says what it was asked; with the other's certificates if they are given.
async fn secure_origin(own: &Pair, clients: Option<&Authority>) -> (SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    let config = match clients {
        None => own.server_config(),
        Some(clients) => {
            let roots = std::sync::Arc::new(clients.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap();
            ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_client_cert_verifier(verifier)
                .with_single_cert(own.chain(), own.private_key())
                .unwrap()
        }
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let asked_for = stream.get_ref().1.server_name().unwrap_or("nobody").to_owned();
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let head = String::from_utf8(std::mem::take(&mut head)).unwrap();
                        sender.send(format!("{asked_for} {head}")).await.unwrap();
                        stream.write_all(OK.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    (address, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_tls_is_spoken_to_as_its_table_says() {
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let own = authority.server(&["users.internal"]);
    let (address, mut received) = secure_origin(&own, Some(&clients)).await;
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\
         [upstreams.good]\nservers = [\"https://{address}/base\"]\n\
         tls = {{ ca = \"ca.pem\", cert = \"me.pem\", key = \"me.key\", server_name = \"users.internal\" }}\n\
         [upstreams.unknown]\nservers = [\"https://{address}\"]\ntls = {{ server_name = \"users.internal\" }}\n\
         [upstreams.misnamed]\nservers = [\"https://{address}\"]\ntls = {{ ca = \"ca.pem\" }}\n\
         [upstreams.nobody]\nservers = [\"https://{address}\"]\n\
         tls = {{ ca = \"ca.pem\", server_name = \"users.internal\" }}\n\
         [routes.good]\npath = \"/good\"\nupstream = \"good\"\n\
         [routes.unknown]\npath = \"/unknown\"\nupstream = \"unknown\"\n\
         [routes.misnamed]\npath = \"/misnamed\"\nupstream = \"misnamed\"\n\
         [routes.nobody]\npath = \"/nobody\"\nupstream = \"nobody\"\n"
    );
    let served = Served::start(1, &config, |folder| {
        std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
        clients.client("gateway").write(folder, "me");
    });
    let answer = served.gateway.get("/good?x");
    assert_eq!(status(&answer), "200", "{answer}");
    let head = received.recv().await.unwrap();
    assert!(head.starts_with("users.internal GET /base/good?x HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "host"), Some(address.to_string().as_str()));
    for path in ["/unknown", "/misnamed", "/nobody"] {
        let answer = served.gateway.get(path);
        assert_eq!(status(&answer), "502", "{path} {answer}");
        assert!(answer.contains("\"error\":\"upstream_connect_failed\""), "{answer}");
        assert!(!answer.contains("certificate"), "nothing about our inside: {answer}");
    }
    assert!(received.try_recv().is_err());
}

#[test]
fn what_an_upstream_is_spoken_to_with_is_looked_at_before_anything_is_served() {
    let authority = Authority::new("ca");
    let Pair { cert, key } = authority.client("gateway");
    let files = [("me.pem", &*cert), ("me.key", &*key), ("ca.pem", &authority.pem), ("bad.pem", "nothing")];
    let with = |url: &str, tls: &str| {
        format!("[upstreams.u]\nservers = [\"{url}\"]\n{tls}\n[routes.r]\npath = \"/\"\nupstream = \"u\"\n")
    };
    let (accepted, said) = check(
        &with("https://users.internal", "tls = { ca = \"ca.pem\", cert = \"me.pem\", key = \"me.key\" }"),
        &files,
    );
    assert!(accepted, "{said}");
    for (tls, words) in [
        ("tls = { ca = \"no.pem\" }", "toml:3:14: upstreams.u.tls.ca: the file \"no.pem\" cannot be read"),
        ("tls = { ca = \"bad.pem\" }", "upstreams.u.tls.ca: there is no certificate in it"),
        ("tls = { cert = \"me.pem\" }", "\"key\" is missing in [upstreams.u.tls]"),
        ("tls = { key = \"me.key\" }", "\"cert\" is missing in [upstreams.u.tls]"),
        ("tls = { cert = \"ca.pem\", key = \"me.key\" }", "the key is not that of the first certificate"),
        ("tls = { server_name = \"a b\" }", "is not a host name such as"),
    ] {
        refused(&with("https://users.internal", tls), &files, words);
    }
    refused(&with("http://users.internal", "tls = { ca = \"ca.pem\" }"), &files, "no server with https://");
    refused(&with("https://users-.internal-", ""), &files, "names a host that no certificate can be for");
}

// === Certificates of clients ===

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_let_in_by_its_certificate_and_the_origin_is_told_who_it_is() {
    let mut origin = RawOrigin::answering(OK).await;
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let listeners = "[listeners.https]\naddress = \"127.0.0.1:0\"\n\
        tls = { certificates = [{ cert = \"gw.pem\", key = \"gw.key\" }], client_ca = \"ca.pem\", client_auth = \"optional\" }\n\
        [forwarded]\nclient_cert = true\n";
    let routes = "[routes.open]\npath = \"/open\"\nupstream = \"o\"\n\
        [routes.api.auth]\naccept = [\"client_certificate\"]\n";
    let served = Served::start(2, &config(&origin, "", listeners, routes), |folder| {
        authority.server(&["gw.example"]).write(folder, "gw");
        std::fs::write(folder.join("ca.pem"), &clients.pem).unwrap();
    });
    let alice = clients.client("alice");
    let lying = "GET /PATH HTTP/1.1\r\nHost: a\r\nX-User-Id: root\r\nClient-Cert: :AAAA:\r\nclient_cert: :AAAA:\r\n\
        Client-Cert-Chain: :AAAA:\r\nX-Forwarded-Client-Cert: Subject=root\r\nConnection: close\r\n\r\n";
    let request = |path: &str| lying.replace("PATH", path);

    let mut known = served.secure(1, &authority.connector_with(&alice)).await.unwrap();
    assert_eq!(status(&exchange(&mut known, &request("x")).await), "200");
    let head = origin.received().await;
    assert_eq!(field(&head, "x-user-id"), Some("alice"));
    let der = alice.chain()[0].clone();
    let expected = format!(":{}:", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der));
    assert_eq!(field(&head, "client-cert"), Some(expected.as_str()));
    for name in ["client_cert", "client-cert-chain", "x-forwarded-client-cert"] {
        assert_eq!(field(&head, name), None, "{head}");
    }

    let mut unknown = served.secure(1, &authority.connector()).await.unwrap();
    let answer = exchange(&mut unknown, &request("x")).await;
    assert_eq!(status(&answer), "401", "{answer}");
    let mut unknown = served.secure(1, &authority.connector()).await.unwrap();
    assert_eq!(status(&exchange(&mut unknown, &request("open")).await), "200");
    let head = origin.received().await;
    for name in ["client-cert", "client_cert", "client-cert-chain", "x-forwarded-client-cert", "x-user-id"] {
        assert_eq!(field(&head, name), None, "{head}");
    }
    assert_eq!(status(&served.gateway.exchange(&request("x"))), "401", "nobody shows a certificate there");
    // One that is no good is refused before any request.
    let stranger = Authority::new("clients").client("alice");
    let refused = match served.secure(1, &authority.connector_with(&stranger)).await {
        Err(error) => error,
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
    };
    assert!(refused.to_string().contains("alert"), "{refused}");
}

#[test]
fn certificates_are_accepted_only_where_a_listener_asks_for_them() {
    let config = "[api_keys]\nfile = \"keys.toml\"\n[routes.r]\npath = \"/\"\nrespond = { status = 204 }\n\
        auth = { accept = [\"client_certificate\"] }\n";
    refused(config, &[("keys.toml", "")], "accepts client certificates, and no listener asks for one");
}
