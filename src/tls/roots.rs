//! Whose signatures are believed.

use std::fmt;
use std::sync::Arc;

use super::TlsError;
use super::certificate::certificates;
use super::rustls::RootCertStore;
use super::rustls::pki_types::CertificateDer;

/// Authorities that are trusted, and no others. Cloning it is cheap.
#[derive(Clone)]
pub struct Roots {
    pub(super) store: Arc<RootCertStore>,
    /// Whether others are the same.
    certificates: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    /// Those whose certificates stand in this text, in PEM.
    ///
    /// # Errors
    ///
    /// [`TlsError`] where there is none, or one cannot be read.
    pub fn from_pem(text: &[u8]) -> Result<Self, TlsError> {
        let certificates = certificates(text)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|error| TlsError::Certificate(error.to_string()))?;
        }
        Ok(Self { store: Arc::new(store), certificates: certificates.into() })
    }

    /// Those that this machine trusts. Files are read: not for a thread that others wait for.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRoots`] where it trusts none.
    pub fn of_this_machine() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs().certs;
        let mut store = RootCertStore::empty();
        // Stores hold certificates that are too old for rustls to read, and do well without them.
        store.add_parsable_certificates(found.iter().cloned());
        if store.is_empty() {
            return Err(TlsError::NoRoots);
        }
        Ok(Self { store: Arc::new(store), certificates: found.into() })
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Roots {}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("certificates", &self.certificates.len()).finish()
    }
}
