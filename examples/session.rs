//! A credential of your own beside tokens and keys: a session cookie. `cargo run --example session`, then
//!
//! ```sh
//! curl -i -H 'Cookie: session=s3cr3t' http://127.0.0.1:3000/me
//! curl -i http://127.0.0.1:3000/me
//! ```

use std::collections::HashMap;

use axum::Router;
use axum::routing::get;
use http::header::COOKIE;
use tower_gateway::auth::{AuthLayer, Credential, CredentialFault, Verdict};
use tower_gateway::{BoxError, CredentialKind, Head, Identity};

/// Sessions by their cookie. Yours are in a database: look them up in a [`Verdict::Pending`].
struct Sessions(HashMap<&'static str, &'static str>);

impl Credential for Sessions {
    fn authenticate(&self, head: &Head<'_>) -> Verdict {
        let cookies = head.headers().get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
        let Some((_, session)) = pairs.find(|(name, _)| *name == "session") else { return Verdict::Absent };
        match self.0.get(session) {
            Some(user) => Verdict::Accepted(Identity::builder(CredentialKind::Other("session")).subject(*user).build()),
            None => Verdict::Refused(CredentialFault::invalid("the session is over")),
        }
    }
}

async fn me(identity: Identity) -> String {
    format!("you are {}\n", identity.subject().unwrap_or("somebody"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let sessions = Sessions(HashMap::from([("s3cr3t", "alice")]));
    let app = Router::new().route("/me", get(me)).layer(AuthLayer::new(sessions));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
