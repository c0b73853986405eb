//! `tls` of a listener and of an upstream: certificates, keys and authorities, which are read with the file and watched
//! like it.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;
use tower_gateway::tls::{CertificateKey, ClientAuth, ClientTls, Roots, TlsError};

use super::duration::PositiveDuration;
use super::file::FileText;
use super::forms::{Locate, Located, NonEmpty};
use super::schema;
use super::table::{Keys, Table};
use super::value::{Form, Value};
use super::word::{Choice, Word};

/// A certificate that expires sooner than this should have been renewed.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerTls {
    /// Never empty.
    pub(crate) certificates: Vec<CertificateKey>,
    pub(crate) client_auth: ClientAuth,
}

/// `tls` of an upstream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct UpstreamTls {
    /// Absent: whom this machine trusts.
    pub(crate) roots: Option<Roots>,
    pub(crate) certificate: Option<CertificateKey>,
    /// Absent: the host of each server's URL.
    pub(crate) server_name: Option<String>,
    /// Absent: what is left of the connect_timeout.
    pub(crate) handshake_timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum AskClients {
    None,
    Optional,
    Required,
}

/// One of the `certificates`.
struct Pair(CertificateKey);

impl Table for ListenerTls {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let certificates = keys.required::<NonEmpty<Pair>>(
            "certificates",
            "what clients are shown, by the name they ask for; the first to those who ask for none of these",
        );
        let ca = keys.optional::<Locate<FileText>>("client_ca", "the authorities of clients' certificates, in PEM");
        let asked = keys.or::<Word<AskClients>>("client_auth", "none", "whether clients have to show a certificate");
        let roots = read_roots(keys, ca.as_ref());
        let client_auth = match (asked, ca.is_some(), roots) {
            (AskClients::None, has_ca, _) => {
                if has_ca {
                    let message = format!(
                        "[{}] has a client_ca and asks no client for a certificate; write client_auth = \"required\" or \"optional\"",
                        keys.path
                    );
                    keys.reader.warn(&keys.at, &keys.path, message);
                }
                Some(ClientAuth::None)
            }
            (AskClients::Optional, true, roots) => roots.map(ClientAuth::Optional),
            (AskClients::Required, true, roots) => roots.map(ClientAuth::Required),
            (_, false, _) => {
                if keys.are_sound_here(&["client_ca"]) {
                    let expects = "the path of a file with the authorities that clients' certificates are signed by";
                    keys.reader.missing(&keys.at, &keys.path, "client_ca", expects);
                }
                None
            }
        };
        Some(ListenerTls {
            certificates: certificates?.into_iter().map(|pair| pair.0).collect(),
            client_auth: client_auth?,
        })
    }
}

impl Table for UpstreamTls {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let ca = keys.optional::<Locate<FileText>>("ca", "who is trusted, in PEM; absent: whom this machine trusts");
        let cert =
            keys.optional::<Locate<FileText>>("cert", "the gateway's own certificate, for servers that ask for one");
        let key = keys.optional::<Locate<FileText>>("key", "its key, in PEM without a passphrase");
        let server_name = keys.optional::<ServerName>(
            "server_name",
            "the name that servers are asked for, and that their certificates have to be for; absent: the host of the URL",
        );
        let handshake_timeout = keys.optional::<PositiveDuration>(
            "handshake_timeout",
            "how long a handshake may take; absent: what is left of connect_timeout",
        );
        let roots = read_roots(keys, ca.as_ref());
        for (one, other) in [("cert", "key"), ("key", "cert")] {
            if keys.has(one) && !keys.has(other) {
                keys.reader.missing(&keys.at, &keys.path, other, "the path of a file");
            }
        }
        let certificate = match (&cert, &key) {
            (Some(cert), Some(key)) => read_pair(keys, cert, key),
            _ => None,
        };
        let is_sound = keys.are_sound_here(&["ca", "cert", "key", "server_name"]);
        is_sound.then_some(UpstreamTls { roots, certificate, server_name, handshake_timeout })
    }
}

/// Whether a certificate can be for this host of a URL.
pub(super) fn is_server_name(host: Option<&str>) -> bool {
    host.is_some_and(|host| ClientTls::new().server_name(host).is_ok())
}

/// What a certificate can be for.
struct ServerName;

impl Form for ServerName {
    type Output = String;

    fn expects() -> String {
        r#"a host name such as "users.internal", or an address"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        value.parsed::<Self, _>(|name| is_server_name(Some(name)).then(|| name.to_owned()))
    }

    fn schema() -> Json {
        schema::string(&["users.internal"])
    }
}

impl Choice for AskClients {
    const BUILT: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Table for Pair {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let cert =
            keys.required::<Locate<FileText>>("cert", "the certificate, those of its authorities behind it, in PEM");
        let key = keys.required::<Locate<FileText>>("key", "its key, in PEM without a passphrase");
        read_pair(keys, &cert?, &key?).map(Pair)
    }
}

/// The authorities in a file.
pub(super) fn read_roots(keys: &Keys<'_>, file: Option<&Located<String>>) -> Option<Roots> {
    let file = file?;
    Roots::from_pem(file.value.as_bytes()).map_err(|error| fault(keys, file, &error)).ok()
}

/// A certificate and a key that belong together, and whose time has come and is not over.
pub(super) fn read_pair(keys: &Keys<'_>, cert: &Located<String>, key: &Located<String>) -> Option<CertificateKey> {
    let pair = match CertificateKey::from_pem(cert.value.as_bytes(), key.value.as_bytes()) {
        Ok(pair) => pair,
        Err(error) => {
            let is_of_key =
                matches!(error, TlsError::NoKey | TlsError::EncryptedKey | TlsError::Key(_) | TlsError::Mismatch);
            fault(keys, if is_of_key { key } else { cert }, &error);
            return None;
        }
    };
    let now = SystemTime::now();
    if let Err(error) = pair.check_time(now) {
        fault(keys, cert, &error);
        return None;
    }
    if let Err(error) = pair.check_time(now + SOON) {
        keys.reader.warn(&cert.at, &cert.path, format!("{}: within a week {error}; renew it", cert.path));
    }
    Some(pair)
}

fn fault(keys: &Keys<'_>, file: &Located<String>, error: &dyn fmt::Display) {
    keys.reader.fault(&file.at, &file.path, format!("{}: {error}", file.path));
}
