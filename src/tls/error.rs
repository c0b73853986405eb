use thiserror::Error;

use super::rustls;

/// Why a certificate, a key or an authority is of no use.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no certificate in a text that should hold some.
    #[error("there is no certificate in it; it has to be PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// There is no private key in a text that should hold one.
    #[error("there is no private key in it; it has to be PEM without a passphrase (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    /// A key that is protected by a passphrase.
    #[error("the private key is encrypted; store it without a passphrase, readable by the gateway alone")]
    EncryptedKey,
    /// No authority is trusted.
    #[error("this machine trusts no authority; install its certificates (ca-certificates), or name a file of them")]
    NoRoots,
    /// What stands between BEGIN and END cannot be read.
    #[error("it is not PEM: {0}")]
    Pem(String),
    /// What stands there is no certificate.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// A key of a kind, or of a size, that is not supported.
    #[error("the private key is of no use: {0}")]
    Key(rustls::Error),
    /// The key is another certificate's.
    #[error("the key is not that of the first certificate; a chain begins with the server's own")]
    Mismatch,
    /// The time of a certificate is over.
    #[error("the certificate expired on {0}")]
    Expired(String),
    /// The time of a certificate has not come.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(String),
    /// A server needs at least one.
    #[error("there is no certificate to show")]
    NoCertificates,
    /// Nothing that a certificate could be for.
    #[error("{0:?} is neither a host name nor an address")]
    ServerName(String),
    /// The settings do not go together.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error.to_string())
    }
}
