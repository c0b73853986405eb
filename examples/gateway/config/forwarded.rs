//! `[forwarded]`: what upstreams are told about the way a request came.

use super::table::{Keys, Table};

/// `[forwarded]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// X-Forwarded-For, -Proto and -Host.
    pub(crate) x_forwarded: bool,
    /// RFC 7239.
    pub(crate) forwarded: bool,
    /// RFC 9440.
    pub(crate) client_cert: bool,
    /// RFC 9110, section 7.6.3.
    pub(crate) via: bool,
}

impl Table for Forwarded {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Forwarded {
            x_forwarded: keys.or::<bool>("x_forwarded", true, "X-Forwarded-For, -Proto and -Host to upstreams"),
            forwarded: keys.or::<bool>("forwarded", false, "Forwarded (RFC 7239) to upstreams"),
            client_cert: keys.or::<bool>(
                "client_cert",
                false,
                "Client-Cert (RFC 9440) to upstreams: the certificate that a client has shown",
            ),
            via: keys.or::<bool>("via", true, "Via to upstreams and clients"),
        })
    }
}
