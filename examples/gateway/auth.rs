//! From `[jwt]`, `[api_keys]` and `[routes.NAME.auth]` to layers that share keys, caches and limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Request;
use tokio::runtime::Handle;
use tower_gateway::auth::{
    ApiKey, ApiKeys, AuthLayer, CachedKeyStore, ClientCertificates, Credential, FailureLimit, IdentityHeaders, Issuer,
    Jwks, Jwt, KeyDigest, KeyStore, MemoryKeyStore, RedisKeyStore,
};
use tower_gateway::redis::Redis;
use tower_gateway::{BoxError, Head, RequestContext};

use crate::config::auth::{Accept, RouteAuth};
use crate::config::jwt::{FailedCredentials, JwtIssuer};
use crate::config::{self, Config};
use crate::stack::Switch;

/// What all routes with `auth` share.
pub(crate) struct Credentials {
    tables: BTreeMap<String, JwtIssuer>,
    issuers: BTreeMap<String, Issuer>,
    /// Key sets that are loaded, by the place they are from.
    loaded: BTreeMap<String, (JwtIssuer, Jwks)>,
    /// By the issuers that are accepted: one cache of verified tokens for all routes that accept the same.
    jwts: BTreeMap<Vec<String>, Jwt>,
    /// With the settings, and the Redis where they are looked up, if they are.
    api_keys: Option<(config::ApiKeys, Option<Redis>, Arc<dyn Credential>)>,
    failures: Option<FailureLimit>,
    told: IdentityHeaders,
}

impl Credentials {
    /// `old` are those that serve until now. Tokens that were verified stay so while no issuer is changed, keys that were
    /// loaded stay while their place is the same, and failures are counted on in any case.
    /// API keys are looked up in `redis`, where it is given.
    pub(crate) fn new(config: &Config, redis: Option<&Redis>, old: Option<&Self>) -> Result<Self, BoxError> {
        let mut new = Self {
            tables: config.jwt.clone(),
            issuers: BTreeMap::new(),
            loaded: BTreeMap::new(),
            jwts: BTreeMap::new(),
            api_keys: config.api_keys.as_ref().map(|table| api_keys(table, redis, old)),
            failures: failures(&config.failed_credentials, old),
            told: told(&config.identity_headers),
        };
        for (name, table) in &config.jwt {
            let issuer = new.issuer(name, table, old)?;
            new.issuers.insert(name.clone(), issuer);
        }
        for auth in config.routes.values().filter_map(|route| route.auth.as_ref()) {
            let names = new.issuers_of(auth);
            if names.is_empty() || new.jwts.contains_key(&names) {
                continue;
            }
            let same = old.filter(|old| old.tables == new.tables).and_then(|old| old.jwts.get(&names));
            let jwt = match same {
                Some(jwt) => jwt.clone(),
                None => Jwt::new(names.iter().map(|name| new.issuers[name].clone()))?,
            };
            new.jwts.insert(names, jwt);
        }
        Ok(new)
    }

    /// The layer of a route.
    pub(crate) fn layer(&self, auth: &RouteAuth) -> Result<AuthLayer, BoxError> {
        let mut credentials: Vec<Arc<dyn Credential>> = Vec::new();
        if let Some(jwt) = self.jwts.get(&self.issuers_of(auth)) {
            credentials.push(Arc::new(jwt.clone()));
        }
        let accepts_keys = auth.accept.as_ref().is_none_or(|accept| accept.contains(&Accept::ApiKey));
        let api_keys = self.api_keys.as_ref().map(|(_, _, keys)| keys.clone());
        credentials.extend(api_keys.filter(|_| accepts_keys));
        // Last: a token says who the user is, and the certificate who brings it.
        if auth.accept.as_ref().is_some_and(|accept| accept.contains(&Accept::ClientCertificate)) {
            credentials.push(Arc::new(ClientCertificates::new()));
        }
        let mut credentials = credentials.into_iter();
        let first = credentials.next().ok_or("the route accepts no kind of credential")?;
        let mut layer = credentials.fold(AuthLayer::new(first), AuthLayer::or);
        layer = layer.require_scopes(auth.scopes.iter().map(String::as_str))?;
        layer = layer.require_any_role(auth.roles.iter().map(String::as_str));
        layer = auth.except.iter().fold(layer, |layer, path| layer.open_path(path.as_str()));
        if !auth.required {
            layer = layer.allow_anonymous();
        }
        if let Some(failures) = &self.failures {
            layer = layer.limit_failures(failures.clone());
        }
        layer = layer.identity_headers(self.told.clone());
        Ok(layer.forward_credentials(auth.forward_credentials))
    }

    /// The names of the issuers whose tokens a route accepts.
    fn issuers_of(&self, auth: &RouteAuth) -> Vec<String> {
        let accepts = |name: &String| match &auth.accept {
            None => true,
            Some(accept) => accept.contains(&Accept::Jwt) || accept.contains(&Accept::Issuer(name.clone())),
        };
        self.tables.keys().filter(|name| accepts(name)).cloned().collect()
    }

    fn issuer(&mut self, name: &str, table: &JwtIssuer, old: Option<&Self>) -> Result<Issuer, BoxError> {
        let mut issuer = match table.keys.key_set(&table.algorithms)? {
            Some(keys) => Issuer::new(keys),
            None => Issuer::with_jwks(self.jwks(name, table, old)?),
        };
        if table.issuers.is_empty() {
            issuer = issuer.allow_any_issuer();
        }
        issuer = table.issuers.iter().fold(issuer, |issuer, name| issuer.issuer(name.as_str()));
        issuer = match table.audiences.is_empty() {
            true => issuer.allow_any_audience(),
            false => issuer.audience(table.audiences.iter().map(String::as_str)),
        };
        if !table.needs_expiry {
            issuer = issuer.allow_no_expiry();
        }
        if let Some(token_type) = &table.token_type {
            issuer = issuer.token_type(token_type.as_str());
        }
        Ok(issuer
            .leeway(table.leeway)
            .roles_claims(table.roles_claims.iter().map(String::as_str))
            .scopes_claims(table.scopes_claims.iter().map(String::as_str))
            .plan_claims(table.plan_claims.iter().map(String::as_str)))
    }

    /// The keys that were loaded for this very place, or the loading of them, on the runtime that this is called in.
    fn jwks(&mut self, name: &str, table: &JwtIssuer, old: Option<&Self>) -> Result<Jwks, BoxError> {
        let kept = old.and_then(|old| old.loaded.get(name));
        let kept = kept.filter(|(old, _)| (&old.keys, &old.algorithms) == (&table.keys, &table.algorithms));
        let jwks = match kept {
            Some((_, jwks)) => jwks.clone(),
            None => {
                let mut loader = table.keys.loader()?.ok_or("keys that cannot be loaded")?;
                if !table.algorithms.is_empty() {
                    loader = loader.algorithms(table.algorithms.iter().copied());
                }
                loader.start(&Handle::current())
            }
        };
        self.loaded.insert(name.to_owned(), (table.clone(), jwks.clone()));
        Ok(jwks)
    }
}

/// What depends on the identity alone, as most does, is made once for each.
fn told(fields: &config::identity_headers::IdentityHeaders) -> IdentityHeaders {
    fields.0.iter().fold(IdentityHeaders::new(), |told, (name, template)| {
        let template = template.clone();
        if !template.depends_on_the_identity_alone() {
            return told.each(name.clone(), move |head| Some(template.render(*head)));
        }
        told.once(name.clone(), move |identity| {
            let mut request = Request::new(());
            let context = RequestContext::of(request.extensions_mut());
            if let Some(identity) = identity {
                context.set_identity(identity.clone());
            }
            Some(template.render(Head::of(&request)))
        })
    })
}

/// Those of the file, and behind them those in Redis. What was looked up there stays while nothing about it has changed.
fn api_keys(
    settings: &config::ApiKeys,
    redis: Option<&Redis>,
    old: Option<&Credentials>,
) -> (config::ApiKeys, Option<Redis>, Arc<dyn Credential>) {
    if let (Some((same, Some(known), keys)), Some(redis)) = (old.and_then(|old| old.api_keys.as_ref()), redis)
        && same == settings
        && known.is(redis)
    {
        return (settings.clone(), Some(redis.clone()), keys.clone());
    }
    let keys = settings.file.iter().flat_map(|file| &file.keys).filter_map(|key| key.key());
    let file = MemoryKeyStore::new(keys);
    let header = settings.header.clone();
    let credential: Arc<dyn Credential> = match redis {
        None => Arc::new(ApiKeys::new(file).header(header)),
        Some(redis) => {
            let shared = CachedKeyStore::new(RedisKeyStore::new(redis.clone())).remember_for(settings.cache_for);
            Arc::new(ApiKeys::new(FileFirst { file, shared }).header(header))
        }
    };
    (settings.clone(), redis.cloned(), credential)
}

/// The keys of the file are known whatever becomes of Redis, which is asked for all others.
struct FileFirst {
    file: MemoryKeyStore,
    shared: CachedKeyStore<RedisKeyStore>,
}

impl KeyStore for FileFirst {
    type Find = <CachedKeyStore<RedisKeyStore> as KeyStore>::Find;

    fn now(&self, digest: &KeyDigest) -> Option<Option<ApiKey>> {
        self.file.now(digest).filter(Option::is_some).or_else(|| self.shared.now(digest))
    }

    fn find(&self, digest: &KeyDigest) -> Self::Find {
        self.shared.find(digest)
    }
}

fn failures(settings: &FailedCredentials, old: Option<&Credentials>) -> Option<FailureLimit> {
    let limit = u32::try_from(settings.limit?.get()).unwrap_or(u32::MAX);
    let mut failures = FailureLimit::new(limit, settings.window);
    if let Some(old) = old.and_then(|old| old.failures.as_ref()) {
        failures.adopt(old);
    }
    Some(failures)
}

impl Switch for AuthLayer {
    fn off() -> Self {
        Self::new(ApiKeys::new(MemoryKeyStore::default())).enabled(false)
    }
}
