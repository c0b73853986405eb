//! A key extractor of one's own: tenants are told apart by the first label of the host.
//!
//! `cargo run --example rate_limit_key`

use std::convert::Infallible;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::rate_limit::{Key, Limit, Quota, RateLimitLayer};
use tower_gateway::{BoxError, Head};

/// `acme` of `acme.example.com`, in any case.
fn tenant<'a>(head: &Head<'a>) -> Option<std::borrow::Cow<'a, [u8]>> {
    let host = head.headers().get("host")?.to_str().ok()?;
    let (tenant, _) = host.split_once('.')?;
    Some(tenant.to_ascii_lowercase().into_bytes().into())
}

/// The status that a request to each of these hosts gets, one after the other.
async fn statuses(hosts: &[&str]) -> Result<Vec<u16>, BoxError> {
    let limit = Limit::new("per_tenant", Quota::per_hour(2)).key(Key::custom(tenant).and(Key::method()));
    let layer = RateLimitLayer::new([limit]);
    let app = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("hello"))));
    let mut statuses = Vec::new();
    for host in hosts {
        let request = Request::builder().header("host", *host).body(())?;
        statuses.push(app.clone().oneshot(request).await?.status().as_u16());
    }
    Ok(statuses)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    println!(
        "{:?}",
        statuses(&["acme.example.com", "other.example.com", "acme.example.com", "acme.example.com"]).await?
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn each_tenant_has_its_own_quota_and_a_host_without_one_is_refused() {
        let hosts = ["acme.example.com", "ACME.example.com", "acme.example.com", "other.example.com", "localhost"];
        assert_eq!(super::statuses(&hosts).await.unwrap(), [200, 200, 429, 200, 400]);
    }
}
