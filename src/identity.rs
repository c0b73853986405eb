//! Who a request was made by, once a credential of theirs was accepted.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Who made a request, as an accepted credential says. As cheap to clone as an `Arc`.
///
/// Whoever authenticates makes it once and puts it into the [`RequestContext`](crate::RequestContext); limits count by
/// it, caches keep answers apart by it, handlers and origins are told of it. A request without one is anonymous.
///
/// ```
/// use tower_gateway::{CredentialKind, Identity};
///
/// let identity = Identity::builder(CredentialKind::ApiKey)
///     .subject("u1")
///     .scopes(["users:read", "users:write"])
///     .plan("pro")
///     .build();
/// assert_eq!(identity.subject(), Some("u1"));
/// assert!(identity.has_scope("users:read") && !identity.has_role("admin"));
/// ```
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

/// What kind of credential proved an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialKind {
    /// A JSON Web Token (RFC 7519).
    Jwt,
    /// An API key.
    ApiKey,
    /// A certificate that was shown when the connection was made.
    ClientCertificate,
    /// A credential of your own, with its name in snake case.
    Other(&'static str),
}

#[derive(Clone)]
struct Parts {
    credential: CredentialKind,
    subject: Option<Box<str>>,
    issuer: Option<Box<str>>,
    scopes: Vec<Box<str>>,
    roles: Vec<Box<str>>,
    plan: Option<Box<str>>,
    key_id: Option<Box<str>>,
    limit: Option<u64>,
    claims: Option<Bytes>,
    /// The claims as values, once somebody asks for one.
    #[cfg(feature = "auth-core")]
    values: std::sync::OnceLock<Option<Claims>>,
    /// What origins are told of it.
    #[cfg(feature = "auth-core")]
    told: std::sync::OnceLock<Told>,
}

/// Header fields that were made of an identity, and the number of the set that made them. None: they cannot be made.
#[cfg(feature = "auth-core")]
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) by: u64,
    pub(crate) fields: Option<Arc<[(http::HeaderName, http::HeaderValue)]>>,
}

#[cfg(feature = "auth-core")]
type Claims = serde_json::Map<String, serde_json::Value>;

/// The claims are not what was asked for.
#[cfg(feature = "auth-core")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// The credential has none: an API key, or a session.
    #[error("the credential has no claims")]
    None,
    /// They are of another shape.
    #[error("the claims are of another shape")]
    Shape(#[source] serde_json::Error),
}

impl Identity {
    /// Begins an identity that a credential of this kind proves.
    pub fn builder(credential: CredentialKind) -> IdentityBuilder {
        IdentityBuilder(Parts {
            credential,
            subject: None,
            issuer: None,
            scopes: Vec::new(),
            roles: Vec::new(),
            plan: None,
            key_id: None,
            limit: None,
            claims: None,
            #[cfg(feature = "auth-core")]
            values: std::sync::OnceLock::new(),
            #[cfg(feature = "auth-core")]
            told: std::sync::OnceLock::new(),
        })
    }

    #[cfg(feature = "auth-core")]
    pub(crate) fn keep_told(&self, make: impl FnOnce() -> Told) -> &Told {
        self.0.told.get_or_init(make)
    }

    /// What kind of credential proved it.
    pub fn credential(&self) -> CredentialKind {
        self.0.credential
    }

    /// Who: unique for its issuer, and never used for another (RFC 7519 section 4.1.2).
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// Who says so.
    pub fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// What the credential may be used for (RFC 6749 section 3.3).
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.scopes.iter().map(|scope| &**scope)
    }

    /// True when `scope` is among the scopes.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|own| own == scope)
    }

    /// The roles of the subject.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.roles.iter().map(|role| &**role)
    }

    /// True when `role` is among the roles.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|own| own == role)
    }

    /// The plan that the subject is on, by which limits may differ.
    pub fn plan(&self) -> Option<&str> {
        self.0.plan.as_deref()
    }

    /// The id of the API key; never the key itself.
    pub fn key_id(&self) -> Option<&str> {
        self.0.key_id.as_deref()
    }

    /// A limit of the credential's own, which goes before that of its plan: requests in the window of the limit it is
    /// applied to.
    pub fn limit(&self) -> Option<u64> {
        self.0.limit
    }

    /// The token's claims as JSON, where there was a token.
    pub fn raw_claims(&self) -> Option<&Bytes> {
        self.0.claims.as_ref()
    }

    /// The claims as a type of your own.
    ///
    /// ```
    /// use tower_gateway::{CredentialKind, Identity};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Claims {
    ///     tenant: String,
    /// }
    ///
    /// let identity = Identity::builder(CredentialKind::Jwt).raw_claims(r#"{"tenant":"t1"}"#).build();
    /// assert_eq!(identity.claims::<Claims>()?.tenant, "t1");
    /// # Ok::<(), tower_gateway::ClaimsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClaimsError`] when there are none, or they are of another shape.
    #[cfg(feature = "auth-core")]
    pub fn claims<T: serde::de::DeserializeOwned>(&self) -> Result<T, ClaimsError> {
        let raw = self.0.claims.as_ref().ok_or(ClaimsError::None)?;
        serde_json::from_slice(raw).map_err(ClaimsError::Shape)
    }

    /// One claim: a member of that very name, or one further down, with dots between (`realm_access.roles`). They are read
    /// once for all the clones of an identity.
    #[cfg(feature = "auth-core")]
    pub fn claim(&self, path: &str) -> Option<&serde_json::Value> {
        let read = || serde_json::from_slice(self.0.claims.as_ref()?).ok();
        crate::auth::find_claim(self.0.values.get_or_init(read).as_ref()?, path)
    }
}

/// Without the claims, which may hold what no log should.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("credential", &self.0.credential)
            .field("subject", &self.0.subject)
            .field("issuer", &self.0.issuer)
            .field("scopes", &self.0.scopes)
            .field("roles", &self.0.roles)
            .field("plan", &self.0.plan)
            .field("key_id", &self.0.key_id)
            .finish_non_exhaustive()
    }
}

/// Makes an [`Identity`].
#[derive(Clone)]
pub struct IdentityBuilder(Parts);

impl IdentityBuilder {
    /// Who.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<Box<str>>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// Who says so.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<Box<str>>) -> Self {
        self.0.issuer = Some(issuer.into());
        self
    }

    /// What the credential may be used for.
    #[must_use]
    pub fn scopes<S: Into<Box<str>>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.0.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The roles of the subject.
    #[must_use]
    pub fn roles<S: Into<Box<str>>>(mut self, roles: impl IntoIterator<Item = S>) -> Self {
        self.0.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// The plan that the subject is on.
    #[must_use]
    pub fn plan(mut self, plan: impl Into<Box<str>>) -> Self {
        self.0.plan = Some(plan.into());
        self
    }

    /// The id of the API key.
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<Box<str>>) -> Self {
        self.0.key_id = Some(key_id.into());
        self
    }

    /// A limit of the credential's own.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// The token's claims as JSON.
    #[must_use]
    pub fn raw_claims(mut self, claims: impl Into<Bytes>) -> Self {
        self.0.claims = Some(claims.into());
        #[cfg(feature = "auth-core")]
        self.0.values.take();
        self
    }

    /// Claims that were read already.
    #[cfg(feature = "auth-core")]
    pub(crate) fn verified_claims(mut self, values: Claims, raw: Bytes) -> Self {
        self.0.claims = Some(raw);
        self.0.values = Some(values).into();
        self
    }

    /// The identity.
    pub fn build(self) -> Identity {
        Identity(Arc::new(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_an_identity_holds_no_claims() {
        let identity = Identity::builder(CredentialKind::Jwt).subject("u1").raw_claims(r#"{"ssn":"secret"}"#).build();
        let printed = format!("{identity:?}");
        assert!(printed.contains("u1") && !printed.contains("secret"), "{printed}");
    }
}
