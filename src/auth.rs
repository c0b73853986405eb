//! Who asks, and whether they may: tokens with rotating keys, API keys, credentials of your own, and rules.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_gateway::auth::{Algorithm, ApiKey, ApiKeys, AuthLayer, Issuer, Jwt, Key, KeyDigest, MemoryKeyStore};
//!
//! # fn main() -> Result<(), tower_gateway::BoxError> {
//! # let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
//! let issuer = Issuer::new(Key::pem(Algorithm::EdDsa, pem)?)
//!     .issuer("https://issuer.example/")
//!     .audience(["orders"]);
//! let partners = MemoryKeyStore::new([
//!     (KeyDigest::of(b"the partner's key"), ApiKey::new("k1").subject("partner").scopes(["orders:read"])),
//! ]);
//!
//! let orders = AuthLayer::new(Jwt::new([issuer])?)
//!     .or(ApiKeys::new(partners))
//!     .open_path("/orders/public")
//!     .require_scopes(["orders:read"])?;
//! let app: Router = Router::new().route("/orders", get("all of them")).layer(orders);
//! # Ok(())
//! # }
//! ```
//!
//! # What is safe without being asked for
//!
//! - The algorithm is the key's, never the token's (RFC 8725 section 3.1): `none`, HMAC with a public key, keys and URLs of
//!   keys that a token brings along are all of no use. Headers with `crit` and encrypted tokens are refused, and so is what
//!   two programs could read differently: members that are there twice, padding, stray bits, a second `Authorization`.
//! - Keys that are weak or meant for something else are refused when they are loaded: see [`KeyError`].
//! - `iss` and `aud` are checked, and `exp` has to be there, unless you say otherwise by name:
//!   [`allow_any_issuer`](Issuer::allow_any_issuer), [`allow_any_audience`](Issuer::allow_any_audience),
//!   [`allow_no_expiry`](Issuer::allow_no_expiry).
//! - A request with a credential that is not accepted is refused, also where anonymous ones pass, or another credential
//!   beside it is good.
//! - Credentials end here: the proxy removes their fields in every spelling, unless they are
//!   [to be forwarded](AuthLayer::forward_credentials).
//!
//! # A token is verified once
//!
//! What was verified is remembered: whole, so that no other token can pass for it, until it expires, for
//! [five minutes](Jwt::max_age) at most, and while no key changes. It is bounded in [number and bytes](Jwt::cache), shared by
//! all clones, and allocates nothing for a request. Microseconds for a request with a token, the service behind it (0.28)
//! included; `benches/README.md` has how they were measured:
//!
//! | | HS256 | RS256 | PS256 | ES256 | ES384 | EdDSA |
//! |---|---|---|---|---|---|---|
//! | verified | 4.85 | 22.4 | 23.1 | 56.1 | 199.8 | 41.4 |
//! | remembered | 0.67 | 0.76 | 0.78 | 0.71 | 0.72 | 0.65 |
//!
//! Since these were measured, what remembering takes of the second line became less than half, to 0.47 with HS256.
//!
//! Tokens that were verified in vain are remembered as well, 4,096 of them for a minute, so that a bad one costs little the
//! second time.
//!
//! # Answers
//!
//! | status | code | when |
//! |---|---|---|
//! | 401 | `authentication_required` | there is no credential |
//! | 401 | `invalid_credential` | it is not accepted; `WWW-Authenticate` says why (RFC 6750 section 3) |
//! | 403 | `access_denied` | it is good and not enough; for scopes, `WWW-Authenticate` names those that are needed |
//! | 429 | `too_many_failed_credentials` | the client sent [too many](AuthLayer::limit_failures) that were not accepted |
//! | 503 | `authentication_unavailable` | the keys or the store cannot be asked |
//!
//! # Readiness, errors, state
//!
//! Deferred: always ready, and the inner service is readied once it is known who asks. A token, and an API key in memory or
//! remembered, is judged at once; a store that has to be asked, and keys that have to be loaded, are waited for. Nothing is
//! asked of bodies, and the error is the inner service's. What was verified is shared by all clones of a [`Jwt`]; the
//! failures that were counted go over to a new layer with [`adopt`](AuthLayer::adopt).
//!
mod algorithm;
mod api_key;
mod api_keys;
mod authorization;
mod challenge;
mod claim_path;
mod claims;
mod client_certificates;
mod credential;
#[cfg(feature = "axum")]
mod extract;
mod failures;
mod header;
mod identity_headers;
mod issuer;
mod json;
pub mod jwks;
mod jws;
mod jwt;
mod key;
mod key_store;
mod keys;
mod layer;
mod rules;
mod service;
mod token_cache;

pub use self::algorithm::{Algorithm, UnknownAlgorithm};
pub use self::api_key::{ApiKey, InvalidDigest, KeyDigest};
pub use self::api_keys::ApiKeys;
pub use self::client_certificates::ClientCertificates;
pub use self::credential::{Credential, CredentialFault, PendingVerdict, Verdict};
pub use self::failures::FailureLimit;
pub use self::identity_headers::IdentityHeaders;
pub use self::issuer::Issuer;
pub use self::jwks::Jwks;
pub use self::jws::{Fault, MAX_TOKEN_LENGTH};
pub use self::jwt::{Jwt, JwtError, TokenCacheStats};
pub use self::key::{Key, KeyError, KeySetError};
#[cfg(feature = "redis")]
pub use self::key_store::RedisKeyStore;
pub use self::key_store::{
    CachedFind, CachedKeyStore, KeyStore, KeyStoreFn, MemoryKeyStore, StoreUnavailable, key_store_fn,
};
#[cfg(feature = "auth-file")]
pub use self::key_store::{FileKeyStore, KeyFileError};
pub use self::keys::KeySet;
pub use self::layer::{AuthLayer, InvalidScope};
pub use self::service::{Auth, AuthFuture};

pub(crate) use self::claim_path::find as find_claim;
