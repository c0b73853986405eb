use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;

/// The certificate that a client has proved to hold, in the handshake of its connection. As cheap to clone as an `Arc`.
///
/// It exists only once it is verified: signed by an authority that the server trusts for this, for clients, and valid at
/// the time.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate(Arc<Parts>);

/// What a certificate says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) der: Bytes,
    pub(crate) field: HeaderValue,
    pub(crate) subject: Box<str>,
    pub(crate) common_name: Option<Box<str>>,
    pub(crate) dns_names: Vec<Box<str>>,
    pub(crate) uris: Vec<Box<str>>,
    pub(crate) emails: Vec<Box<str>>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) not_after: SystemTime,
    pub(crate) fingerprint: [u8; 32],
}

impl ClientCertificate {
    #[cfg(feature = "tls")]
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Whom it was made out to, as text (RFC 4514): `CN=orders,O=Example`. Empty where only the alternative names say it.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The last common name of the subject.
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The alternative names that are host names (RFC 5280 section 4.2.1.6).
    pub fn dns_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.dns_names.iter().map(|name| &**name)
    }

    /// The alternative names that are URIs, a SPIFFE id for one.
    pub fn uris(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.uris.iter().map(|uri| &**uri)
    }

    /// The alternative names that are mail addresses.
    pub fn emails(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.emails.iter().map(|email| &**email)
    }

    /// The alternative names that are addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.0.addresses
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// The SHA-256 of the certificate: what tells it from any other.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.0.fingerprint
    }

    /// The value of `Client-Cert` that tells an origin of it (RFC 9440 section 2.1).
    pub fn as_header_value(&self) -> &HeaderValue {
        &self.0.field
    }

    /// The certificate itself, in DER.
    pub fn der(&self) -> &Bytes {
        &self.0.der
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("subject", &self.subject()).finish_non_exhaustive()
    }
}
