//! Public keys in PEM (RFC 7468): SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), and PKCS #1 for RSA (RFC 8017).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Key, KeyError};
use crate::auth::algorithm::{Algorithm, Family};

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.101.112 (RFC 8410)
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

const MALFORMED: KeyError = KeyError::Pem("its DER is malformed");

pub(super) fn read(algorithm: Algorithm, text: &str) -> Result<Key, KeyError> {
    let (label, der) = decode(text)?;
    match label {
        "PUBLIC KEY" => subject_public_key(algorithm, &der),
        "RSA PUBLIC KEY" if algorithm.family() == Family::Rsa => rsa_public_key(algorithm, &der),
        "RSA PUBLIC KEY" => Err(KeyError::WrongKind(algorithm)),
        "CERTIFICATE" => Err(KeyError::Pem("a certificate; extract its key with: openssl x509 -pubkey -noout")),
        label if label.ends_with("PRIVATE KEY") => {
            Err(KeyError::Pem("a private key; extract its public half with: openssl pkey -pubout"))
        }
        _ => Err(KeyError::Pem("the label is neither PUBLIC KEY nor RSA PUBLIC KEY")),
    }
}

/// The one block of the text.
fn decode(text: &str) -> Result<(&str, Vec<u8>), KeyError> {
    const NONE: KeyError = KeyError::Pem("there is no -----BEGIN PUBLIC KEY----- with its end");
    let (_, block) = text.split_once("-----BEGIN ").ok_or(NONE)?;
    let (label, rest) = block.split_once("-----").ok_or(NONE)?;
    let (body, rest) = rest.split_once("-----END ").ok_or(NONE)?;
    let rest = rest.strip_prefix(label).and_then(|rest| rest.strip_prefix("-----")).ok_or(NONE)?;
    if rest.contains("-----BEGIN ") {
        return Err(KeyError::Pem("there is more than one block; give each key a file"));
    }
    let body: String = body.chars().filter(|char| !char.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).map_err(|_| KeyError::Pem("its body is not base64"))?;
    Ok((label, der))
}

fn subject_public_key(algorithm: Algorithm, der: &[u8]) -> Result<Key, KeyError> {
    let mut info = Der(der).only(SEQUENCE)?;
    let mut identifier = Der(info.next(SEQUENCE)?);
    let kind = identifier.next(OBJECT_ID)?;
    let key = info.next(BIT_STRING)?;
    info.end()?;
    // Whole bytes: none of the last one's bits is unused.
    let Some((0, key)) = key.split_first().map(|(unused, key)| (*unused, key)) else { return Err(MALFORMED) };
    match (kind, algorithm) {
        (RSA_ENCRYPTION, _) if algorithm.family() == Family::Rsa => {
            if identifier.next(NULL)? != [0; 0] {
                return Err(MALFORMED);
            }
            identifier.end()?;
            rsa_public_key(algorithm, key)
        }
        (EC_PUBLIC_KEY, Algorithm::Es256 | Algorithm::Es384) => {
            let curve = identifier.next(OBJECT_ID)?;
            identifier.end()?;
            let own = if algorithm == Algorithm::Es256 { P256 } else { P384 };
            if curve == own { Key::ec(algorithm, key) } else { Err(KeyError::WrongKind(algorithm)) }
        }
        (ED25519, Algorithm::EdDsa) => {
            identifier.end()?;
            Key::ed(algorithm, key)
        }
        _ => Err(KeyError::WrongKind(algorithm)),
    }
}

fn rsa_public_key(algorithm: Algorithm, der: &[u8]) -> Result<Key, KeyError> {
    let mut numbers = Der(der).only(SEQUENCE)?;
    let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
    numbers.end()?;
    Key::rsa(algorithm, modulus, exponent)
}

/// What is left to read of an encoding (X.690), whose lengths are all definite and minimal.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which has to be of this tag.
    fn next(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let (&first, rest) = self.0.split_first().ok_or(MALFORMED)?;
        let (&short, rest) = rest.split_first().ok_or(MALFORMED)?;
        let (length, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            0x81 | 0x82 => {
                let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f)).ok_or(MALFORMED)?;
                let least = if short == 0x81 { 0x80 } else { 0x100 };
                let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                if length < least {
                    return Err(MALFORMED);
                }
                (length, rest)
            }
            _ => return Err(MALFORMED),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(MALFORMED)?;
        if first != tag {
            return Err(MALFORMED);
        }
        self.0 = rest;
        Ok(content)
    }

    /// The content of the only value.
    fn only(mut self, tag: u8) -> Result<Self, KeyError> {
        let content = self.next(tag)?;
        self.end()?;
        Ok(Self(content))
    }

    fn unsigned(&mut self) -> Result<&'a [u8], KeyError> {
        let number = self.next(INTEGER)?;
        // A first bit of 1 would make it negative.
        if number.first().is_none_or(|first| *first >= 0x80) { Err(MALFORMED) } else { Ok(number) }
    }

    fn end(&self) -> Result<(), KeyError> {
        if self.0.is_empty() { Ok(()) } else { Err(MALFORMED) }
    }
}
