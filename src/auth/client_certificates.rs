//! Certificates of clients as credentials.

use std::fmt;
use std::sync::Arc;

use super::credential::{Credential, CredentialFault, Verdict};
use crate::{ClientCertificate, CredentialKind, Head, Identity};

type Identify = Arc<dyn Fn(&ClientCertificate) -> Option<Identity> + Send + Sync>;

/// The certificate that a client has shown when it connected, to a server that [asked](crate::Connection) for one.
///
/// The server has verified it; here it is turned into an [`Identity`]. Unless you say otherwise its subject is the
/// certificate's common name, else its first URI (a SPIFFE id for one), host name or mail address; its key id is the SHA-256 of
/// the certificate, in hexadecimal digits.
///
/// ```
/// use tower_gateway::auth::{AuthLayer, ClientCertificates};
/// use tower_gateway::{CredentialKind, Identity};
///
/// let any = AuthLayer::new(ClientCertificates::new());
/// let services = AuthLayer::new(ClientCertificates::identified_by(|certificate| {
///     let id = certificate.uris().find_map(|uri| uri.strip_prefix("spiffe://example.com/"))?;
///     Some(Identity::builder(CredentialKind::ClientCertificate).subject(id).roles(["service"]).build())
/// }));
/// ```
#[derive(Clone)]
pub struct ClientCertificates(Identify);

impl ClientCertificates {
    /// Every certificate that the server has verified and that names somebody.
    pub fn new() -> Self {
        Self::identified_by(identity)
    }

    /// Those that `identify` knows, as it says. Others are refused.
    pub fn identified_by(identify: impl Fn(&ClientCertificate) -> Option<Identity> + Send + Sync + 'static) -> Self {
        Self(Arc::new(identify))
    }
}

impl Default for ClientCertificates {
    fn default() -> Self {
        Self::new()
    }
}

fn identity(certificate: &ClientCertificate) -> Option<Identity> {
    let subject = certificate
        .common_name()
        .or_else(|| certificate.uris().next())
        .or_else(|| certificate.dns_names().next())
        .or_else(|| certificate.emails().next())
        .filter(|subject| !subject.is_empty())?;
    let mut key_id = [0; 64];
    crate::hex::write(certificate.fingerprint(), &mut key_id);
    let key_id = std::str::from_utf8(&key_id).ok()?;
    Some(Identity::builder(CredentialKind::ClientCertificate).subject(subject).key_id(key_id).build())
}

impl Credential for ClientCertificates {
    fn authenticate(&self, head: &Head<'_>) -> Verdict {
        let connection = head.context().and_then(|context| context.connection());
        let Some(certificate) = connection.and_then(|connection| connection.client_certificate.as_ref()) else {
            return Verdict::Absent;
        };
        match (self.0)(certificate) {
            Some(identity) => Verdict::Accepted(identity),
            None => Verdict::Refused(CredentialFault::invalid("the client certificate is nobody's that is known")),
        }
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates").finish_non_exhaustive()
    }
}
