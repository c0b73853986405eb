//! Whose arithmetic verifies: aws-lc-rs, or pure Rust. jsonwebtoken's process-wide choice is not asked, which panics when
//! there is none or two, and is the application's to make: the provider's own factory is.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier};

use super::KeyError;
use crate::auth::algorithm::Algorithm;

/// The most bits that an RSA modulus may have.
pub(super) const MAX_RSA_BITS: usize = if cfg!(feature = "auth") { 8192 } else { 4096 };

/// aws-lc-rs where both are there, since it is ten times as fast.
fn provider() -> Option<&'static CryptoProvider> {
    #[cfg(feature = "auth")]
    return Some(&jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER);
    #[cfg(all(feature = "auth-rust-crypto", not(feature = "auth")))]
    return Some(&jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER);
    #[cfg(not(any(feature = "auth", feature = "auth-rust-crypto")))]
    None
}

/// A key that a provider has taken.
#[derive(Clone)]
pub(super) enum ProvidedKey {
    /// aws-lc-rs' own, of which a key is made ready once, where jsonwebtoken's makes it ready for each token: forged ones with
    /// HMAC are what is cheapest to send.
    #[cfg(feature = "auth")]
    Hmac(Box<aws_lc_rs::hmac::Key>),
    Other(OtherKey),
}

#[derive(Clone)]
pub(super) struct OtherKey {
    provider: &'static CryptoProvider,
    algorithm: jsonwebtoken::Algorithm,
    key: DecodingKey,
}

impl ProvidedKey {
    pub(super) fn new(algorithm: Algorithm, key: DecodingKey) -> Result<Self, KeyError> {
        OtherKey::of(provider().ok_or(KeyError::NoProvider)?, algorithm, key).map(Self::Other)
    }

    /// For HMAC.
    pub(super) fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        #[cfg(feature = "auth")]
        match algorithm {
            Algorithm::Hs256 => return Ok(Self::hmac(aws_lc_rs::hmac::HMAC_SHA256, secret)),
            Algorithm::Hs384 => return Ok(Self::hmac(aws_lc_rs::hmac::HMAC_SHA384, secret)),
            Algorithm::Hs512 => return Ok(Self::hmac(aws_lc_rs::hmac::HMAC_SHA512, secret)),
            _ => {}
        }
        Self::new(algorithm, DecodingKey::from_secret(secret))
    }

    #[cfg(feature = "auth")]
    fn hmac(algorithm: aws_lc_rs::hmac::Algorithm, secret: &[u8]) -> Self {
        Self::Hmac(Box::new(aws_lc_rs::hmac::Key::new(algorithm, secret)))
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        match self {
            // In constant time, and of the whole tag alone.
            #[cfg(feature = "auth")]
            Self::Hmac(key) => aws_lc_rs::hmac::verify(key, message, signature).is_ok(),
            Self::Other(key) => key.has_signed(message, signature),
        }
    }
}

impl OtherKey {
    /// What the provider does not take is of no use: a point beside its curve above all.
    fn of(provider: &'static CryptoProvider, algorithm: Algorithm, key: DecodingKey) -> Result<Self, KeyError> {
        let provided = Self { provider, algorithm: name_of(algorithm), key };
        provided.verifier().map(|_| ()).ok_or(KeyError::NoPoint(algorithm))?;
        Ok(provided)
    }

    fn has_signed(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        self.verifier().is_some_and(|verifier| verifier.verify(message, signature).is_ok())
    }

    /// Made for each signature, as jsonwebtoken does itself: a boxed verifier cannot be kept, since its type does not say
    /// that it may be used by several threads.
    fn verifier(&self) -> Option<Box<dyn JwtVerifier>> {
        (self.provider.verifier_factory)(&self.algorithm, &self.key).ok()
    }
}

fn name_of(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Named;
    match algorithm {
        Algorithm::Hs256 => Named::HS256,
        Algorithm::Hs384 => Named::HS384,
        Algorithm::Hs512 => Named::HS512,
        Algorithm::Rs256 => Named::RS256,
        Algorithm::Rs384 => Named::RS384,
        Algorithm::Rs512 => Named::RS512,
        Algorithm::Ps256 => Named::PS256,
        Algorithm::Ps384 => Named::PS384,
        Algorithm::Ps512 => Named::PS512,
        Algorithm::Es256 => Named::ES256,
        Algorithm::Es384 => Named::ES384,
        Algorithm::EdDsa => Named::EdDSA,
    }
}

/// Checks that a point is on its curve. aws-lc-rs does so with every signature, and would refuse each of them.
#[cfg(feature = "auth")]
pub(super) fn check_point(algorithm: Algorithm, point: &[u8]) -> Result<(), KeyError> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
    let curve = match algorithm {
        Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
        _ => return Err(KeyError::WrongKind(algorithm)),
    };
    ParsedPublicKey::new(curve, point).map(drop).map_err(|_| KeyError::NoPoint(algorithm))
}

/// In pure Rust the verifier's making checks it.
#[cfg(not(feature = "auth"))]
pub(super) fn check_point(_: Algorithm, _: &[u8]) -> Result<(), KeyError> {
    Ok(())
}
