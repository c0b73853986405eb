//! A JWK set (RFC 7517 section 5): which of its keys are taken, and when the whole is not.

use std::collections::HashSet;

use serde_json::Value;

use super::jwk::Jwk;
use super::{Key, KeyError};
use crate::auth::algorithm::{Algorithm, Family};
use crate::auth::json;

/// More keys than any issuer needs at a time.
const MAX_KEYS: usize = 100;

/// A set that is not taken at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Not a JSON object with an array `keys` of objects.
    #[error("not a JWK set: an object with an array \"keys\" of objects, each member once")]
    NotASet,
    /// More than a hundred keys.
    #[error("the set has more than 100 keys")]
    TooMany,
    /// Two keys of one `kid`: which of them a token means cannot be told.
    #[error("two keys have the kid {0:?}")]
    DuplicateId(String),
    /// A shared secret beside public keys, or in a set that is published.
    #[error("the set holds a shared secret, which is none once it stands beside public keys or is published")]
    Secret,
    /// No key of it can be used.
    #[error("no key of the set can be used{}", .0.as_ref().map(|why| format!("; the first: {why}")).unwrap_or_default())]
    NoKey(Option<KeyError>),
}

/// The keys of a set that are for one of `algorithms`. What is for something else, of a kind that is not known here, or weak is
/// left out; what cannot be told apart or was never to be published makes the whole set unfit.
pub(in crate::auth) fn read_set(
    text: &[u8],
    algorithms: &[Algorithm],
    published: bool,
) -> Result<Vec<Key>, KeySetError> {
    let mut set = json::object(text).ok_or(KeySetError::NotASet)?;
    let Some(Value::Array(members)) = set.remove("keys") else { return Err(KeySetError::NotASet) };
    if members.len() > MAX_KEYS {
        return Err(KeySetError::TooMany);
    }
    let jwks: Vec<Jwk> = members.into_iter().map(Jwk::from_value).collect::<Option<_>>().ok_or(KeySetError::NotASet)?;
    refuse_duplicate_ids(&jwks)?;
    refuse_secrets(&jwks, published)?;

    let (mut keys, mut first_fault) = (Vec::new(), None);
    for jwk in &jwks {
        match usable(jwk, algorithms) {
            Ok(found) => keys.extend(found),
            Err(fault) => first_fault = first_fault.or(Some(fault)),
        }
    }
    if keys.is_empty() { Err(KeySetError::NoKey(first_fault)) } else { Ok(keys) }
}

/// A key that names its algorithm is for that one; one that does not is for each of `algorithms` that its kind can have.
fn usable(jwk: &Jwk, algorithms: &[Algorithm]) -> Result<Vec<Key>, KeyError> {
    let own = jwk.algorithm()?;
    let Some(family) = jwk.family()? else { return Ok(Vec::new()) };
    let wanted = algorithms.iter().filter(|algorithm| match own {
        Some(own) => own == **algorithm,
        None => algorithm.family() == family,
    });
    let mut found = Vec::new();
    let mut fault = None;
    for algorithm in wanted {
        match jwk.key(*algorithm) {
            Ok(key) => found.push(key),
            Err(why) => fault = Some(why),
        }
    }
    match fault {
        Some(fault) if found.is_empty() => Err(fault),
        _ => Ok(found),
    }
}

fn refuse_duplicate_ids(jwks: &[Jwk]) -> Result<(), KeySetError> {
    let mut seen = HashSet::new();
    for id in jwks.iter().filter_map(|jwk| jwk.id().ok().flatten()) {
        if !seen.insert(id) {
            return Err(KeySetError::DuplicateId(id.chars().take(100).collect()));
        }
    }
    Ok(())
}

fn refuse_secrets(jwks: &[Jwk], published: bool) -> Result<(), KeySetError> {
    let secrets = jwks.iter().filter(|jwk| matches!(jwk.family(), Ok(Some(Family::Hmac)))).count();
    if secrets > 0 && (published || secrets < jwks.len()) { Err(KeySetError::Secret) } else { Ok(()) }
}
