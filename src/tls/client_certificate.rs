use bytes::Bytes;
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
        let (fingerprint, der) = (Sha256::digest(der).into(), Bytes::copy_from_slice(der));
        let parts =
            CertificateParts { der, subject, common_name, dns_names, uris, emails, addresses, not_after, fingerprint };
        Ok(Self::new(parts))
    }
}
