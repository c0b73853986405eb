//! Key sets and discovery documents over HTTPS, from a server whose certificate a private authority has signed.

#[path = "support/mod.rs"]
mod support;
#[path = "support/tokens.rs"]
mod tokens;

use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower_gateway::auth::Algorithm;

use self::support::RawOrigin;
use self::support::certificates::{Authority, Pair};
use self::support::gateway::{Gateway, binary};
use self::tokens::{Signer, claims};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An issuer that answers over TLS what `answer` makes of a request's path, and notes the paths.
struct IssuerServer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl IssuerServer {
    async fn start(pair: &Pair, answer: impl Fn(u16, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, notes) = (pair.acceptor(), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate goes away here.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(1..) = stream.read_buf(&mut request).await else { break };
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap_or_default();
                notes.lock().unwrap().push(path.to_owned());
                let answer = match answer(port, path) {
                    Some(body) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
                    None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A gateway on a machine that trusts `authority` and no other, with the keys of `table`.
fn gateway(folder: &tempfile::TempDir, authority: &Authority, origin: &RawOrigin, table: &str) -> Gateway {
    let (file, trusted) = (folder.path().join("gateway.toml"), folder.path().join("trusted.pem"));
    std::fs::write(&trusted, &authority.pem).unwrap();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstreams.o]\nservers = [\"{}\"]\n[routes.a]\npath = \"/a\"\nupstream = \"o\"\nauth = {{}}\n\
         [jwt.main]\nissuer = \"https://issuer.example/\"\naudience = [\"gateway\"]\n{table}\n",
        origin.url()
    );
    std::fs::write(&file, config).unwrap();
    // As the machine's certificates are found by whoever reads them (rustls-native-certs, OpenSSL).
    let mut command = Command::new(binary());
    command.arg("--config").arg(&file).env("SSL_CERT_FILE", &trusted).env_remove("SSL_CERT_DIR");
    Gateway::start(&mut command)
}

fn ask(gateway: &Gateway, token: &str) -> String {
    let request =
        format!("GET /a HTTP/1.1\r\nHost: gw.example\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    let answer = tokio::task::block_in_place(|| gateway.exchange(&request));
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_over_https_from_whom_the_machine_trusts() {
    let (origin, signer) = (RawOrigin::answering(OK).await, Signer::new(Algorithm::Es256));
    let (authority, folder) = (Authority::new("private"), tempfile::tempdir().unwrap());
    let set = json!({"keys": [signer.jwk()]}).to_string();
    let issuer = IssuerServer::start(&authority.server(&["localhost"]), move |_, path| {
        (path == "/keys?v=1").then(|| set.clone())
    })
    .await;
    let table = format!("jwks_url = \"https://localhost:{}/keys?v=1\"", issuer.port);
    let gateway = gateway(&folder, &authority, &origin, &table);
    assert_eq!(ask(&gateway, &signer.token(&claims("u1"))), "200");
    assert_eq!(ask(&gateway, &Signer::new(Algorithm::Es256).token(&claims("u1"))), "401");
    assert_eq!(issuer.asked(), ["/keys?v=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_server_with_another_name_or_authority_are_not_taken() {
    let (origin, signer) = (RawOrigin::answering(OK).await, Signer::new(Algorithm::Es256));
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    let set = json!({"keys": [signer.jwk()]}).to_string();
    for pair in [authority.server(&["elsewhere.example"]), other.server(&["localhost"])] {
        let (folder, set) = (tempfile::tempdir().unwrap(), set.clone());
        let issuer = IssuerServer::start(&pair, move |_, _| Some(set.clone())).await;
        let table = format!("jwks_url = \"https://localhost:{}/keys\"", issuer.port);
        let gateway = gateway(&folder, &authority, &origin, &table);
        // Nobody can tell whether the token is good.
        assert_eq!(ask(&gateway, &signer.token(&claims("u1"))), "503");
        assert!(issuer.asked().is_empty(), "not even the path is told to whom is not trusted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_over_https_leads_to_keys_over_https_and_nowhere_else() {
    let (origin, signer) = (RawOrigin::answering(OK).await, Signer::new(Algorithm::EdDsa));
    let (authority, folder) = (Authority::new("private"), tempfile::tempdir().unwrap());
    let set = json!({"keys": [signer.jwk()]}).to_string();
    let pair = authority.server(&["localhost"]);
    let issuer = IssuerServer::start(&pair, move |port, path| match path {
        "/tenant/.well-known/openid-configuration" => {
            let own = format!("https://localhost:{port}/tenant");
            Some(json!({"issuer": own, "jwks_uri": format!("https://localhost:{port}/keys")}).to_string())
        }
        "/keys" => Some(set.clone()),
        // Of itself it says where it is, and sends its callers to a place without TLS.
        "/plain/.well-known/openid-configuration" => {
            let own = format!("https://localhost:{port}/plain");
            Some(json!({"issuer": own, "jwks_uri": format!("http://localhost:{port}/keys")}).to_string())
        }
        _ => None,
    })
    .await;
    let place = format!("https://localhost:{}", issuer.port);
    let good = gateway(&folder, &authority, &origin, &format!("discover = \"{place}/tenant\""));
    let token = signer.token(&claims("u1"));
    assert_eq!(ask(&good, &token), "200");
    assert_eq!(issuer.asked(), ["/tenant/.well-known/openid-configuration", "/keys"]);

    let folder = tempfile::tempdir().unwrap();
    let astray = gateway(&folder, &authority, &origin, &format!("discover = \"{place}/plain\""));
    assert_eq!(ask(&astray, &token), "503");
    assert_eq!(issuer.asked().iter().filter(|path| *path == "/keys").count(), 1);
}
