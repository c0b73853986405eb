//! One JWK (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Key, KeyError};
use crate::auth::algorithm::{Algorithm, Family};
use crate::auth::json;

/// A JWK that is well-formed so far; what its key is worth is seen when it is made one.
pub(super) struct Jwk(Map<String, Value>);

/// Members of the private half of a public key (RFC 7518 sections 6.2.2 and 6.3.2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

pub(super) fn read(algorithm: Algorithm, text: &str) -> Result<Key, KeyError> {
    let members = json::object(text.as_bytes()).ok_or(KeyError::Jwk("not one JSON object with each member once"))?;
    Jwk(members).key(algorithm)
}

impl Jwk {
    pub(super) fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self(members)),
            _ => None,
        }
    }

    /// The `kid`. An error where it is no string.
    pub(super) fn id(&self) -> Result<Option<&str>, KeyError> {
        self.text("kid")
    }

    /// The `alg`, where there is one that is known here.
    pub(super) fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
        Ok(self.text("alg")?.and_then(|name| name.parse().ok()))
    }

    /// What kind of key it is. `None` for one that is not known here, which RFC 7517 section 5 has ignored.
    pub(super) fn family(&self) -> Result<Option<Family>, KeyError> {
        Ok(match (self.text("kty")?.ok_or(KeyError::Jwk("without a kty"))?, self.text("crv")?) {
            ("oct", _) => Some(Family::Hmac),
            ("RSA", _) => Some(Family::Rsa),
            ("EC", Some("P-256" | "P-384")) => Some(Family::Ec),
            ("OKP", Some("Ed25519")) => Some(Family::Ed),
            _ => None,
        })
    }

    /// The key, for `algorithm` alone.
    pub(super) fn key(&self, algorithm: Algorithm) -> Result<Key, KeyError> {
        self.check_purpose(algorithm)?;
        let key = match (self.family()?, self.text("crv")?) {
            (Some(family), _) if family != algorithm.family() => return Err(KeyError::WrongKind(algorithm)),
            (Some(Family::Hmac), _) => Key::secret(algorithm, self.bytes("k")?)?,
            (Some(family), curve) => {
                if PRIVATE.iter().any(|name| self.0.contains_key(*name)) {
                    return Err(KeyError::Jwk("a private key, of which only the public half belongs here"));
                }
                match (family, curve, algorithm) {
                    (Family::Rsa, _, _) => Key::rsa(algorithm, &self.bytes("n")?, &self.bytes("e")?)?,
                    (Family::Ec, Some("P-256"), Algorithm::Es256) | (Family::Ec, Some("P-384"), Algorithm::Es384) => {
                        Key::ec(algorithm, &self.point(algorithm)?)?
                    }
                    (Family::Ed, Some("Ed25519"), _) => Key::ed(algorithm, &self.bytes("x")?)?,
                    _ => return Err(KeyError::WrongKind(algorithm)),
                }
            }
            (None, _) => return Err(KeyError::WrongKind(algorithm)),
        };
        Ok(match self.id()? {
            Some(id) => key.with_id(id),
            None => key,
        })
    }

    /// Holds `use`, `key_ops` and `alg` to what the key is loaded for, where they are there (RFC 7517 section 4.2 to 4.4).
    fn check_purpose(&self, algorithm: Algorithm) -> Result<(), KeyError> {
        if self.text("use")?.is_some_and(|purpose| purpose != "sig") {
            return Err(KeyError::WrongUse("use"));
        }
        if self.text("alg")?.is_some_and(|name| name != algorithm.name()) {
            return Err(KeyError::WrongUse("alg"));
        }
        match self.0.get("key_ops") {
            None => Ok(()),
            Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {
                let repeated = (1..operations.len()).any(|at| operations[..at].contains(&operations[at]));
                if repeated { Err(KeyError::Jwk("an operation of key_ops is there twice")) } else { Ok(()) }
            }
            Some(_) => Err(KeyError::WrongUse("key_ops")),
        }
    }

    /// Both coordinates at their full length (RFC 7518 section 6.2.1.2), as an uncompressed point.
    fn point(&self, algorithm: Algorithm) -> Result<Vec<u8>, KeyError> {
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        let length = algorithm.hash_length();
        if x.len() != length || y.len() != length {
            return Err(KeyError::NoPoint(algorithm));
        }
        Ok([&[4], &x[..], &y[..]].concat())
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, KeyError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(KeyError::Jwk("a member that has to be a string is none")),
        }
    }

    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, KeyError> {
        let text = self.text(name)?.ok_or(KeyError::Jwk("a member of its kind of key is missing"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Jwk("a member is not base64url"))
    }
}
