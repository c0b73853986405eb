//! Servers that are spoken to over TLS.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use tower_gateway::tls::{CertificateKey, ClientTls, Roots};
use tower_gateway::upstream::{Client, HealthCheck, InvalidUpstream, OriginBody, Protocol, Upstream, UpstreamBuilder};
use tower_gateway::{UpstreamError, UpstreamErrorKind};

use support::PATIENCE;
use support::certificates::{Authority, Pair, provider};

/// What an origin does with a connection once the handshake is done.
type Script = fn(TlsStream<TcpStream>) -> futures_util::future::BoxFuture<'static, ()>;

/// An origin with TLS.
struct Origin {
    port: u16,
    handshakes: Arc<AtomicUsize>,
    resumed: Arc<AtomicUsize>,
}

impl Origin {
    async fn start(config: ServerConfig, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin =
            Self { port: listener.local_addr().unwrap().port(), handshakes: Arc::default(), resumed: Arc::default() };
        let (handshakes, resumed) = (origin.handshakes.clone(), origin.resumed.clone());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, handshakes, resumed) = (acceptor.clone(), handshakes.clone(), resumed.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    handshakes.fetch_add(1, Ordering::SeqCst);
                    let kind = stream.get_ref().1.handshake_kind();
                    resumed.fetch_add(usize::from(kind == Some(HandshakeKind::Resumed)), Ordering::SeqCst);
                    script(stream).await;
                });
            }
        });
        origin
    }

    async fn showing(pair: &Pair) -> Self {
        Self::start(pair.server_config(), answers).await
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::SeqCst)
    }
}

async fn head(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Says who asked, and for whom; a body is read and counted.
fn answers(mut stream: TlsStream<TcpStream>) -> futures_util::future::BoxFuture<'static, ()> {
    Box::pin(async move {
        while let Some(head) = head(&mut stream).await {
            let session = stream.get_ref().1;
            let asked_for = session.server_name().unwrap_or("nobody").to_owned();
            let client = if session.peer_certificates().is_some() { "known" } else { "unknown" };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let text = format!("{asked_for} {client} {length}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

fn roots(authority: &Authority) -> Roots {
    Roots::from_pem(authority.pem.as_bytes()).unwrap()
}

fn trusting(authority: &Authority) -> ClientTls {
    ClientTls::new().roots(roots(authority))
}

fn upstream(origin: &Origin, tls: ClientTls) -> UpstreamBuilder {
    Upstream::builder().server(origin.url(), 1).tls(tls)
}

async fn get(client: &Client) -> Result<Response<OriginBody>, UpstreamError> {
    let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    tokio::time::timeout(PATIENCE, client.clone().oneshot(request)).await.expect("no answer")
}

async fn text(client: &Client) -> String {
    let body = get(client).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn refused(origin: &Origin, tls: ClientTls) -> UpstreamError {
    get(&Client::new(upstream(origin, tls).build().unwrap())).await.unwrap_err()
}

#[tokio::test]
async fn a_server_is_asked_over_tls_and_its_connection_kept() {
    let authority = Authority::new("ca");
    let origin = Origin::showing(&authority.server(&["127.0.0.1"])).await;
    let client = Client::new(upstream(&origin, trusting(&authority)).build().unwrap());
    for _ in 0..3 {
        assert_eq!(text(&client).await, "nobody unknown 0");
    }
    assert_eq!(origin.handshakes(), 1);

    // More than any buffer on the way holds.
    let request = Request::post("/").body(Full::new(Bytes::from(vec![b'x'; 8 << 20]))).unwrap();
    let answer = client.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "nobody unknown 8388608");
    assert_eq!(origin.handshakes(), 1);
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_is_an_error_of_tls() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let good = Origin::showing(&authority.server(&["127.0.0.1"])).await;
    let misnamed = Origin::showing(&authority.server(&["other.example"])).await;
    let expired = authority.issue(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let expired = Origin::showing(&expired).await;
    for (origin, tls, words) in [
        (&good, trusting(&other), "UnknownIssuer"),
        (&good, ClientTls::new(), "UnknownIssuer"),
        (&misnamed, trusting(&authority), "not valid for name"),
        (&expired, trusting(&authority), "expired"),
        (&good, trusting(&authority).server_name("other.example").unwrap(), "not valid for name"),
    ] {
        let error = refused(origin, tls).await;
        assert_eq!((error.kind(), error.kind().status()), (UpstreamErrorKind::Tls, StatusCode::BAD_GATEWAY));
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(words), "{source}");
    }
    let client =
        Client::new(upstream(&misnamed, trusting(&authority).server_name("other.example").unwrap()).build().unwrap());
    assert_eq!(text(&client).await, "other.example unknown 0");
}

#[tokio::test]
async fn the_gateway_shows_its_own_certificate_where_it_has_one() {
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let own = authority.server(&["127.0.0.1"]);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain(), own.private_key())
        .unwrap();
    let origin = Origin::start(config, answers).await;
    let gateway = clients.client("gateway");
    let gateway = CertificateKey::from_pem(gateway.cert.as_bytes(), gateway.key.as_bytes()).unwrap();
    let client = Client::new(upstream(&origin, trusting(&authority).certificate(gateway)).build().unwrap());
    assert_eq!(text(&client).await, "nobody known 0");
    // With TLS 1.3 the refusal comes where an answer is awaited.
    assert_eq!(refused(&origin, trusting(&authority)).await.kind(), UpstreamErrorKind::Tls);
}

#[tokio::test]
async fn what_is_no_tls_is_an_error_of_tls_and_silence_is_a_timeout() {
    let authority = Authority::new("ca");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain =
        Origin { port: listener.local_addr().unwrap().port(), handshakes: Arc::default(), resumed: Arc::default() };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        drop(stream);
        let (_silent, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(refused(&plain, trusting(&authority)).await.kind(), UpstreamErrorKind::Tls);
    let tls = trusting(&authority).handshake_timeout(Duration::from_millis(50));
    let upstream = upstream(&plain, tls).connect_timeout(PATIENCE).build().unwrap();
    let error = get(&Client::new(upstream)).await.unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::ConnectTimeout);
}

#[tokio::test]
async fn an_answer_that_is_cut_is_not_whole_and_one_that_is_ended_is() {
    let authority = Authority::new("ca");
    let own = authority.server(&["127.0.0.1"]);
    const UNTIL_CLOSED: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nall of it";
    let cut = Origin::start(own.server_config(), |mut stream| {
        Box::pin(async move {
            head(&mut stream).await;
            stream.write_all(UNTIL_CLOSED).await.unwrap();
            // The end of TCP without that of TLS.
            stream.get_mut().0.shutdown().await.unwrap();
        })
    })
    .await;
    let ended = Origin::start(own.server_config(), |mut stream| {
        Box::pin(async move {
            head(&mut stream).await;
            stream.write_all(UNTIL_CLOSED).await.unwrap();
            stream.shutdown().await.unwrap();
        })
    })
    .await;
    let body = async |origin: &Origin| {
        let client = Client::new(upstream(origin, trusting(&authority)).build().unwrap());
        get(&client).await.unwrap().into_body().collect().await.map(|body| body.to_bytes())
    };
    assert_eq!(body(&cut).await.unwrap_err().kind(), UpstreamErrorKind::Truncated);
    assert_eq!(body(&ended).await.unwrap(), "all of it");
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_used_again_and_the_next_resumes_its_session() {
    let authority = Authority::new("ca");
    let origin = Origin::start(authority.server(&["127.0.0.1"]).server_config(), |mut stream| {
        Box::pin(async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            stream.shutdown().await.unwrap();
        })
    })
    .await;
    let client = Client::new(upstream(&origin, trusting(&authority)).build().unwrap());
    for _ in 0..3 {
        assert_eq!(text(&client).await, "ok");
    }
    assert_eq!((origin.handshakes(), origin.resumed.load(Ordering::SeqCst)), (3, 2));
}

#[tokio::test]
async fn a_reload_keeps_connections_where_nothing_about_tls_has_changed() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let origin = Origin::showing(&authority.server(&["127.0.0.1"])).await;
    let old = upstream(&origin, trusting(&authority)).build().unwrap();
    let client = Client::new(old.clone());
    text(&client).await;
    let same = upstream(&origin, trusting(&authority)).adopt(&old).build().unwrap();
    let client = Client::new(same.clone()).adopt(&client);
    text(&client).await;
    assert_eq!(origin.handshakes(), 1);
    // A connection that others would not have made is not used by them.
    let stricter = upstream(&origin, trusting(&other)).adopt(&same).build().unwrap();
    let client = Client::new(stricter).adopt(&client);
    assert_eq!(get(&client).await.unwrap_err().kind(), UpstreamErrorKind::Tls);
}

#[tokio::test]
async fn servers_are_checked_over_tls_too() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let origin = Origin::showing(&authority.server(&["127.0.0.1"])).await;
    let check =
        HealthCheck::http("/".parse().unwrap()).interval(Duration::from_millis(10)).unhealthy_after(1).healthy_after(1);
    let good = upstream(&origin, trusting(&authority)).build().unwrap();
    good.start_health_checks(&check, &tokio::runtime::Handle::current());
    let bad = upstream(&origin, trusting(&other)).build().unwrap();
    bad.start_health_checks(&check, &tokio::runtime::Handle::current());
    let wait = async {
        while bad.servers()[0].passes_checks() || origin.handshakes() < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert!(good.servers()[0].passes_checks());
}

#[tokio::test]
async fn http_2_is_spoken_to_servers_that_agree_to_it_and_to_no_others() {
    let authority = Authority::new("ca");
    let own = authority.server(&["127.0.0.1"]);
    let mut config = own.server_config();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let origin = Origin::start(config, |stream| {
        Box::pin(async move {
            let answer = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                let text = format!("{:?} {}", request.version(), request.uri());
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(text))))
            });
            let http = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = http.serve_connection(hyper_util::rt::TokioIo::new(stream), answer).await;
        })
    })
    .await;
    let http2 = |origin: &Origin| {
        Client::new(upstream(origin, trusting(&authority)).protocol(Protocol::Http2).build().unwrap())
    };
    let client = http2(&origin);
    for _ in 0..2 {
        assert_eq!(text(&client).await, format!("HTTP/2.0 {}/", origin.url()));
    }
    assert_eq!(origin.handshakes(), 1);
    let of_http1 = Origin::showing(&own).await;
    assert_eq!(get(&http2(&of_http1)).await.unwrap_err().kind(), UpstreamErrorKind::Tls);
}

#[test]
fn a_name_that_no_certificate_could_be_for_is_refused_at_once() {
    assert!(ClientTls::new().server_name("a b").is_err());
    let authority = Authority::new("ca");
    let built = Upstream::builder().server("https://a_b-.example-", 1).tls(trusting(&authority)).build();
    assert!(matches!(built, Err(InvalidUpstream::Tls { .. })), "{built:?}");
}
