//! JSON Web Tokens as credentials: from the field to the identity.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::algorithm::Algorithm;
use super::authorization;
use super::claims::{Claims, Millis, millis};
use super::credential::{Credential, CredentialFault, Verdict};
use super::issuer::{Issuer, KeySource};
use super::jwks::Loading;
use super::jws::{Fault, Jws, MAX_TOKEN_LENGTH};
use super::keys::KeySet;
use super::token_cache::TokenCache;
use crate::{Clock, Head, Identity};

/// Bearer tokens (RFC 6750) of one or several issuers.
///
/// What was verified once is remembered until it expires, [five minutes](Self::max_age) at most, or until a key changes:
/// bounded in number and in bytes, and shared by all clones and layers made of this.
#[derive(Clone)]
pub struct Jwt(Arc<Verifier>);

struct Verifier {
    issuers: Vec<Issuer>,
    cache: Option<TokenCache<Identity>>,
    /// Why tokens proved nothing that had to be verified to find out, so that sending one again is cheap for us too.
    rejected: TokenCache<Fault>,
    max_age: Millis,
    clock: Clock,
}

/// An issuer that is not told whom to believe, or for whom.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// There is no issuer at all.
    #[error("no issuer: nobody's token would be accepted")]
    NoIssuer,
    /// What `iss` has to be is not said.
    #[error("issuer {0} of the list: say what `iss` has to be with .issuer(..), or .allow_any_issuer()")]
    AnyIssuer(usize),
    /// What `aud` has to be is not said.
    #[error("issuer {0} of the list: say which `aud` is yours with .audience(..), or .allow_any_audience()")]
    AnyAudience(usize),
}

/// How often tokens were known already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCacheStats {
    /// Tokens that were known.
    pub hits: u64,
    /// Tokens that were not.
    pub misses: u64,
}

/// Not a token's identity yet.
enum Miss {
    Refused(CredentialFault),
    /// Keys are on their way that it may be signed with.
    Wait(Vec<Loading>, CredentialFault),
}

/// The scheme of a token (RFC 6750).
const SCHEME: &str = "Bearer";

/// When a client may ask again while keys cannot be loaded.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// So many tokens are remembered, of so many bytes, unless another number is given.
const CACHED: (usize, usize) = (16_384, 32 << 20);

/// So many that were refused are remembered, of so many bytes, and for so long.
const REJECTED: (usize, usize) = (4_096, 8 << 20);
const REJECTED_FOR: Millis = 60_000;

impl Jwt {
    /// Tokens of these issuers. One that several of them may have signed is tried with each.
    ///
    /// # Errors
    ///
    /// [`JwtError`] when one of them does not say what `iss` or `aud` has to be.
    pub fn new(issuers: impl IntoIterator<Item = Issuer>) -> Result<Self, JwtError> {
        let issuers: Vec<_> = issuers.into_iter().collect();
        if issuers.is_empty() {
            return Err(JwtError::NoIssuer);
        }
        for (at, issuer) in issuers.iter().enumerate() {
            if issuer.expected.issuers.is_none() && !issuer.any_issuer {
                return Err(JwtError::AnyIssuer(at + 1));
            }
            if issuer.expected.audiences.is_none() && !issuer.any_audience {
                return Err(JwtError::AnyAudience(at + 1));
            }
        }
        Ok(Self(Arc::new(Verifier {
            issuers,
            cache: Some(TokenCache::new(CACHED.0, CACHED.1)),
            rejected: TokenCache::new(REJECTED.0, REJECTED.1),
            max_age: 300_000,
            clock: Clock::system(),
        })))
    }

    /// How many tokens are remembered at most, and of how many bytes with their claims. 0 of either switches it off: each
    /// request is verified then. 16,384 tokens and 32 MiB by default.
    #[must_use]
    pub fn cache(self, tokens: usize, bytes: usize) -> Self {
        self.change(|verifier| verifier.cache = (tokens > 0 && bytes > 0).then(|| TokenCache::new(tokens, bytes)))
    }

    /// How long a token is remembered at most. 5 min by default.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        self.change(|verifier| verifier.max_age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }

    /// The clock that says whether a token has expired.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.change(|verifier| verifier.clock = clock)
    }

    /// How often tokens were known already.
    pub fn cache_stats(&self) -> TokenCacheStats {
        let cache = self.0.cache.as_ref();
        TokenCacheStats { hits: cache.map_or(0, |cache| cache.hits()), misses: cache.map_or(0, |cache| cache.misses()) }
    }

    /// Forgets every token, for when one of them is to be good no longer and its `exp` is far.
    pub fn forget_all(&self) {
        if let Some(cache) = &self.0.cache {
            cache.clear();
        }
    }

    /// Whoever has a clone keeps what it had.
    fn change(self, change: impl FnOnce(&mut Verifier)) -> Self {
        let mut verifier = match Arc::try_unwrap(self.0) {
            Ok(verifier) => verifier,
            Err(shared) => Verifier {
                issuers: shared.issuers.clone(),
                cache: shared.cache.as_ref().map(TokenCache::empty_like),
                rejected: shared.rejected.empty_like(),
                max_age: shared.max_age,
                clock: shared.clock.clone(),
            },
        };
        change(&mut verifier);
        Self(Arc::new(verifier))
    }
}

impl Credential for Jwt {
    fn authenticate(&self, head: &Head<'_>) -> Verdict {
        let token = match authorization::credentials(head.headers(), SCHEME) {
            None => return Verdict::Absent,
            Some(Err(fault)) => return Verdict::Refused(fault),
            Some(Ok(token)) => token,
        };
        match self.0.verify(token) {
            Ok(identity) => Verdict::Accepted(identity),
            Err(Miss::Refused(fault)) => Verdict::Refused(fault),
            Err(Miss::Wait(loads, _)) => {
                let (verifier, token) = (self.0.clone(), token.to_owned());
                Verdict::Pending(Box::pin(async move { verifier.verify_after(loads, &token).await }))
            }
        }
    }

    fn verdict(&self, head: &Head<'_>) -> Verdict {
        // Not looked at: what is the same as a token that was found good or bad is as good or as bad.
        let known = authorization::unchecked(head.headers(), SCHEME).and_then(|token| self.0.known(token));
        match known {
            Some(Ok(identity)) => Verdict::Accepted(identity),
            Some(Err(fault)) => Verdict::Refused(fault.into()),
            None => self.authenticate(head),
        }
    }

    fn recall(&self, head: &Head<'_>) -> Option<Identity> {
        self.0.known(authorization::unchecked(head.headers(), SCHEME)?)?.ok()
    }

    fn sent<'a>(&self, head: &Head<'a>) -> Option<&'a [u8]> {
        authorization::unchecked(head.headers(), SCHEME).filter(|token| token.len() <= MAX_TOKEN_LENGTH)
    }

    fn headers(&self) -> Vec<HeaderName> {
        vec![AUTHORIZATION]
    }

    fn scheme(&self) -> Option<&'static str> {
        Some(SCHEME)
    }
}

impl Verifier {
    /// A number for the state of all keys: what was verified under another is to be verified again.
    fn keys_version(&self) -> u64 {
        self.issuers.iter().fold(0, |sum, issuer| match &issuer.keys {
            KeySource::Fixed(_) => sum,
            KeySource::Jwks(jwks) => sum.wrapping_add(jwks.version()),
        })
    }

    fn now(&self) -> Millis {
        millis(self.clock.wall_to_a_tick())
    }

    /// What was found out about this token before, and still holds.
    fn known(&self, token: &[u8]) -> Option<Result<Identity, Fault>> {
        let (keys, now) = (self.keys_version(), self.now());
        let good = self.cache.as_ref().and_then(|cache| cache.get(token, keys, now));
        good.map(Ok).or_else(|| self.rejected.get(token, keys, now).map(Err))
    }

    async fn verify_after(&self, loads: Vec<Loading>, token: &str) -> Result<Identity, CredentialFault> {
        for load in loads {
            load.ended().await;
        }
        match self.verify(token) {
            Ok(identity) => Ok(identity),
            // Waited for once; who still is not known is refused.
            Err(Miss::Refused(fault) | Miss::Wait(_, fault)) => Err(fault),
        }
    }

    fn verify(&self, token: &str) -> Result<Identity, Miss> {
        let refused = |fault: Fault| Miss::Refused(fault.into());
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(refused(Fault::TooLong));
        }
        // Read before the keys, so that what a change of theirs overtakes is not kept under their new number.
        let (keys, now) = (self.keys_version(), self.now());
        let jws = Jws::read(token).map_err(refused)?;
        if jws.header().algorithm().parse::<Algorithm>().is_err() {
            return Err(refused(Fault::WrongAlgorithm));
        }
        let (accepted, until) = self.try_issuers(&jws, now).inspect_err(|miss| {
            if let Miss::Refused(CredentialFault::Token(fault)) = miss
                && fault.costs_a_verification()
            {
                self.rejected.put(token.as_bytes(), fault, keys, now, now.saturating_add(REJECTED_FOR));
            }
        })?;
        if let Some(cache) = &self.cache {
            cache.put(token.as_bytes(), &accepted, keys, now, until.min(now.saturating_add(self.max_age)));
        }
        Ok(accepted)
    }

    fn try_issuers(&self, jws: &Jws<'_>, now: Millis) -> Result<(Identity, Millis), Miss> {
        let mut loads = Vec::new();
        let mut unavailable = false;
        let mut worst = Fault::WrongAlgorithm;
        for issuer in &self.issuers {
            let keys = issuer.keys.current();
            let fault = match &keys {
                Some(keys) => match verify_with(issuer, keys, jws, now) {
                    Ok(accepted) => return Ok(accepted),
                    Err(fault) => fault,
                },
                None => {
                    unavailable = true;
                    Fault::UnknownKey
                }
            };
            let is_missing = match &keys {
                None => true,
                Some(keys) => fault == Fault::UnknownKey || (fault == Fault::BadSignature && !keys.names(jws.header())),
            };
            if let (KeySource::Jwks(jwks), true) = (&issuer.keys, is_missing) {
                loads.extend(jwks.demand());
            }
            worst = worst.max_by_progress(fault);
        }
        let fault = match worst {
            // It may be good, and nobody can tell.
            Fault::WrongAlgorithm | Fault::UnknownKey | Fault::BadSignature if unavailable => {
                CredentialFault::Unavailable(RETRY_AFTER)
            }
            fault => fault.into(),
        };
        Err(if loads.is_empty() { Miss::Refused(fault) } else { Miss::Wait(loads, fault) })
    }
}

/// The signature first. Nothing of the claims is read before it is right.
fn verify_with(issuer: &Issuer, keys: &KeySet, jws: &Jws<'_>, now: Millis) -> Result<(Identity, Millis), Fault> {
    keys.check(jws)?;
    let expected = &*issuer.expected;
    if expected.token_type.as_ref().is_some_and(|wanted| !jws.header().is_of_type(wanted)) {
        return Err(Fault::WrongType);
    }
    let claims = Claims::read(jws.payload()?)?;
    claims.check(expected, now)?;
    let until = claims.expiry();
    Ok((claims.identity(expected), until))
}

impl KeySource {
    fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(keys.clone()),
            Self::Jwks(jwks) => jwks.current(),
        }
    }
}

impl Fault {
    /// True for what is found out by verifying alone, and stays so while the keys do.
    const fn costs_a_verification(self) -> bool {
        matches!(
            self,
            Self::BadSignature
                | Self::WrongType
                | Self::BadClaims
                | Self::MissingClaim
                | Self::Expired
                | Self::WrongIssuer
                | Self::WrongAudience
        )
    }

    /// Of what two issuers say, that of the one by whom the token came further: its own, most likely.
    fn max_by_progress(self, other: Self) -> Self {
        let progress = |fault: Self| match fault {
            Self::TooLong | Self::Malformed => 0,
            Self::WrongAlgorithm => 1,
            Self::UnknownKey => 2,
            Self::BadSignature => 3,
            Self::WrongIssuer => 4,
            _ => 5,
        };
        if progress(other) > progress(self) { other } else { self }
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("issuers", &self.0.issuers)
            .field("cache", &self.cache_stats())
            .finish_non_exhaustive()
    }
}
