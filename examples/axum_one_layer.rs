//! One layer on an axum app: `/admin` for the office alone.
//!
//! `cargo run --example axum_one_layer`, then `curl -i http://127.0.0.1:3000/admin`.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::ip_filter::{CidrError, CidrSet, IpFilterLayer};

fn app() -> Result<Router, CidrError> {
    let office = CidrSet::parse(["192.0.2.0/24", "127.0.0.0/8"])?;
    let admin = Router::new().route("/admin", get("hello, colleague\n")).layer(IpFilterLayer::new().allow(office));
    // The layer that comes last is met first: who the client is must be known by then.
    Ok(Router::new().route("/", get("hello\n")).merge(admin).layer(ClientIpLayer::new()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    // With the feature `axum` this is how the peer's address is known.
    Ok(axum::serve(listener, app()?.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn only_the_office_sees_the_admin_page() {
        for (peer, path, status) in
            [([192, 0, 2, 7], "/admin", 200), ([198, 51, 100, 7], "/admin", 403), ([198, 51, 100, 7], "/", 200)]
        {
            let peer = ConnectInfo(SocketAddr::from((peer, 4711)));
            let request = Request::get(path).extension(peer).body(Body::empty()).unwrap();
            assert_eq!(app().unwrap().oneshot(request).await.unwrap().status(), status, "{path}");
        }
    }
}
