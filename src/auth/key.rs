//! A key that verifies signatures of one algorithm, and nothing else.

mod edwards;
mod jwk;
mod jwk_set;
mod pem;
mod provider;
mod rsa;

pub use self::jwk_set::KeySetError;

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::DecodingKey;

use self::provider::ProvidedKey;
use super::algorithm::{Algorithm, Family};
use super::jws::{Fault, Jws};
use super::keys::KeySet;

pub(super) use self::jwk_set::read_set;

/// A key that is not taken: weak, malformed, or for something else. Each says why and what would be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Shorter than the hash (RFC 7518 section 3.2).
    #[error(
        "the secret is {length} bytes long, and {algorithm} needs at least {needed}: it would be the easier to guess"
    )]
    ShortSecret {
        /// What it is for.
        algorithm: Algorithm,
        /// How long it is, in bytes.
        length: usize,
        /// How long it has to be, in bytes.
        needed: usize,
    },
    /// Of a size that is not safe, or more than is worth verifying.
    #[error("the RSA modulus has {bits} bits; it must have 2048 to {most}")]
    RsaSize {
        /// How many it has.
        bits: usize,
        /// How many the built-in provider takes.
        most: usize,
    },
    /// Even modulus or an exponent that makes forging easy, or verifying slow.
    #[error("the RSA modulus or exponent is not sound; the exponent must be odd, at least 65537 and below 2^33")]
    RsaNumbers,
    /// Made by a library whose keys can be factored (CVE-2017-15361).
    #[error("the RSA key has the ROCA fingerprint: its private half can be computed; make another with another tool")]
    RsaRoca,
    /// Not a point on the algorithm's curve, or one of small order.
    #[error("the key is no point of the curve that {0} is for")]
    NoPoint(Algorithm),
    /// Of another kind or curve than the algorithm.
    #[error("the key is of another kind or curve than {0} is for")]
    WrongKind(Algorithm),
    /// `use`, `key_ops` or `alg` of the JWK say that it is for something else.
    #[error("the JWK's own {0:?} says that it is not for this")]
    WrongUse(&'static str),
    /// A JWK that is not well-formed, or holds a private key.
    #[error("the JWK is not well-formed: {0}")]
    Jwk(&'static str),
    /// A PEM file with something else than one public key.
    #[error("no public key can be read from the PEM text: {0}")]
    Pem(&'static str),
    /// Neither of the features that verify signatures is on.
    #[error("signatures cannot be verified in this build; switch on the feature `auth` or `auth-rust-crypto`")]
    NoProvider,
}

/// A public key or a shared secret, and the one algorithm that it verifies.
///
/// What could be weak or was meant for something else is refused here, when it is loaded, and not when a token comes.
///
/// ```
/// use tower_gateway::auth::{Algorithm, Key, KeyError};
///
/// let key = Key::secret(Algorithm::Hs256, [7; 32])?.with_id("2026-11");
/// assert_eq!(key.algorithm(), Algorithm::Hs256);
/// assert!(Key::secret(Algorithm::Hs256, "secret").is_err(), "shorter than the hash");
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone)]
pub struct Key(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    algorithm: Algorithm,
    id: Option<Box<str>>,
    key: ProvidedKey,
    signature_length: usize,
}

impl Key {
    /// A secret shared with whoever makes the tokens.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when `algorithm` is not HMAC, or the secret is shorter than its hash.
    pub fn secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let secret = secret.as_ref();
        let needed = algorithm.hash_length();
        match algorithm.family() {
            Family::Hmac if secret.len() < needed => {
                Err(KeyError::ShortSecret { algorithm, length: secret.len(), needed })
            }
            Family::Hmac => Ok(Self::of(algorithm, ProvidedKey::secret(algorithm, secret)?, needed)),
            _ => Err(KeyError::WrongKind(algorithm)),
        }
    }

    /// A public key in PEM: `PUBLIC KEY` (RFC 7468 section 13), or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when it is not one for `algorithm`, or weak.
    pub fn pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        pem::read(algorithm, pem)
    }

    /// A JWK (RFC 7517) as JSON. Its own `alg`, `use` and `key_ops` must not say that it is for something else.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when it is not one for `algorithm`, or weak.
    pub fn jwk(algorithm: Algorithm, jwk: &str) -> Result<Self, KeyError> {
        jwk::read(algorithm, jwk)
    }

    /// The same key, for tokens whose `kid` is this one or absent.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Box<str>>) -> Self {
        Arc::make_mut(&mut self.0).id = Some(id.into());
        self
    }

    /// What it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// Its `kid`.
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// Checks a signature, and gives the payload it is for: bytes, which may be anything. This is the very check that the
    /// layer makes before it reads claims.
    ///
    /// # Errors
    ///
    /// [`Fault`] says what is wrong with the token.
    pub fn verify(&self, token: &str) -> Result<Vec<u8>, Fault> {
        KeySet::from(self.clone()).verify(token)
    }

    pub(super) fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (rsa::trim(modulus), rsa::trim(exponent));
        match algorithm.family() {
            Family::Rsa => rsa::check(modulus, exponent)?,
            _ => return Err(KeyError::WrongKind(algorithm)),
        }
        Self::new(algorithm, DecodingKey::from_rsa_raw_components(modulus, exponent), modulus.len())
    }

    /// From an uncompressed point (SEC 1 section 2.3.3).
    pub(super) fn ec(algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        let coordinate = algorithm.hash_length();
        match algorithm.family() {
            Family::Ec if point.len() != 1 + 2 * coordinate || point[0] != 4 => Err(KeyError::NoPoint(algorithm)),
            Family::Ec => {
                provider::check_point(algorithm, point)?;
                Self::new(algorithm, DecodingKey::from_ec_der(point), 2 * coordinate)
            }
            _ => Err(KeyError::WrongKind(algorithm)),
        }
    }

    pub(super) fn ed(algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        match algorithm.family() {
            Family::Ed if !edwards::is_sound(point) => Err(KeyError::NoPoint(algorithm)),
            Family::Ed => Self::new(algorithm, DecodingKey::from_ed_der(point), 64),
            _ => Err(KeyError::WrongKind(algorithm)),
        }
    }

    fn new(algorithm: Algorithm, key: DecodingKey, signature_length: usize) -> Result<Self, KeyError> {
        Ok(Self::of(algorithm, ProvidedKey::new(algorithm, key)?, signature_length))
    }

    fn of(algorithm: Algorithm, key: ProvidedKey, signature_length: usize) -> Self {
        Self(Arc::new(Parts { algorithm, id: None, key, signature_length }))
    }

    /// True when the signature is this key's. Its length is checked first: an algorithm has one, and every other spelling
    /// of the same numbers (DER, leading zeros) is none.
    pub(super) fn has_signed(&self, jws: &Jws<'_>) -> bool {
        let signature = jws.signature();
        signature.len() == self.0.signature_length && self.0.key.has_signed(jws.signing_input(), signature)
    }
}

/// Without the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.0.algorithm).field("id", &self.0.id).finish_non_exhaustive()
    }
}
