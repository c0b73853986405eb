//! Signed tokens in their compact form (RFC 7515 section 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::header::JoseHeader;

/// Longer tokens are refused before anything of them is read, in bytes.
pub const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.as_str())]
#[non_exhaustive]
pub enum Fault {
    /// Over 16 KiB.
    TooLong,
    /// Not three parts of base64url, or with a header that cannot be understood whole.
    Malformed,
    /// Signed by an algorithm that no key of its issuer is for.
    WrongAlgorithm,
    /// Its `kid` is that of no key.
    UnknownKey,
    /// The signature is not that of any key it may be of.
    BadSignature,
    /// Of another type than the one that is wanted.
    WrongType,
    /// The payload is not one JSON object with each claim once, or a claim is not of its kind.
    BadClaims,
    /// A claim that has to be there is not.
    MissingClaim,
    /// Past its `exp`.
    Expired,
    /// Before its `nbf`, or issued in the future.
    NotYetValid,
    /// From another issuer.
    WrongIssuer,
    /// For another audience.
    WrongAudience,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 12] = [
        Self::TooLong,
        Self::Malformed,
        Self::WrongAlgorithm,
        Self::UnknownKey,
        Self::BadSignature,
        Self::WrongType,
        Self::BadClaims,
        Self::MissingClaim,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongIssuer,
        Self::WrongAudience,
    ];

    /// The sentence that clients are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is malformed",
            Self::WrongAlgorithm => "the token is signed by an algorithm that is not accepted",
            Self::UnknownKey => "the token is signed with an unknown key",
            Self::BadSignature => "the signature is wrong",
            Self::WrongType => "the token is of another type",
            Self::BadClaims => "the claims are malformed",
            Self::MissingClaim => "a required claim is missing",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::WrongIssuer => "the token is from another issuer",
            Self::WrongAudience => "the token is for another audience",
        }
    }
}

/// A token whose form is right, and of which nothing else is known.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    header: JoseHeader,
    signing_input: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, Fault> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(Fault::TooLong);
        }
        // Three parts, neither the two of what is not signed nor the five of what is encrypted.
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Fault::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Fault::Malformed)?;
        if payload.contains('.') {
            return Err(Fault::Malformed);
        }
        let header = JoseHeader::read(&decode(header)?).ok_or(Fault::Malformed)?;
        Ok(Self { header, signing_input, payload, signature: decode(signature)? })
    }

    pub(super) fn header(&self) -> &JoseHeader {
        &self.header
    }

    pub(super) fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    pub(super) fn signature(&self) -> &Vec<u8> {
        &self.signature
    }

    /// What is signed. To be asked for once the signature is checked.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Fault> {
        decode(self.payload)
    }
}

/// base64url without padding, and without bits beyond the last byte (RFC 4648 section 3.5): each token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Malformed)
}
