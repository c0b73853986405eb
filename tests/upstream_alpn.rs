//! Servers that choose by ALPN what is spoken with them.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_gateway::tls::{ClientTls, Roots};
use tower_gateway::upstream::{Client, HealthCheck, OriginBody, Protocol, Upstream, UpstreamBuilder};
use tower_gateway::{Upgraded, UpstreamError, UpstreamErrorKind};

use support::PATIENCE;
use support::certificates::{Authority, Pair};

/// An origin that speaks what its configuration of the moment agrees to.
struct Origin {
    authority: Authority,
    own: Pair,
    port: u16,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    seen: Arc<Seen>,
    /// How often it was restarted: connections from before then close.
    restarts: watch::Sender<usize>,
}

#[derive(Default)]
struct Seen {
    handshakes: AtomicUsize,
    open: AtomicUsize,
    /// Asks for HTTP/1.1 where a request comes over HTTP/2.
    requires_http1: AtomicBool,
}

impl Origin {
    async fn agreeing_to(protocols: &[&str]) -> Self {
        let authority = Authority::new("ca");
        let own = authority.server(&["127.0.0.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = Arc::new(Mutex::new(acceptor(&own, protocols)));
        let (restarts, restarted) = watch::channel(0);
        let origin = Self { authority, own, port, acceptor: acceptor.clone(), seen: Arc::default(), restarts };
        let seen = origin.seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.lock().unwrap().clone(), seen.clone());
                let mut restarted = restarted.clone();
                restarted.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    seen.handshakes.fetch_add(1, SeqCst);
                    seen.open.fetch_add(1, SeqCst);
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let stream = TokioIo::new(stream);
                    let answer = service_fn({
                        let seen = seen.clone();
                        move |request| answer(request, seen.clone())
                    });
                    if is_http2 {
                        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let mut served = Box::pin(http.serve_connection(stream, answer));
                        let ended = tokio::select! {
                            _ = served.as_mut() => true,
                            _ = restarted.changed() => false,
                        };
                        if !ended {
                            served.as_mut().graceful_shutdown();
                            let _ = served.await;
                        }
                    } else {
                        let http = hyper::server::conn::http1::Builder::new();
                        let mut served = Box::pin(http.serve_connection(stream, answer).with_upgrades());
                        let ended = tokio::select! {
                            _ = served.as_mut() => true,
                            _ = restarted.changed() => false,
                        };
                        if !ended {
                            served.as_mut().graceful_shutdown();
                            let _ = served.await;
                        }
                    }
                    seen.open.fetch_sub(1, SeqCst);
                });
            }
        });
        origin
    }

    /// From now on it agrees to these. Connections that are open go on as they are.
    fn agrees_to(&self, protocols: &[&str]) {
        *self.acceptor.lock().unwrap() = acceptor(&self.own, protocols);
    }

    /// The same, and every connection that is open ends first.
    async fn restarts_agreeing_to(&self, protocols: &[&str]) {
        self.agrees_to(protocols);
        self.restarts.send_modify(|restarts| *restarts += 1);
        let closed = async {
            while self.seen.open.load(SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("connections stay open");
    }

    fn upstream(&self) -> UpstreamBuilder {
        let roots = Roots::from_pem(self.authority.pem.as_bytes()).unwrap();
        Upstream::builder().server(format!("https://127.0.0.1:{}", self.port), 1).tls(ClientTls::new().roots(roots))
    }

    fn client(&self) -> Client {
        Client::new(self.upstream().build().unwrap())
    }

    fn handshakes(&self) -> usize {
        self.seen.handshakes.load(SeqCst)
    }
}

fn acceptor(own: &Pair, protocols: &[&str]) -> TlsAcceptor {
    let mut config = own.server_config();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Says what was spoken, and how long the body was; `/slow` and `/slower` take a moment; an upgrade is an echo.
async fn answer(mut request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Full<Bytes>>, h2::Error> {
    let version = request.version();
    if version == Version::HTTP_2 && seen.requires_http1.load(SeqCst) {
        return Err(h2::Reason::HTTP_1_1_REQUIRED.into());
    }
    if request.headers().contains_key(UPGRADE) {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&byte).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
        let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let answer = answer.header(CONNECTION, "upgrade").header(UPGRADE, "websocket");
        return Ok(answer.body(Full::default()).unwrap());
    }
    match request.uri().path() {
        "/slow" => tokio::time::sleep(Duration::from_millis(30)).await,
        "/slower" => tokio::time::sleep(Duration::from_secs(2)).await,
        _ => {}
    }
    let length = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
    Ok(Response::new(Full::from(format!("{version:?} {length}"))))
}

async fn send(client: &Client, request: Request<Full<Bytes>>) -> Result<Response<OriginBody>, UpstreamError> {
    tokio::time::timeout(PATIENCE, client.clone().oneshot(request)).await.expect("no answer")
}

async fn get(client: &Client, path: &str) -> Result<String, UpstreamError> {
    let answer = send(client, Request::get(path).body(Full::default()).unwrap()).await?;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// The answers to requests that are sent at once.
async fn at_once(client: &Client, many: usize) -> Vec<String> {
    join_all((0..many).map(|_| async { get(client, "/slow").await.unwrap() })).await
}

#[tokio::test]
async fn a_server_that_chooses_http_2_has_one_connection_for_all_requests() {
    let origin = Origin::agreeing_to(&["h2", "http/1.1"]).await;
    let client = origin.client();
    assert_eq!(at_once(&client, 40).await, vec!["HTTP/2.0 0"; 40]);
    let request = Request::post("/").body(Full::new(Bytes::from(vec![b'x'; 8 << 20]))).unwrap();
    let answer = send(&client, request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "HTTP/2.0 8388608");
    assert_eq!(origin.handshakes(), 1);
}

#[tokio::test]
async fn a_server_that_chooses_http_1_1_or_nothing_has_a_pool_of_connections() {
    for protocols in [&["http/1.1"][..], &[]] {
        let origin = Origin::agreeing_to(protocols).await;
        let client = origin.client();
        assert_eq!(get(&client, "/").await.unwrap(), "HTTP/1.1 0");
        assert_eq!(at_once(&client, 10).await, vec!["HTTP/1.1 0"; 10]);
        let opened = origin.handshakes();
        assert!((2..=10).contains(&opened), "{opened} connections for ten requests at once");
        for _ in 0..10 {
            get(&client, "/").await.unwrap();
        }
        assert_eq!(at_once(&client, 5).await.len(), 5);
        assert_eq!(origin.handshakes(), opened, "idle connections are used");
    }
}

#[tokio::test]
async fn requests_that_come_before_anything_is_known_wait_for_one_handshake_and_no_longer() {
    let origin = Origin::agreeing_to(&["http/1.1"]).await;
    let client = origin.client();
    assert_eq!(at_once(&client, 20).await, vec!["HTTP/1.1 0"; 20]);
    assert!(origin.handshakes() <= 20);
}

#[tokio::test]
async fn http_1_and_http_2_alone_offer_nothing_else() {
    let origin = Origin::agreeing_to(&["h2", "http/1.1"]).await;
    let http1 = Client::new(origin.upstream().protocol(Protocol::Http1).build().unwrap());
    assert_eq!(get(&http1, "/").await.unwrap(), "HTTP/1.1 0");
    let http2 = Client::new(origin.upstream().protocol(Protocol::Http2).build().unwrap());
    assert_eq!(get(&http2, "/").await.unwrap(), "HTTP/2.0 0");
}

#[tokio::test]
async fn a_server_that_changes_its_mind_is_followed_and_no_request_fails() {
    let origin = Origin::agreeing_to(&["h2", "http/1.1"]).await;
    let client = origin.client();
    for (protocols, answer) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0 0"),
        (&["http/1.1"], "HTTP/1.1 0"),
        (&["h2"], "HTTP/2.0 0"),
        (&[], "HTTP/1.1 0"),
        (&["h2", "http/1.1"], "HTTP/2.0 0"),
    ] {
        origin.restarts_agreeing_to(protocols).await;
        assert_eq!(get(&client, "/").await.unwrap(), answer);
        assert_eq!(at_once(&client, 10).await, vec![answer; 10]);
    }
}

#[tokio::test]
async fn connections_of_both_kinds_to_one_server_are_used_side_by_side() {
    let origin = Origin::agreeing_to(&["http/1.1"]).await;
    let client = origin.client();
    let slow = get(&client, "/slower");
    let other = async {
        // The first one is at work over what was agreed on with it.
        let asked = async {
            while origin.handshakes() < 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("it does not begin");
        origin.agrees_to(&["h2"]);
        get(&client, "/slow").await
    };
    let (first, second) = futures_util::join!(slow, other);
    assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), ("HTTP/1.1 0", "HTTP/2.0 0"));
    // Neither needs another connection.
    at_once(&client, 10).await;
    assert_eq!(origin.handshakes(), 2);
}

#[tokio::test]
async fn one_connection_at_most_is_enough_whatever_the_server_chooses() {
    let origin = Origin::agreeing_to(&["http/1.1"]).await;
    let upstream = origin.upstream().max_connections_per_server(1).queue_timeout(PATIENCE);
    let client = Client::new(upstream.build().unwrap());
    for protocols in [&["http/1.1"][..], &["h2"], &["http/1.1"], &["h2"]] {
        origin.restarts_agreeing_to(protocols).await;
        let version = if *protocols == ["h2"] { "HTTP/2.0 0" } else { "HTTP/1.1 0" };
        assert_eq!(at_once(&client, 8).await, vec![version; 8]);
    }
    assert_eq!(origin.handshakes(), 4);
}

#[tokio::test]
async fn websocket_is_asked_for_over_http_1_1_and_the_rest_stays_on_http_2() {
    let origin = Origin::agreeing_to(&["h2", "http/1.1"]).await;
    let client = origin.client();
    assert_eq!(get(&client, "/").await.unwrap(), "HTTP/2.0 0");
    let request = Request::get("/").header(CONNECTION, "upgrade").header(UPGRADE, "websocket");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let answer = tokio::time::timeout(PATIENCE, client.clone().oneshot(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert!(answer.extensions().get::<Upgraded>().is_some());
    assert_eq!(get(&client, "/").await.unwrap(), "HTTP/2.0 0");
    assert_eq!(origin.handshakes(), 2);
}

#[tokio::test]
async fn a_request_that_is_wanted_over_http_1_1_is_sent_so() {
    let origin = Origin::agreeing_to(&["h2", "http/1.1"]).await;
    origin.seen.requires_http1.store(true, SeqCst);
    assert_eq!(get(&origin.client(), "/").await.unwrap(), "HTTP/1.1 0");
    let http2 = Client::new(origin.upstream().protocol(Protocol::Http2).build().unwrap());
    assert_eq!(get(&http2, "/").await.unwrap_err().kind(), UpstreamErrorKind::Reset);
}

#[tokio::test]
async fn a_handshake_that_fails_fails_for_all_who_wait_for_it_and_for_nobody_after() {
    let origin = Origin::agreeing_to(&["spdy/3"]).await;
    let client = origin.client();
    let failed = join_all((0..10).map(|_| get(&client, "/"))).await;
    assert!(failed.into_iter().all(|answer| answer.unwrap_err().kind() == UpstreamErrorKind::Tls));
    origin.agrees_to(&["h2"]);
    assert_eq!(get(&client, "/").await.unwrap(), "HTTP/2.0 0");
}

#[tokio::test]
async fn checks_speak_what_the_server_chooses() {
    for protocols in [&["h2"][..], &["http/1.1"], &[]] {
        let origin = Origin::agreeing_to(protocols).await;
        let upstream = origin.upstream().build().unwrap();
        let check = HealthCheck::http("/".parse().unwrap()).interval(Duration::from_millis(5)).unhealthy_after(1);
        upstream.start_health_checks(&check.says("HTTP"), &tokio::runtime::Handle::current());
        let asked = async {
            while origin.handshakes() < 4 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap();
        assert!(upstream.servers()[0].passes_checks(), "{protocols:?}");
    }
}

#[tokio::test]
async fn a_reload_keeps_what_was_agreed_on_and_the_connection() {
    let origin = Origin::agreeing_to(&["h2"]).await;
    let old = origin.upstream().build().unwrap();
    let client = Client::new(old.clone());
    get(&client, "/").await.unwrap();
    let same = Client::new(origin.upstream().adopt(&old).build().unwrap()).adopt(&client);
    assert_eq!(at_once(&same, 5).await, vec!["HTTP/2.0 0"; 5]);
    assert_eq!(origin.handshakes(), 1);
    // One that is spoken to otherwise is another server.
    let http1 = origin.upstream().protocol(Protocol::Http1).adopt(&old).build().unwrap();
    let refused: Result<String, UpstreamError> = get(&Client::new(http1).adopt(&same), "/").await;
    assert_eq!(refused.unwrap_err().kind(), UpstreamErrorKind::Tls);
}
