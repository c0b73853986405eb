//! A server that says what it knows of a request, and a client of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_gateway::RequestContext;
use tower_gateway::serve::{Listener, ServeBody, Server, ServerHandle};
use tower_gateway::tls::{CertificateKey, ServerTls};

use crate::support::PATIENCE;
use crate::support::certificates::Pair;

pub(crate) fn certificate(pair: &Pair) -> CertificateKey {
    CertificateKey::from_pem(pair.cert.as_bytes(), pair.key.as_bytes()).unwrap()
}

pub(crate) fn tls<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> ServerTls {
    ServerTls::builder(pairs.into_iter().map(certificate)).build().unwrap()
}

pub(crate) fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A running server. It is stopped at once when it is dropped.
pub(crate) struct Running(pub(crate) ServerHandle);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.drain(Duration::ZERO));
    }
}

impl Running {
    pub(crate) fn start(listeners: impl IntoIterator<Item = Listener>) -> Self {
        Self::start_with(listeners, |server| server)
    }

    pub(crate) fn start_with(
        listeners: impl IntoIterator<Item = Listener>,
        change: impl FnOnce(Server) -> Server,
    ) -> Self {
        let server = change(Server::listen(listeners).unwrap().workers(1));
        Self(server.start(|_| tower::service_fn(answer)).unwrap())
    }

    pub(crate) fn address(&self, listener: usize) -> SocketAddr {
        self.0.local_addrs()[listener]
    }

    pub(crate) async fn connect(&self, listener: usize) -> TcpStream {
        TcpStream::connect(self.address(listener)).await.unwrap()
    }

    /// A connection on which the handshake is done.
    pub(crate) async fn secure(&self, connector: &TlsConnector, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let handshake = connector.connect(name, self.connect(0).await);
        tokio::time::timeout(PATIENCE, handshake).await.expect("no end of the handshake")
    }

    /// Waits until something is as it should be, which the server does on its own time.
    pub(crate) async fn until(&self, done: impl Fn(tower_gateway::serve::ServeStats) -> bool) {
        let wait = async {
            while !done(self.0.stats()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{:?}", self.0.stats()));
    }
}

async fn answer(request: Request<ServeBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let connection = parts.extensions.get::<RequestContext>().unwrap().connection().unwrap().clone();
    let text = match parts.uri.path() {
        "/connection" => format!(
            "{} {} {}",
            connection.peer,
            connection.secure,
            connection.client_certificate.map_or("nobody".to_owned(), |own| own.subject().to_owned())
        ),
        "/echo" => match body.collect().await {
            Ok(body) => format!("{} bytes", body.to_bytes().len()),
            Err(error) => format!("cut: {error}"),
        },
        "/large" => "x".repeat(10 << 20),
        path => path.to_owned(),
    };
    Ok(Response::new(Full::from(text)))
}

/// Sends a request, and reads its answer with a `Content-Length`.
pub(crate) async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::timeout(PATIENCE, read_answer(stream)).await.expect("no answer")
}

pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let mut end = None;
    while end.is_none_or(|end| answer.len() < end) {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "the answer ended early: {:?}", String::from_utf8_lossy(&answer));
        if end.is_none()
            && let Some(head) = answer.windows(4).position(|part| part == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&answer[..head]);
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            end = Some(head + 4 + length.unwrap_or(0));
        }
    }
    String::from_utf8(answer).unwrap()
}

/// All that comes until the end, and how that comes: cleanly or not.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, std::io::Result<()>) {
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it does not end");
    (all, read.map(drop))
}

pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_default().1
}
