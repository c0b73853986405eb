//! Layers on bare hyper, without a framework: ids, strict requests and response times around one function.
//!
//! `cargo run --example bare_hyper`, then `curl -i http://127.0.0.1:3000/`.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::{Service, ServiceBuilder, service_fn};
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::strict::StrictLayer;
use tower_gateway::transform::TransformLayer;

/// What serves the connections of one peer.
fn stack<B: Send + 'static>(
    peer: SocketAddr,
) -> impl Service<
    Request<B>,
    Response = Response<impl Body<Data = Bytes, Error = Infallible> + Send>,
    Error = Infallible,
    Future: Send,
> + Clone {
    ServiceBuilder::new()
        .map_request(move |mut request: Request<B>| {
            // So that it is known who is asking.
            request.extensions_mut().insert(peer);
            request
        })
        .layer(ClientIpLayer::new())
        .layer(RequestIdLayer::new())
        .layer(TransformLayer::new().response_time(true))
        .layer(StrictLayer::new())
        .service(service_fn(hello))
}

async fn hello<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(format!("this is {}\n", request.uri().path()).into()))
}

async fn serve(listener: tokio::net::TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = TowerToHyperService::new(stack::<Incoming>(peer));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn requests_are_answered_with_an_id_and_paths_in_one_form() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(serve(listener));
        client.write_all(b"GET /a/%2e./b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nthis is /b\n"), "{answer}");
        assert!(answer.contains("\r\nx-request-id: ") && answer.contains("\r\nx-response-time: "), "{answer}");
    }
}
