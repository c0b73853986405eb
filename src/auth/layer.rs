use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};
use serde_json::Value;
use tower_layer::Layer;

use super::challenge::{Challenges, is_scope};
use super::credential::Credential;
use super::failures::FailureLimit;
use super::identity_headers::IdentityHeaders;
use super::rules::Rules;
use super::service::Auth;
use crate::gate::{Gate, gate_setters};
use crate::{Head, Identity, NameSet};

/// Lets in who proves who they are, and may do what they ask. See the [module](super).
#[derive(Clone, Debug)]
pub struct AuthLayer {
    pub(super) settings: Arc<Settings>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) gate: Gate,
    pub(super) credentials: Vec<Arc<dyn Credential>>,
    pub(super) rules: Rules,
    pub(super) failures: Option<FailureLimit>,
    pub(super) realm: Box<str>,
    pub(super) challenges: Challenges,
    /// What no origin is to see. Empty where credentials are to be forwarded.
    pub(super) headers: Arc<NameSet>,
    pub(super) forward_credentials: bool,
    pub(super) as_extension: bool,
    pub(super) identity_headers: IdentityHeaders,
}

/// A scope that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: visible ASCII without spaces, quotes and backslashes (RFC 6749 section 3.3)")]
pub struct InvalidScope(String);

impl AuthLayer {
    /// Lets in who has a credential of this kind, and nobody else. Further kinds are [added](Self::or).
    pub fn new(credential: impl Credential) -> Self {
        let mut settings = Settings {
            gate: Gate::default(),
            credentials: vec![Arc::new(credential)],
            rules: Rules::default(),
            failures: None,
            realm: "gateway".into(),
            challenges: Challenges::new("", Vec::new()),
            headers: Arc::default(),
            forward_credentials: false,
            as_extension: false,
            identity_headers: IdentityHeaders::default(),
        };
        settings.follow();
        Self { settings: Arc::new(settings) }
    }

    /// Accepts credentials of another kind as well. A request may carry several: the first kind that is accepted says who it
    /// is, and one that is not accepted is a 401, whatever the others say.
    #[must_use]
    pub fn or(self, credential: impl Credential) -> Self {
        self.change(|settings| settings.credentials.push(Arc::new(credential)))
    }

    /// Lets requests without any credential pass as well, whatever scopes and roles are asked of the others. One with a
    /// credential that is not accepted is still a 401.
    #[must_use]
    pub fn allow_anonymous(self) -> Self {
        self.change(|settings| settings.rules.optional = true)
    }

    /// Opens what is below this path, by whole segments, to everybody: `/public` opens `/public/a` and not `/publicity`. A path
    /// that is not in its [normal form](crate::strict::normal_path) is never below it.
    #[must_use]
    pub fn open_path(self, prefix: impl Into<Box<str>>) -> Self {
        self.change(|settings| settings.rules.open_paths.push(prefix.into()))
    }

    /// Opens requests of this method to everybody.
    #[must_use]
    pub fn open_method(self, method: Method) -> Self {
        self.change(|settings| settings.rules.open_methods.push(method))
    }

    /// Lets CORS preflights pass, which never carry credentials (Fetch section 3.3.2). Not needed where a CORS layer outside of
    /// this one answers them.
    #[must_use]
    pub fn open_preflight(self) -> Self {
        self.change(|settings| settings.rules.open_preflight = true)
    }

    /// Asks for each of these scopes: 403 with `insufficient_scope` otherwise.
    ///
    /// # Errors
    ///
    /// [`InvalidScope`] when one of them cannot be a scope.
    pub fn require_scopes<S: Into<Box<str>>>(self, scopes: impl IntoIterator<Item = S>) -> Result<Self, InvalidScope> {
        let scopes: Vec<Box<str>> = scopes.into_iter().map(Into::into).collect();
        if let Some(bad) = scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(InvalidScope(bad.to_string()));
        }
        Ok(self.change(|settings| settings.rules.scopes.extend(scopes)))
    }

    /// Asks for one of these roles at least: 403 otherwise.
    #[must_use]
    pub fn require_any_role<S: Into<Box<str>>>(self, roles: impl IntoIterator<Item = S>) -> Self {
        self.change(|settings| settings.rules.roles.extend(roles.into_iter().map(Into::into)))
    }

    /// Asks that a claim, at a name or a path with dots, be this: 403 otherwise, also where it is not there.
    #[must_use]
    pub fn require_claim(self, path: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        let wanted = value.into();
        self.require_claim_that(path, move |value| *value == wanted)
    }

    /// Asks that a claim contain this: an array that has it as an item, or a string that has it between spaces.
    #[must_use]
    pub fn require_claim_with(self, path: impl Into<Box<str>>, item: impl Into<Value>) -> Self {
        let wanted = item.into();
        self.require_claim_that(path, move |value| match value {
            Value::Array(items) => items.contains(&wanted),
            Value::String(text) => wanted.as_str().is_some_and(|wanted| text.split(' ').any(|item| item == wanted)),
            _ => false,
        })
    }

    /// Asks that a claim be there, and match.
    #[must_use]
    pub fn require_claim_that(
        self,
        path: impl Into<Box<str>>,
        matches: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.change(|settings| settings.rules.claims.push((path.into(), Arc::new(matches))))
    }

    /// Asks a rule of your own, of the identity and the request: 403 where it says no.
    #[must_use]
    pub fn require(self, rule: impl Fn(&Identity, &Head<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.change(|settings| settings.rules.checks.push(Arc::new(rule)))
    }

    /// Limits the credentials that a client may get wrong. Not limited by default.
    #[must_use]
    pub fn limit_failures(self, limit: FailureLimit) -> Self {
        self.change(|settings| settings.failures = Some(limit))
    }

    /// The `realm` of challenges. `gateway` by default.
    #[must_use]
    pub fn realm(self, realm: impl Into<Box<str>>) -> Self {
        self.change(|settings| settings.realm = realm.into())
    }

    /// Leaves credentials on the request for whoever comes after: by default the proxy removes them at the end of the stack, so
    /// that an origin cannot use them for itself.
    #[must_use]
    pub fn forward_credentials(self, forward: bool) -> Self {
        self.change(|settings| settings.forward_credentials = forward)
    }

    /// Tells whoever comes after, and the origin in the end, who is asking: the field `name` is what `value` gives, and there is
    /// none where it gives nothing or an empty text. What the client sent of that name, in any spelling that an origin may take
    /// for it, is removed in any case, also on paths that are open.
    ///
    /// A value that no field can carry (a line break, space around it) is a 403, and never changed to fit.
    ///
    /// ```
    /// use http::HeaderName;
    /// # use tower_gateway::auth::{ApiKeys, AuthLayer, MemoryKeyStore};
    ///
    /// # let layer = AuthLayer::new(ApiKeys::new(MemoryKeyStore::default()));
    /// let layer = layer.identity_header(HeaderName::from_static("x-tenant"), |head| {
    ///     Some(head.context()?.identity()?.claim("tenant.id")?.as_str()?.to_owned())
    /// });
    /// ```
    #[must_use]
    pub fn identity_header(
        self,
        name: HeaderName,
        value: impl Fn(&Head<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.change(|settings| {
            settings.identity_headers = std::mem::take(&mut settings.identity_headers).each(name, value);
        })
    }

    /// The same for fields that several layers share, and for such as depend on the identity alone. Those that were set before
    /// are given up.
    #[must_use]
    pub fn identity_headers(self, headers: IdentityHeaders) -> Self {
        self.change(|settings| settings.identity_headers = headers)
    }

    /// Puts the [`Identity`] into the request's extensions as well, for handlers that look there: one allocation. It is in the
    /// [`RequestContext`](crate::RequestContext) in any case, where axum's extractor finds it.
    #[must_use]
    pub fn identity_as_extension(self) -> Self {
        self.change(|settings| settings.as_extension = true)
    }

    gate_setters!(refuses);

    /// Goes on with the failures that `old` has counted, for a reload with other settings.
    pub fn adopt(&mut self, old: &Self) {
        let settings = Arc::make_mut(&mut self.settings);
        if let (Some(own), Some(old)) = (&mut settings.failures, &old.settings.failures) {
            own.adopt(old);
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        change(settings);
        settings.follow();
        self
    }
}

impl Settings {
    /// What follows from the rest.
    fn follow(&mut self) {
        let mut schemes: Vec<_> = self.credentials.iter().filter_map(|credential| credential.scheme()).collect();
        schemes.dedup();
        self.challenges = Challenges::new(&self.realm, schemes);
        let own = self.credentials.iter().flat_map(|credential| credential.headers());
        let headers = NameSet::new([AUTHORIZATION].into_iter().chain(own));
        self.headers = Arc::new(if self.forward_credentials { NameSet::default() } else { headers });
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth::new(inner, self.settings.clone())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes: Vec<_> =
            self.credentials.iter().map(|credential| credential.scheme().unwrap_or("other")).collect();
        f.debug_struct("AuthLayer")
            .field("gate", &self.gate)
            .field("credentials", &schemes)
            .field("rules", &self.rules)
            .field("failures", &self.failures)
            .field("identity_headers", &self.identity_headers)
            .field("forward_credentials", &self.forward_credentials)
            .finish_non_exhaustive()
    }
}

/// The fields that carry credentials, for those who have to see to them by themselves.
impl AuthLayer {
    /// Names of the header fields that carry credentials of the kinds that are accepted here.
    pub fn credential_headers(&self) -> Vec<HeaderName> {
        let own = self.settings.credentials.iter().flat_map(|credential| credential.headers());
        [AUTHORIZATION].into_iter().chain(own).collect()
    }
}
