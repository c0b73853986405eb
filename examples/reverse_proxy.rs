//! A reverse proxy in twenty lines: two routes, each to an upstream with servers of its own.
//!
//! `cargo run --example reverse_proxy -- 127.0.0.1:3001 127.0.0.1:3002`, then `curl -i http://127.0.0.1:8080/api/users`.

use tower::ServiceBuilder;
use tower_gateway::BoxError;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::proxy::ProxyService;
use tower_gateway::request_id::RequestIdLayer;
use tower_gateway::route::{Route, Router};
use tower_gateway::serve::{Server, ServerHandle};
use tower_gateway::strict::StrictLayer;
use tower_gateway::upstream::{Client, Upstream};

fn start(listen: &str, api: &str, web: &str) -> Result<ServerHandle, BoxError> {
    let (api, web) = (Upstream::new([format!("http://{api}")])?, Upstream::new([format!("http://{web}")])?);
    let (api_route, web_route) = (Route::prefix("/api")?.name("api"), Route::prefix("/")?.name("web"));
    let server = Server::bind([listen.parse()?])?;
    // Once for each worker, with connections of its own.
    Ok(server.start(move |_| {
        let to = |upstream: &Upstream| ProxyService::new(Client::new(upstream.clone()));
        let router = Router::new([(api_route.clone(), to(&api)), (web_route.clone(), to(&web))]);
        ServiceBuilder::new()
            .layer(ClientIpLayer::new())
            .layer(RequestIdLayer::new())
            .layer(StrictLayer::new())
            .service(router)
    })?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut origins = std::env::args().skip(1);
    let (Some(api), Some(web)) = (origins.next(), origins.next()) else { return Err("name two origins".into()) };
    let server = start("127.0.0.1:8080", &api, &web)?;
    tower_gateway::serve::shutdown_signal()?.await;
    server.drain(std::time::Duration::from_secs(30)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::Router as App;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn origin(name: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, App::new().fallback(move || async move { name })).await });
        address
    }

    #[tokio::test]
    async fn each_path_goes_to_its_upstream() {
        let server = start("127.0.0.1:0", &origin("api").await, &origin("web").await).unwrap();
        for (path, said) in [("/api/users", "api"), ("/apis", "web"), ("/", "web")] {
            let mut client = tokio::net::TcpStream::connect(server.local_addrs()[0]).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(said), "{answer}");
        }
    }
}
