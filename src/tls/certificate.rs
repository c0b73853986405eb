//! A certificate and its key.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::rustls::Error;
use super::rustls::InconsistentKeys;
use super::rustls::crypto::CryptoProvider;
use super::rustls::pki_types::pem::{self, PemObject};
use super::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use super::rustls::sign::CertifiedKey;
use super::x509::X509;
use super::{TlsError, default_provider};

/// What a server or a client shows: its certificate, those of the authorities between it and a root, and its key.
#[derive(Clone)]
pub struct CertificateKey {
    pub(super) certified: Arc<CertifiedKey>,
    read: Arc<X509>,
    /// Whether another is the same. Of the key it says nothing: where the certificate is the same, the key is.
    chain: Arc<[CertificateDer<'static>]>,
}

impl CertificateKey {
    /// A chain, with the own certificate first, and its key, as PKCS#8, PKCS#1 or SEC1; both in PEM.
    ///
    /// Whether their time has come, or is over, is not asked here: see [`check_time`](Self::check_time).
    ///
    /// # Errors
    ///
    /// [`TlsError`] where one of them cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::from_pem_with(&default_provider(), chain, key)
    }

    /// The same with the cryptography of another provider.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem).
    pub fn from_pem_with(provider: &CryptoProvider, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = provider.key_provider.load_private_key(private_key(key)?).map_err(TlsError::Key)?;
        let read = X509::read(chain.first().ok_or(TlsError::NoCertificate)?)?;
        let certified = CertifiedKey::new(chain.clone(), key);
        match certified.keys_match() {
            // A key that does not tell its public half cannot be compared.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(TlsError::Mismatch),
            Err(error) => return Err(TlsError::Certificate(error.to_string())),
        }
        Ok(Self { certified: Arc::new(certified), read: Arc::new(read), chain: chain.into() })
    }

    /// An error where `now` is outside of the time that the certificate is valid in.
    ///
    /// # Errors
    ///
    /// [`TlsError::Expired`] and [`TlsError::NotYetValid`].
    pub fn check_time(&self, now: SystemTime) -> Result<(), TlsError> {
        self.read.check_time(now)
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.read.not_after.to_system_time()
    }

    /// The host names it is for, some with a `*` for their first label. Of a certificate without alternative names, which
    /// clients of today do not accept, the common name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let common_name = self.read.common_name.as_deref().filter(|_| self.read.dns_names.is_empty());
        self.read.dns_names.iter().map(|name| &**name).chain(common_name)
    }
}

impl PartialEq for CertificateKey {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Eq for CertificateKey {}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateKey").field("subject", &self.read.subject).finish_non_exhaustive()
    }
}

/// All certificates in a text, at least one.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|error| TlsError::Pem(error.to_string()))?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => {
            let encrypted = |text: &[u8]| text.windows(9).any(|part| part == b"ENCRYPTED");
            Err(if encrypted(text) { TlsError::EncryptedKey } else { TlsError::NoKey })
        }
        Err(error) => Err(TlsError::Pem(error.to_string())),
    }
}
