//! Key sets over HTTP, from a server that rotates, stalls, lies and dies, and tokens that are verified meanwhile.

#[path = "support/tokens.rs"]
mod tokens;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::auth::jwks::{JwksBuilder, JwksStatus};
use tower_gateway::auth::{Algorithm, AuthLayer, Issuer, Jwks, Jwt};

use self::tokens::{Signer, claims};

/// How long a load may take in these tests.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Answers every connection with what it is told at the moment.
struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
enum Behaviour {
    Says(String),
    Stalls,
    /// Bytes without an end.
    GoesOn,
    HangsUp,
}

impl Server {
    async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, behaviour)
    }

    fn on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(behaviour)), Arc::new(Mutex::new(Vec::new())));
        let (told, seen) = (answer.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                seen.lock().unwrap().push(String::from_utf8(head).unwrap());
                let behaviour = told.lock().unwrap().clone();
                tokio::spawn(async move {
                    match behaviour {
                        Behaviour::Says(answer) => drop(stream.write_all(answer.as_bytes()).await),
                        Behaviour::Stalls => std::future::pending().await,
                        Behaviour::HangsUp => {}
                        Behaviour::GoesOn => {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                            while stream.write_all(b"10\r\n                \r\n").await.is_ok() {}
                        }
                    }
                });
            }
        });
        Self { address, answer, asked, task }
    }

    fn now(&self, behaviour: Behaviour) {
        *self.answer.lock().unwrap() = behaviour;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ok(body: &str) -> Behaviour {
    Behaviour::Says(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn set(signers: &[&Signer]) -> Behaviour {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    ok(&json!({"keys": keys}).to_string())
}

fn start(builder: JwksBuilder) -> Jwks {
    builder.timeout(TIMEOUT).cooldown(Duration::ZERO).start(&Handle::current())
}

async fn status(jwks: &Jwks, token: &str) -> u16 {
    let issuer = Issuer::with_jwks(jwks.clone()).issuer("https://issuer.example/").audience(["gateway"]);
    let layer = AuthLayer::new(Jwt::new([issuer]).unwrap());
    let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    service.oneshot(request).await.unwrap().status().as_u16()
}

/// Until so many loads have ended, well or not.
async fn ended(jwks: &Jwks, loads: u64) -> JwksStatus {
    let began = Instant::now();
    loop {
        let status = jwks.status();
        if status.loads + status.failures >= loads {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{status:?}");
        tokio::task::yield_now().await;
    }
}

fn signer(id: &str) -> Signer {
    Signer::new(Algorithm::Es256).with_id(id)
}

#[tokio::test]
async fn the_first_token_waits_for_the_keys_and_a_rotation_is_followed() {
    let (old, new) = (signer("old"), signer("new"));
    let server = Server::start(set(&[&old])).await;
    let jwks = start(Jwks::url(&server.url("/keys?v=1")).unwrap());
    assert_eq!(status(&jwks, &old.token(&claims("u"))).await, 200);
    let request = server.asked.lock().unwrap()[0].clone();
    assert!(
        request.starts_with("GET /keys?v=1 HTTP/1.1\r\n") && request.contains(&format!("host: {}", server.address))
    );

    server.now(set(&[&old, &new]));
    assert_eq!(status(&jwks, &new.token(&claims("u"))).await, 200, "an unknown key is asked for once");
    assert_eq!(server.asked(), 2);
    server.now(set(&[&new]));
    assert_eq!(status(&jwks, &signer("other").token(&claims("u"))).await, 401);
    assert_eq!(status(&jwks, &old.token(&claims("u"))).await, 401, "and what is gone is gone");
    let mut forged = signer("new").header();
    forged["kid"] = json!("new");
    let forged = signer("new").sign_text(&forged.to_string(), &claims("u").to_string());
    let asked = server.asked();
    assert_eq!(status(&jwks, &forged).await, 401);
    assert_eq!(server.asked(), asked, "a wrong signature of a known key asks for nothing");
}

#[tokio::test]
async fn random_key_ids_cost_the_issuer_one_load_in_a_cooldown() {
    let own = signer("own");
    let server = Server::start(set(&[&own])).await;
    let jwks = Jwks::url(&server.url("/")).unwrap().cooldown(Duration::from_secs(3600)).start(&Handle::current());
    assert_eq!(status(&jwks, &own.token(&claims("u"))).await, 200);
    for attempt in 0..50 {
        let random = signer(&attempt.to_string());
        assert_eq!(status(&jwks, &random.token(&claims("u"))).await, 401);
    }
    assert_eq!(server.asked(), 1);
    assert_eq!(status(&jwks, &own.token(&claims("u"))).await, 200);
}

#[tokio::test]
async fn a_server_that_stalls_lies_or_dies_leaves_the_keys_that_were_there() {
    let (own, other) = (signer("own"), signer("other"));
    let server = Server::start(set(&[&own])).await;
    let jwks = start(Jwks::url(&server.url("/")).unwrap());
    let (good, unknown) = (own.token(&claims("u")), other.token(&claims("u")));
    assert_eq!(status(&jwks, &good).await, 200);
    let html = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
    let error = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":[";
    for lie in [
        Behaviour::Stalls,
        Behaviour::GoesOn,
        Behaviour::HangsUp,
        ok(r#"{"keys":[]}"#),
        set(&[&other, &other]),
        set(&[&other, &Signer::new(Algorithm::Hs256)]),
        Behaviour::Says(html.into()),
        Behaviour::Says(error.into()),
        Behaviour::Says(elsewhere.into()),
        Behaviour::Says(cut.into()),
    ] {
        server.now(lie);
        let (before, began) = (jwks.status().failures, Instant::now());
        assert_eq!(status(&jwks, &unknown).await, 401);
        assert!(jwks.status().failures > before && jwks.status().stale);
        assert!(began.elapsed() < TIMEOUT * 10);
        assert_eq!(status(&jwks, &good).await, 200);
    }
    let address = server.address;
    drop(server);
    tokio::task::yield_now().await;
    assert_eq!(status(&jwks, &unknown).await, 401);
    assert_eq!(status(&jwks, &good).await, 200, "dead");

    let listener = TcpListener::bind(address).await.unwrap();
    let _again = Server::on(listener, set(&[&own, &other]));
    assert_eq!(status(&jwks, &unknown).await, 200);
    assert!(!jwks.status().stale);
}

#[tokio::test]
async fn while_there_never_were_any_keys_nobody_is_let_in_and_nobody_is_called_wrong() {
    let server = Server::start(Behaviour::HangsUp).await;
    let jwks = Jwks::url(&server.url("/")).unwrap().timeout(TIMEOUT).start(&Handle::current());
    ended(&jwks, 1).await;
    assert_eq!(status(&jwks, &signer("a").token(&claims("u"))).await, 503);
    assert_eq!(status(&jwks, "junk").await, 401, "whatever the keys, this is none");
}

#[tokio::test]
async fn an_issuer_may_be_discovered_and_has_to_be_itself() {
    let own = signer("own");
    let keys = Server::start(set(&[&own])).await;
    let document = |issuer: &str| ok(&json!({"issuer": issuer, "jwks_uri": keys.url("/keys")}).to_string());
    let server = Server::start(Behaviour::HangsUp).await;
    let issuer = server.url("/tenant");
    server.now(document(&issuer));
    let jwks = start(Jwks::discover(&issuer).unwrap());
    assert_eq!(status(&jwks, &own.token(&claims("u"))).await, 200);
    assert!(server.asked.lock().unwrap()[0].starts_with("GET /tenant/.well-known/openid-configuration HTTP/1.1\r\n"));
    server.now(document("https://evil.example"));
    let jwks = start(Jwks::discover(&issuer).unwrap());
    ended(&jwks, 1).await;
    assert_eq!(jwks.status().keys, 0);
    assert!(Jwks::discover("http://issuer.example").is_err() && Jwks::discover("issuer.example").is_err());
}

#[tokio::test]
async fn a_file_of_keys_is_read_again() {
    let (own, other) = (signer("own"), signer("other"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, json!({"keys": [own.jwk()]}).to_string()).unwrap();
    let jwks = Jwks::file(&path).cooldown(Duration::ZERO).start(&Handle::current());
    assert_eq!(status(&jwks, &own.token(&claims("u"))).await, 200);
    std::fs::write(&path, json!({"keys": [other.jwk()]}).to_string()).unwrap();
    assert_eq!(status(&jwks, &other.token(&claims("u"))).await, 200);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(status(&jwks, &signer("third").token(&claims("u"))).await, 401);
    assert_eq!(status(&jwks, &other.token(&claims("u"))).await, 200);
}

#[tokio::test]
async fn what_was_verified_with_a_key_is_forgotten_with_it() {
    let (own, other) = (signer("own"), signer("other"));
    let server = Server::start(set(&[&own])).await;
    let jwks = start(Jwks::url(&server.url("/")).unwrap());
    let issuer = Issuer::with_jwks(jwks.clone()).allow_any_issuer().allow_any_audience();
    let jwt = Jwt::new([issuer]).unwrap();
    let layer = AuthLayer::new(jwt.clone());
    let send = async |token: &str| {
        let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
        let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
        service.oneshot(request).await.unwrap().status().as_u16()
    };
    let token = own.token(&claims("u"));
    assert_eq!((send(&token).await, send(&token).await), (200, 200));
    assert_eq!(jwt.cache_stats().hits, 1);
    server.now(set(&[&other]));
    assert_eq!(send(&other.token(&claims("u"))).await, 200);
    assert_eq!(send(&token).await, 401, "its key is gone");
}
