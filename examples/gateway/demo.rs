//! What the gateway shows when it is given no file: an origin inside this process, and commands to try.

mod origin;
mod token;
mod tour;

use std::net::SocketAddr;
use std::path::Path;

use tower_gateway::BoxError;

use crate::config::{Config, Faults, Loaded};

const CONFIG: &str = include_str!("gateway.toml");

/// The demo's origin, running.
pub(crate) struct Demo {
    origin: SocketAddr,
    /// What the demo's tokens are signed with.
    secret: String,
}

impl Demo {
    /// Starts the origin on a free port of this machine alone.
    pub(crate) fn start(control: &tokio::runtime::Runtime) -> Result<Self, BoxError> {
        let listener = control.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let origin = listener.local_addr()?;
        control.spawn(async move { axum::serve(listener, origin::app()).await });
        Ok(Self { origin, secret: token::secret()? })
    }

    /// The demo's configuration: the file beside this one, with the origin's address in it.
    pub(crate) fn config(&self) -> Result<Loaded, Faults> {
        let origin = self.origin.to_string();
        let variables = |name: &str| match name {
            "DEMO_UPSTREAM" => Some(origin.clone()),
            "DEMO_SECRET" => Some(self.secret.clone()),
            _ => std::env::var(name).ok(),
        };
        Config::parse(CONFIG, "gateway.toml", Path::new("."), &variables)
    }

    /// What to try with a gateway that listens here.
    pub(crate) fn tour(&self, gateway: SocketAddr) -> String {
        format!(
            "the demo's origin is http://{}\n\n{}",
            self.origin,
            tour::text(&Self::names_for(gateway, &self.secret))
        )
    }

    /// What the names in the tour's commands stand for.
    fn names_for(gateway: SocketAddr, secret: &str) -> Vec<(&'static str, String)> {
        vec![
            ("gateway", format!("http://{gateway}")),
            ("token", token::with_scope("me:read", secret)),
            ("token_without_scope", token::with_scope("other", secret)),
        ]
    }
}
