//! TLS, by rustls: certificates by the name that a client asks for, client certificates, and who is trusted.
//!
//! [`ServerTls`] is what a [`Listener`](crate::serve::Listener) speaks, [`ClientTls`] what an
//! [`Upstream`](crate::upstream::Upstream) speaks to its `https://` servers.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_gateway::serve::{Listener, Server};
//! use tower_gateway::tls::{CertificateKey, ClientAuth, Roots, ServerTls};
//!
//! let pair = |name: &str| -> Result<CertificateKey, Box<dyn std::error::Error>> {
//!     let (cert, key) = (std::fs::read(format!("{name}.pem"))?, std::fs::read(format!("{name}.key"))?);
//!     Ok(CertificateKey::from_pem(&cert, &key)?)
//! };
//! let tls = ServerTls::builder([pair("example.com")?, pair("example.org")?])
//!     .client_auth(ClientAuth::Optional(Roots::from_pem(&std::fs::read("clients.pem")?)?))
//!     .build()?;
//! let server = Server::listen([Listener::new("0.0.0.0:8443".parse()?).tls(tls.clone())])?;
//! # let _ = server;
//!
//! // A renewed certificate takes over for the connections that come; those that are there go on.
//! tls.replace(&ServerTls::builder([pair("example.com")?]).build()?);
//! # Ok(())
//! # }
//! ```
//!
//! # What is spoken
//!
//! TLS 1.3 and 1.2, with the cipher suites that rustls offers: all of them with forward secrecy and authenticated
//! encryption. What is older is refused with an alert. There is no renegotiation, no compression and no early data.
//! The cryptography is aws-lc-rs, by name: a provider that the process has installed is neither used nor needed.
//!
//! Sessions are resumed: by tickets, whose keys live in this process and are renewed every six hours, and for clients
//! of TLS 1.2 that have none, by ids of which each listener remembers the last 1,024. A ticket is good where the same
//! client authorities are trusted and nowhere else, so that no client comes in by one that its certificate would not
//! open; and a certificate that has expired meanwhile does not count.

mod certificate;
mod client;
mod client_certificate;
mod error;
mod roots;
mod server;
mod sni;
mod x509;

pub use self::certificate::CertificateKey;
pub use self::client::ClientTls;
#[cfg(feature = "upstream")]
pub(crate) use self::client::{PreparedTls, server_name};
pub use self::error::TlsError;
pub use self::roots::Roots;
#[cfg(feature = "serve")]
pub(crate) use self::server::client_certificate;
pub use self::server::{ClientAuth, ServerTls, ServerTlsBuilder};
pub use tokio_rustls::rustls;

use std::sync::Arc;

use self::rustls::crypto::{CryptoProvider, aws_lc_rs};

/// With a provider that is named: rustls has none of its own where two are compiled in.
fn default_provider() -> Arc<CryptoProvider> {
    use std::sync::LazyLock;
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
