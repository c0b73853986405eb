//! One issuer of tokens: its keys, and what its tokens have to say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::jwks::Jwks;
use super::keys::KeySet;

/// One issuer of tokens, with its keys and what is expected of its claims.
///
/// Each token must name it in `iss` and one of your names in `aud`: what either is has to be said, or said to be of no
/// matter by [`allow_any_issuer`](Self::allow_any_issuer) and [`allow_any_audience`](Self::allow_any_audience). Without a
/// check of `aud`, a token that the same issuer made for another service is good for yours (RFC 8725 section 3.9).
///
/// ```
/// use std::time::Duration;
/// use tower_gateway::auth::{Algorithm, Issuer, Jwt, Key};
///
/// let issuer = Issuer::new(Key::secret(Algorithm::Hs256, [7; 32])?)
///     .issuer("https://issuer.example/")
///     .audience(["gateway"])
///     .leeway(Duration::from_secs(10))
///     .roles_claims(["realm_access.roles"]);
/// let jwt = Jwt::new([issuer])?;
/// # Ok::<(), tower_gateway::BoxError>(())
/// ```
#[derive(Clone)]
pub struct Issuer {
    pub(super) keys: KeySource,
    pub(super) expected: Arc<Expectations>,
    pub(super) any_issuer: bool,
    pub(super) any_audience: bool,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub(super) enum KeySource {
    Fixed(Arc<KeySet>),
    Jwks(Jwks),
}

/// What is expected of a token's claims.
#[derive(Clone, Debug)]
pub(super) struct Expectations {
    pub(super) issuers: Option<Vec<Box<str>>>,
    pub(super) audiences: Option<Vec<Box<str>>>,
    pub(super) token_type: Option<Box<str>>,
    pub(super) leeway: Duration,
    pub(super) needs_expiry: bool,
    pub(super) scopes_claims: Vec<Box<str>>,
    pub(super) roles_claims: Vec<Box<str>>,
    pub(super) plan_claims: Vec<Box<str>>,
}

impl Default for Expectations {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        Self {
            issuers: None,
            audiences: None,
            token_type: None,
            leeway: Duration::from_secs(30),
            needs_expiry: true,
            scopes_claims: names(&["scope", "scp", "scopes"]),
            roles_claims: names(&["role", "roles"]),
            plan_claims: names(&["plan"]),
        }
    }
}

impl Issuer {
    /// An issuer whose keys are known: one [`Key`](super::Key), or a [`KeySet`] with several while they are rotated.
    pub fn new(keys: impl Into<KeySet>) -> Self {
        Self::of(KeySource::Fixed(Arc::new(keys.into())))
    }

    /// An issuer that publishes its keys, and rotates them.
    pub fn with_jwks(jwks: Jwks) -> Self {
        Self::of(KeySource::Jwks(jwks))
    }

    fn of(keys: KeySource) -> Self {
        Self { keys, expected: Arc::default(), any_issuer: false, any_audience: false }
    }

    /// What `iss` has to be, character by character. Called again, either is accepted.
    #[must_use]
    pub fn issuer(mut self, name: impl Into<Box<str>>) -> Self {
        self.expected().issuers.get_or_insert_default().push(name.into());
        self
    }

    /// Accepts tokens whatever their `iss`, as long as they are signed by one of the keys.
    #[must_use]
    pub fn allow_any_issuer(mut self) -> Self {
        self.any_issuer = true;
        self.expected().issuers = None;
        self
    }

    /// Your names, of which `aud` has to hold one.
    #[must_use]
    pub fn audience<S: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.expected().audiences.get_or_insert_default().extend(names.into_iter().map(Into::into));
        self
    }

    /// Accepts tokens whatever their `aud`, those that were made for other services too.
    #[must_use]
    pub fn allow_any_audience(mut self) -> Self {
        self.any_audience = true;
        self.expected().audiences = None;
        self
    }

    /// Accepts tokens without `exp`, which are good until their key is changed.
    #[must_use]
    pub fn allow_no_expiry(mut self) -> Self {
        self.expected().needs_expiry = false;
        self
    }

    /// What `typ` has to be, such as `at+jwt` for access tokens (RFC 9068 section 4). Not looked at by default.
    #[must_use]
    pub fn token_type(mut self, name: impl Into<Box<str>>) -> Self {
        self.expected().token_type = Some(name.into());
        self
    }

    /// How far the issuer's clock may be off in either direction. 30 s by default.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.expected().leeway = leeway;
        self
    }

    /// Where scopes stand: the first of these that is there, a string with spaces between them or an array. A name, or a way
    /// down with dots. `scope`, `scp` and `scopes` by default.
    #[must_use]
    pub fn scopes_claims<S: Into<Box<str>>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.expected().scopes_claims = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Where roles stand: a string, which is one role, or an array. `role` and `roles` by default; Keycloak has
    /// `realm_access.roles`.
    #[must_use]
    pub fn roles_claims<S: Into<Box<str>>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.expected().roles_claims = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Where the plan stands. `plan` by default.
    #[must_use]
    pub fn plan_claims<S: Into<Box<str>>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.expected().plan_claims = paths.into_iter().map(Into::into).collect();
        self
    }

    fn expected(&mut self) -> &mut Expectations {
        Arc::make_mut(&mut self.expected)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("keys", &self.keys).field("expected", &self.expected).finish_non_exhaustive()
    }
}
