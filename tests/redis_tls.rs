//! Limits in a Redis behind TLS, whose certificate a private authority has signed: the gateway's binary and a real server.
#![cfg(unix)]

#[path = "support/redis.rs"]
mod server;
mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use server::RedisServer;
use support::RawOrigin;
use support::certificates::Authority;
use support::gateway::{Gateway, binary, status};

/// A server that speaks TLS on a second port, with a certificate of this authority.
fn redis_with_tls(authority: &Authority, name: &str, folder: &Path) -> (RedisServer, u16) {
    let (cert, key) = authority.server(&[name]).write(folder, "redis");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port_text, cert, key) = (port.to_string(), cert.to_str().unwrap(), key.to_str().unwrap());
    let tls = ["--tls-port", &port_text, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert];
    (RedisServer::with(&[&tls[..], &["--tls-auth-clients", "no"]].concat()), port)
}

/// A gateway on a machine that trusts `authority` and no other.
fn gateway(folder: &Path, authority: &Authority, origin: &RawOrigin, port: u16) -> Gateway {
    let (file, trusted) = (folder.join("gateway.toml"), folder.join("trusted.pem"));
    std::fs::write(&trusted, &authority.pem).unwrap();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstreams.o]\nservers = [\"{}\"]\n\
         [routes.a]\npath = \"/a\"\nupstream = \"o\"\nrate_limit = [\"l\"]\n\
         [rate_limits.l]\nlimit = 4\nwindow = \"1h\"\nkey = \"client_ip\"\non_store_error = \"closed\"\n\
         [redis]\nurl = \"rediss://localhost:{port}\"\ntimeout = \"20s\"\n",
        origin.url()
    );
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(binary());
    command.arg("--config").arg(&file).env("SSL_CERT_FILE", &trusted).env_remove("SSL_CERT_DIR");
    Gateway::start(&mut command)
}

fn ask(gateway: &Gateway) -> String {
    status(&gateway.exchange("GET /a HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_a_limit_over_tls() {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (authority, folder) = (Authority::new("private"), tempfile::tempdir().unwrap());
    let (redis, port) = redis_with_tls(&authority, "localhost", folder.path());
    let [one, two] = [(); 2].map(|()| gateway(folder.path(), &authority, &origin, port));
    for gateway in [&one, &two, &one, &two] {
        assert_eq!(ask(gateway), "200");
    }
    assert_eq!((ask(&one), ask(&two)), ("429".to_owned(), "429".to_owned()));
    assert!(redis.calls("evalsha") + redis.calls("eval") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_name_or_authority_is_asked_nothing() {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (authority, other) = (Authority::new("private"), Authority::new("other"));
    for (signed_by, name) in [(&authority, "elsewhere.example"), (&other, "localhost")] {
        let folder = tempfile::tempdir().unwrap();
        let (redis, port) = redis_with_tls(signed_by, name, folder.path());
        let gateway = gateway(folder.path(), &authority, &origin, port);
        assert_eq!(ask(&gateway), "503");
        assert_eq!(redis.calls("evalsha") + redis.calls("eval"), 0);
    }
}
