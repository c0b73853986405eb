//! TLS, the PROXY protocol and redirects, as clients of the library's server meet them.

mod support;

#[path = "tls/clients.rs"]
mod clients;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/opening.rs"]
mod opening;
#[path = "tls/server.rs"]
mod server;
