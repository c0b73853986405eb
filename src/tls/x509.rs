//! What a certificate says (RFC 5280), as far as it is asked here.

use std::net::IpAddr;
use std::time::SystemTime;

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::time::Time;

use super::TlsError;

/// A certificate that was read.
#[derive(Debug)]
pub(super) struct X509 {
    pub(super) subject: Box<str>,
    pub(super) common_name: Option<Box<str>>,
    pub(super) dns_names: Vec<Box<str>>,
    pub(super) uris: Vec<Box<str>>,
    pub(super) emails: Vec<Box<str>>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) not_before: Time,
    pub(super) not_after: Time,
}

impl X509 {
    pub(super) fn read(der: &[u8]) -> Result<Self, TlsError> {
        let unreadable = |error: x509_cert::der::Error| TlsError::Certificate(error.to_string());
        let certificate = Certificate::from_der(der).map_err(unreadable)?;
        let certificate = certificate.tbs_certificate();
        let names = match certificate.get_extension::<SubjectAltName>().map_err(unreadable)? {
            Some((_critical, names)) => names.0,
            None => Vec::new(),
        };
        let subject = certificate.subject();
        let mut read = Self {
            subject: subject.to_string().into(),
            common_name: last_common_name(subject),
            dns_names: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            addresses: Vec::new(),
            not_before: certificate.validity().not_before,
            not_after: certificate.validity().not_after,
        };
        for name in &names {
            match name {
                GeneralName::DnsName(name) => read.dns_names.push(name.as_str().into()),
                GeneralName::UniformResourceIdentifier(uri) => read.uris.push(uri.as_str().into()),
                GeneralName::Rfc822Name(email) => read.emails.push(email.as_str().into()),
                GeneralName::IpAddress(address) => read.addresses.extend(address_of(address.as_bytes())),
                _ => {}
            }
        }
        Ok(read)
    }

    /// An error outside of the time that it is valid in.
    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), TlsError> {
        if self.not_after.to_system_time() < now {
            return Err(TlsError::Expired(self.not_after.to_string()));
        }
        if self.not_before.to_system_time() > now {
            return Err(TlsError::NotYetValid(self.not_before.to_string()));
        }
        Ok(())
    }
}

/// The most specific of them (RFC 4514 writes it first, DER has it last).
fn last_common_name(subject: &x509_cert::name::Name) -> Option<Box<str>> {
    let values = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let name = values.last()?.value.decode_as::<DirectoryString>().ok()?;
    Some(name.value().into_owned().into())
}

fn address_of(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}
