//! API keys: what is known of one, and nothing of the key itself but its digest.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::claims::{Millis, millis};
use crate::{CredentialKind, Identity, hex};

/// The SHA-256 of a key, which is all that is kept of it. Keys are random, so that a plain hash is as good as a slow one: there
/// is nothing to guess.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In constant time: how long it takes says nothing of how much was right.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// In lower-case hexadecimal, as it stands in files.
impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        hex::write(&self.0, &mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// Not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's digest must be 64 hexadecimal digits: the SHA-256 of the key")]
pub struct InvalidDigest;

impl FromStr for KeyDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// What is known of one key. As cheap to clone as an `Arc`.
///
/// While a key is rotated there are two of one subject, the old one with an [expiry](Self::expires_at).
///
/// ```
/// use tower_gateway::auth::{ApiKey, KeyDigest, MemoryKeyStore};
///
/// let store = MemoryKeyStore::new([
///     (KeyDigest::of(b"the key"), ApiKey::new("k1").subject("u1").plan("pro").scopes(["read"]).limit(500)),
/// ]);
/// ```
#[derive(Clone)]
pub struct ApiKey(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    builder: crate::IdentityBuilder,
    /// Made once, and not with each request.
    identity: Identity,
    expires: Option<Millis>,
    disabled: bool,
}

impl ApiKey {
    /// A key of this id, by which logs and limits know it.
    pub fn new(id: impl Into<Box<str>>) -> Self {
        let builder = Identity::builder(CredentialKind::ApiKey).key_id(id);
        Self(Arc::new(Parts { identity: builder.clone().build(), builder, expires: None, disabled: false }))
    }

    /// Whose it is.
    #[must_use]
    pub fn subject(self, subject: impl Into<Box<str>>) -> Self {
        self.with_identity(|identity| identity.subject(subject))
    }

    /// The plan its owner is on.
    #[must_use]
    pub fn plan(self, plan: impl Into<Box<str>>) -> Self {
        self.with_identity(|identity| identity.plan(plan))
    }

    /// What it may be used for.
    #[must_use]
    pub fn scopes<S: Into<Box<str>>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.with_identity(|identity| identity.scopes(scopes))
    }

    /// The roles of its owner.
    #[must_use]
    pub fn roles<S: Into<Box<str>>>(self, roles: impl IntoIterator<Item = S>) -> Self {
        self.with_identity(|identity| identity.roles(roles))
    }

    /// A limit of its own, which goes before that of its plan.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        self.with_identity(|identity| identity.limit(limit))
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(mut self, end: SystemTime) -> Self {
        Arc::make_mut(&mut self.0).expires = Some(millis(end));
        self
    }

    /// Switched off, it is not accepted, and stays known.
    #[must_use]
    pub fn disabled(mut self, disabled: bool) -> Self {
        Arc::make_mut(&mut self.0).disabled = disabled;
        self
    }

    /// Whose requests these are.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Why it is not accepted at the time `now`, if it is not.
    pub(super) fn fault(&self, now: Millis) -> Option<&'static str> {
        if self.0.disabled {
            return Some("the API key is switched off");
        }
        self.0.expires.is_some_and(|end| now >= end).then_some("the API key has expired")
    }

    fn with_identity(mut self, change: impl FnOnce(crate::IdentityBuilder) -> crate::IdentityBuilder) -> Self {
        let parts = Arc::make_mut(&mut self.0);
        parts.builder = change(parts.builder.clone());
        parts.identity = parts.builder.clone().build();
        self
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("identity", &self.0.identity)
            .field("disabled", &self.0.disabled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits_in_any_case() {
        let text = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let digest = KeyDigest::of(b"secret");
        assert_eq!(digest.to_string(), text);
        assert!(
            text.parse::<KeyDigest>().unwrap() == digest && text.to_uppercase().parse::<KeyDigest>().unwrap() == digest
        );
        for bad in ["", "2b", &text[1..], &format!("{text}0"), &text.replace('2', "g"), &text.replace("2b", "+b")] {
            assert!(bad.parse::<KeyDigest>().is_err(), "{bad}");
        }
        assert!(!format!("{digest:?}").contains("2bb8"));
    }
}
