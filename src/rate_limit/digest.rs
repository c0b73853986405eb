//! Keys as 128 bits, whatever they are made of.

mod polynomial;

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use sha2::{Digest as _, Sha256};

use self::polynomial::Polynomial;

/// A key in 128 bits: what stores count by. Two keys have the same by chance alone, and nobody can make two on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// A key that was made elsewhere, spread evenly over all its bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// All of it.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A number that nobody else knows.
pub(super) fn secret() -> u128 {
    let random = RandomState::new();
    u128::from(random.hash_one(0)) << 64 | u128::from(random.hash_one(1))
}

/// How keys become digests.
#[derive(Clone)]
pub struct Digests(Kind);

#[derive(Clone)]
enum Kind {
    Random(Polynomial),
    Stable(Sha256),
}

impl Digests {
    /// A polynomial at a random point that this process alone has: for stores in its memory. Whoever sends keys cannot choose
    /// which of them meet: two keys of 60 bytes do so with a chance of 2^-124.
    pub fn random() -> Self {
        Self(Kind::Random(Polynomial::new(secret(), secret())))
    }

    /// SHA-256, cut to 128 bits: the same in every process, for stores that several share. There is no secret in it, so
    /// it is one for which nobody can find two keys that meet.
    pub fn stable() -> Self {
        Self(Kind::Stable(Sha256::new()))
    }

    /// Those of one limit: the same key is another digest under each.
    #[must_use]
    pub fn of_limit(&self, name: &str) -> Self {
        let mut own = self.clone();
        match &mut own.0 {
            Kind::Random(hash) => hash.part(u8::MAX, name.as_bytes()),
            Kind::Stable(hash) => hash.part(u8::MAX, name.as_bytes()),
        }
        own
    }

    /// The digest of a key that is made of nothing else, for whoever asks a store without a layer.
    pub fn key(&self, key: &[u8]) -> Digest {
        match &self.0 {
            Kind::Random(hash) => {
                let mut hash = *hash;
                hash.part(u8::MAX - 1, key);
                hash.digest()
            }
            Kind::Stable(hash) => {
                let mut hash = hash.clone();
                hash.part(u8::MAX - 1, key);
                hash.digest()
            }
        }
    }

    /// The digest of what `write` writes, unless it finds nothing to be written.
    pub(super) fn digest(&self, write: &impl Parts) -> Option<Digest> {
        match &self.0 {
            Kind::Random(hash) => {
                let mut hash = *hash;
                write.write(&mut hash).map(|()| hash.digest())
            }
            Kind::Stable(hash) => {
                let mut hash = hash.clone();
                write.write(&mut hash).map(|()| hash.digest())
            }
        }
    }
}

/// What a key is made of.
pub(super) trait Parts {
    /// None when something of it is missing. A single part that is has written nothing.
    fn write<W: KeyWriter>(&self, writer: &mut W) -> Option<()>;
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Random(_) => "Digests::random()",
            Kind::Stable(_) => "Digests::stable()",
        })
    }
}

/// Takes a key in, part by part. Each part has a length and a kind, so that no two lists of parts read the same.
pub(super) trait KeyWriter: Clone {
    fn part(&mut self, kind: u8, bytes: &[u8]);
    fn digest(self) -> Digest;
}

impl KeyWriter for Polynomial {
    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.write(kind, bytes);
    }

    fn digest(self) -> Digest {
        Digest(self.finish())
    }
}

impl KeyWriter for Sha256 {
    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.update(((bytes.len() as u64) << 8 | u64::from(kind)).to_le_bytes());
        self.update(bytes);
    }

    fn digest(self) -> Digest {
        let mut bits = [0; 16];
        bits.copy_from_slice(&self.finalize()[..16]);
        Digest(u128::from_be_bytes(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Parts for &[(u8, &str)] {
        fn write<W: KeyWriter>(&self, writer: &mut W) -> Option<()> {
            self.iter().for_each(|(kind, part)| writer.part(*kind, part.as_bytes()));
            Some(())
        }
    }

    fn digest(digests: &Digests, parts: &[(u8, &str)]) -> Digest {
        digests.digest(&parts).unwrap()
    }

    #[test]
    fn what_differs_in_kind_order_cut_or_limit_is_another_key() {
        let stable = Digests::stable().of_limit("a");
        let keys = [
            digest(&stable, &[(1, "ab")]),
            digest(&stable, &[(2, "ab")]),
            digest(&stable, &[(1, "a"), (1, "b")]),
            digest(&stable, &[(1, "b"), (1, "a")]),
            digest(&stable, &[(1, "ab"), (1, "")]),
            digest(&Digests::stable().of_limit("b"), &[(1, "ab")]),
        ];
        for (n, key) in keys.iter().enumerate() {
            assert!(!keys[..n].contains(key), "{n}");
        }
    }

    #[test]
    fn a_stable_digest_is_the_same_in_every_process_and_release() {
        let key = digest(&Digests::stable().of_limit("per_user"), &[(1, "alice")]);
        // sha256(LE64(8 << 8 | 255) "per_user" LE64(5 << 8 | 1) "alice"), its first half.
        assert_eq!(key.to_string(), "78e02bcbc02cdaee72140284da5fd786");
    }

    #[test]
    fn a_random_digest_is_this_process_own() {
        let (one, two) = (Digests::random(), Digests::random());
        assert_eq!(digest(&one, &[(1, "a")]), digest(&one.clone(), &[(1, "a")]));
        assert_ne!(digest(&one, &[(1, "a")]), digest(&two, &[(1, "a")]));
    }
}
