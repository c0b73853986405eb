use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use super::TlsError;
use super::x509::X509;
use crate::ClientCertificate;
use crate::context::CertificateParts;

impl ClientCertificate {
    /// The certificate that a server of your own has verified, to be put into a request's
    /// [`Connection`](crate::Connection).
    ///
    /// # Errors
    ///
    /// [`TlsError::Certificate`] when it is none.
    pub fn of_verified(der: &[u8]) -> Result<Self, TlsError> {
        let X509 { subject, common_name, dns_names, uris, emails, addresses, not_after, .. } = X509::read(der)?;
        let not_after = not_after.to_system_time();
        // A byte sequence of a structured field (RFC 8941 section 3.3.5).
        let field = HeaderValue::try_from(format!(":{}:", STANDARD.encode(der)));
        Ok(Self::new(CertificateParts {
            field: field.map_err(|error| TlsError::Certificate(error.to_string()))?,
            fingerprint: Sha256::digest(der).into(),
            der: Bytes::copy_from_slice(der),
            subject,
            common_name,
            dns_names,
            uris,
            emails,
            addresses,
            not_after,
        }))
    }
}
