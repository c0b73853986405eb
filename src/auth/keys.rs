//! The keys that an issuer signs with at a time, and which of them a token is for.

use super::algorithm::Algorithm;
use super::header::JoseHeader;
use super::jws::{Fault, Jws};
use super::key::{Key, KeySetError, read_set};

/// Tokens without a `kid` are tried with so many keys at most, so that what one token costs is bounded.
const MAX_TRIES: usize = 8;

/// The keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// These keys.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        Self { keys: keys.into_iter().collect() }
    }

    /// The keys of a JWK set (RFC 7517 section 5) that are for one of `algorithms`. Others are left out, weak ones too.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] when two keys have one `kid`, a shared secret stands beside public keys, or none is left.
    pub fn from_json(set: impl AsRef<[u8]>, algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        read_set(set.as_ref(), algorithms, false).map(|keys| Self { keys })
    }

    /// The same for a set that others can read, in which no shared secret may be.
    pub(super) fn from_published(set: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        read_set(set, algorithms, true).map(|keys| Self { keys })
    }

    /// The keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.iter()
    }

    /// Checks a signature, and gives the payload it is for: bytes, which may be anything. This is the very check that the
    /// layer makes before it reads claims.
    ///
    /// # Errors
    ///
    /// [`Fault`] says what is wrong with the token.
    pub fn verify(&self, token: &str) -> Result<Vec<u8>, Fault> {
        let jws = Jws::read(token)?;
        self.check(&jws)?;
        jws.payload()
    }

    /// Fails unless one of the keys signed `jws`.
    pub(super) fn check(&self, jws: &Jws<'_>) -> Result<(), Fault> {
        let mut candidates = self.candidates(jws.header()).take(MAX_TRIES).peekable();
        if candidates.peek().is_none() {
            return Err(self.why_none(jws.header()));
        }
        if candidates.any(|key| key.has_signed(jws)) { Ok(()) } else { Err(Fault::BadSignature) }
    }

    /// True when a token with this header is of a key that is here by its very `kid`, so that newer keys are not its.
    pub(super) fn names(&self, header: &JoseHeader) -> bool {
        header.key_id().is_some_and(|id| self.keys.iter().any(|key| key.id() == Some(id)))
    }

    /// Keys whose algorithm is the token's, and whose `kid` is, where both have one.
    fn candidates<'a>(&'a self, header: &'a JoseHeader) -> impl Iterator<Item = &'a Key> {
        let of_algorithm = move |key: &&Key| key.algorithm().name() == header.algorithm();
        // A key with the very `kid` is the one that is meant; else those that have none may be.
        let named = self.names(header);
        self.keys.iter().filter(of_algorithm).filter(move |key| match (header.key_id(), key.id()) {
            (None, _) => true,
            (Some(_), None) => !named,
            (Some(wanted), Some(own)) => wanted == own,
        })
    }

    fn why_none(&self, header: &JoseHeader) -> Fault {
        let of_algorithm = |key: &Key| key.algorithm().name() == header.algorithm();
        if self.keys.iter().any(of_algorithm) { Fault::UnknownKey } else { Fault::WrongAlgorithm }
    }
}

impl From<Key> for KeySet {
    fn from(key: Key) -> Self {
        Self { keys: vec![key] }
    }
}

impl FromIterator<Key> for KeySet {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self::new(keys)
    }
}
