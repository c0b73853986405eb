//! Which certificate a client is shown (RFC 6066 section 3, RFC 6125 section 6.4).

use std::collections::HashMap;
use std::sync::Arc;

use super::CertificateKey;
use super::rustls::SignatureScheme;
use super::rustls::server::{ClientHello, ResolvesServerCert};
use super::rustls::sign::CertifiedKey;

/// Certificates by the names that they are for.
///
/// A name that is asked for finds the certificates that have it as it is, else those that have it with `*` for its first
/// label. A client that asks for no name, or for one that no certificate has, is shown the first certificate of all: it
/// will judge by itself. Of several for one name (an ECDSA and an RSA one) the first whose signature the client can verify.
#[derive(Debug)]
pub(super) struct BySni {
    names: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl BySni {
    /// `None` when there is no certificate.
    pub(super) fn new(certificates: &[CertificateKey]) -> Option<Self> {
        let first = certificates.first()?;
        let mut names = HashMap::<Box<str>, Vec<_>>::new();
        for certificate in certificates {
            for name in certificate.names() {
                names.entry(name.to_ascii_lowercase().into()).or_default().push(certificate.certified.clone());
            }
        }
        // The same name with a key of another kind will do where this one does not.
        let of_first = first.names().next().and_then(|name| names.get(&*name.to_ascii_lowercase())).cloned();
        let mut default = vec![first.certified.clone()];
        default.extend(of_first.into_iter().flatten().filter(|other| !Arc::ptr_eq(other, &first.certified)));
        Some(Self { names, default })
    }

    /// Those for `name`, which is in lower case as rustls gives it.
    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let exact = name.and_then(|name| self.names.get(name));
        // One label, and a whole one: `*.example.com` is neither `example.com` nor `a.b.example.com`.
        let wildcard = || {
            let (_, parent) = name?.split_once('.')?;
            self.names.get(&*format!("*.{parent}"))
        };
        exact.or_else(wildcard).unwrap_or(&self.default)
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let certificates = self.of(name);
        let verifiable = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        certificates.iter().find(verifiable).or(certificates.first()).cloned()
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
