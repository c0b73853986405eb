//! `[jwt.NAME]`: whose tokens are believed.

use std::time::Duration;

use tower_gateway::auth::{Algorithm, Jwks, Key, KeyError, KeySet};

use super::duration::{AnyDuration, PositiveDuration};
use super::file::FileText;
use super::forms::{Locate, Located, NonEmpty, OneOrMany};
use super::schema;
use super::secret::Secret;
use super::table::{Keys, Listed, Table};
use super::value::{Form, Value};
use super::word::{Choice, Word};

/// `[jwt.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JwtIssuer {
    pub(crate) keys: KeyMaterial,
    /// What the keys may be for. With a secret or a PEM key never empty; empty with a key set: all that it has.
    pub(crate) algorithms: Vec<Algorithm>,
    /// Empty: whatever `iss` says.
    pub(crate) issuers: Vec<String>,
    /// Empty: whatever `aud` says.
    pub(crate) audiences: Vec<String>,
    pub(crate) leeway: Duration,
    pub(crate) needs_expiry: bool,
    pub(crate) token_type: Option<String>,
    pub(crate) roles_claims: Vec<String>,
    pub(crate) scopes_claims: Vec<String>,
    pub(crate) plan_claims: Vec<String>,
}

/// What an issuer's tokens are verified with. It can be: what could not has been reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyMaterial {
    Secrets(Vec<Secret>),
    Pem(String),
    JwksFile(String),
    JwksUrl(String),
    /// The `iss` by which the place of the keys is found.
    Discovered(String),
}

impl KeyMaterial {
    /// The keys, where they need not be loaded first.
    pub(crate) fn key_set(&self, algorithms: &[Algorithm]) -> Result<Option<KeySet>, String> {
        let told = |error: KeyError| error.to_string();
        match self {
            Self::Secrets(secrets) => {
                let keys = secrets
                    .iter()
                    .flat_map(|secret| algorithms.iter().map(|algorithm| Key::secret(*algorithm, secret.expose())));
                Ok(Some(keys.collect::<Result<_, _>>().map_err(told)?))
            }
            Self::Pem(pem) => {
                let keys = algorithms.iter().map(|algorithm| Key::pem(*algorithm, pem));
                Ok(Some(keys.collect::<Result<_, _>>().map_err(told)?))
            }
            Self::JwksFile(set) => {
                let algorithms = if algorithms.is_empty() { &Algorithm::ALL[..] } else { algorithms };
                KeySet::from_json(set, algorithms).map(Some).map_err(|error| error.to_string())
            }
            Self::JwksUrl(_) | Self::Discovered(_) => Ok(None),
        }
    }

    /// The loading of the keys, for those that are loaded.
    pub(crate) fn loader(&self) -> Result<Option<tower_gateway::auth::jwks::JwksBuilder>, String> {
        let builder = match self {
            // That it is allowed was a warning.
            Self::JwksUrl(url) => Jwks::url_over_insecure_http(url),
            Self::Discovered(issuer) => Jwks::discover(issuer),
            Self::Secrets(_) | Self::Pem(_) | Self::JwksFile(_) => return Ok(None),
        };
        builder.map(Some).map_err(|error| error.to_string())
    }
}

const SOURCES: [&str; 6] = ["secret", "secrets", "public_key_file", "jwks_url", "jwks_file", "discover"];

impl Table for JwtIssuer {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let secret = keys
            .optional::<Locate<Secret>>("secret", "the secret of HS256, HS384 and HS512, at least as long as the hash");
        let secrets = keys.optional::<Locate<NonEmpty<Secret>>>("secrets", "several of them, while one is exchanged");
        let pem = keys.optional::<Locate<FileText>>("public_key_file", "a public key in PEM");
        let url = keys
            .optional::<Locate<JwksUrl>>("jwks_url", "where the issuer publishes its keys; loaded in the background");
        let set = keys.optional::<Locate<FileText>>("jwks_file", "a file with a JWK set");
        let discover = keys.optional::<Locate<IssuerUrl>>(
            "discover",
            "the issuer's URL, by which its keys are found (OpenID Connect Discovery)",
        );
        let algorithms = keys.optional::<NonEmpty<Word<Named>>>(
            "algorithms",
            "what the keys may be for; needed with a secret or a PEM key",
        );
        let issuers = keys.optional::<OneOrMany<Plain>>("issuer", "what iss has to be; absent: not checked");
        let audiences =
            keys.optional::<OneOrMany<Plain>>("audience", "of which aud has to hold one; absent: not checked");
        let leeway = keys.or::<AnyDuration>("leeway", "30s", "how far the issuer's clock may be off");
        let needs_expiry = keys.or::<bool>("require_exp", true, "whether a token without exp is refused");
        let token_type =
            keys.optional::<Plain>("token_type", "what typ has to be, such as at+jwt; absent: not checked");
        let roles_claims = keys.or::<OneOrMany<Plain>>(
            "roles_claim",
            ["role", "roles"],
            "where roles stand, with dots for nested claims",
        );
        let scopes_claims = keys.or::<OneOrMany<Plain>>(
            "scopes_claim",
            ["scope", "scp", "scopes"],
            "where scopes stand: a text with spaces, or a list",
        );
        let plan_claims = keys.or::<OneOrMany<Plain>>("plan_claim", ["plan"], "where the plan stands");

        if !keys.are_sound(&SOURCES) {
            return None;
        }
        let given = [
            secret.map(|one| moved(one, |one| KeyMaterial::Secrets(vec![one]))),
            secrets.map(|some| moved(some, KeyMaterial::Secrets)),
            pem.map(|pem| moved(pem, KeyMaterial::Pem)),
            url.map(|url| moved(url, KeyMaterial::JwksUrl)),
            set.map(|set| moved(set, KeyMaterial::JwksFile)),
            discover.map(|issuer| moved(issuer, KeyMaterial::Discovered)),
        ];
        let mut given: Vec<_> = given.into_iter().flatten().collect();
        let (Some(material), true) = (given.pop(), given.is_empty()) else {
            if keys.reader.complete {
                let message = format!("[{}] needs exactly one of {}", keys.path, SOURCES.join(", "));
                keys.reader.fault(&keys.at, &keys.path, message);
            }
            return None;
        };
        if !keys.are_sound(&["algorithms"]) {
            return None;
        }
        let algorithms = algorithms.unwrap_or_default().into_iter().map(|named| named.0).collect::<Vec<_>>();
        refuse_unfit(keys, &material, &algorithms)?;
        warn_of_what_is_not_checked(keys, issuers.is_none(), audiences.is_none(), needs_expiry);
        let issuers = issuers.unwrap_or_else(|| match &material.value {
            KeyMaterial::Discovered(issuer) => vec![issuer.clone()],
            _ => Vec::new(),
        });
        Some(JwtIssuer {
            keys: material.value,
            algorithms,
            issuers,
            audiences: audiences.unwrap_or_default(),
            leeway,
            needs_expiry,
            token_type,
            roles_claims,
            scopes_claims,
            plan_claims,
        })
    }
}

impl Listed for JwtIssuer {
    const SECTION: &'static str = "jwt";
    const KIND: &'static str = "token issuer";
}

fn moved<T, U>(located: Located<T>, change: impl FnOnce(T) -> U) -> Located<U> {
    Located { value: change(located.value), path: located.path, at: located.at }
}

/// Keys that are weak, or not for these algorithms. Nothing where there is a fault.
fn refuse_unfit(keys: &Keys<'_>, material: &Located<KeyMaterial>, algorithms: &[Algorithm]) -> Option<()> {
    let fault =
        |problem: String| keys.reader.fault(&material.at, &material.path, format!("{}: {problem}", material.path));
    let needs_algorithms = matches!(material.value, KeyMaterial::Secrets(_) | KeyMaterial::Pem(_));
    if needs_algorithms && algorithms.is_empty() {
        keys.reader.missing(
            &keys.at,
            &keys.path,
            "algorithms",
            r#"what the key is for, such as algorithms = ["HS256"]"#,
        );
        return None;
    }
    let is_published = matches!(material.value, KeyMaterial::JwksUrl(_) | KeyMaterial::Discovered(_));
    if let (true, Some(symmetric)) = (is_published, algorithms.iter().find(|algorithm| algorithm.is_symmetric())) {
        fault(format!("a secret that is published is none; take {symmetric} out of algorithms"));
        return None;
    }
    material.value.key_set(algorithms).map_err(fault).ok().map(drop)
}

fn warn_of_what_is_not_checked(keys: &Keys<'_>, any_issuer: bool, any_audience: bool, needs_expiry: bool) {
    let warn = |key: &str, message: &str| {
        keys.reader.warn(&keys.at, &format!("{}.{key}", keys.path), format!("[{}] {message}", keys.path))
    };
    if any_issuer {
        warn(
            "issuer",
            "does not say what iss has to be, so a token of any issuer that signs with these keys is accepted; add issuer",
        );
    }
    if any_audience {
        warn(
            "audience",
            "does not say which aud is yours, so tokens that were made for other services are accepted; add audience",
        );
    }
    if !needs_expiry {
        warn("require_exp", "accepts tokens without exp, which are good until their key is exchanged");
    }
}

/// An algorithm by its name.
#[derive(Clone, Copy)]
struct Named(Algorithm);

impl Choice for Named {
    const BUILT: &'static [(&'static str, Self)] = &{
        let mut named = [("", Named(Algorithm::Hs256)); Algorithm::ALL.len()];
        let mut at = 0;
        while at < named.len() {
            named[at] = (Algorithm::ALL[at].name(), Named(Algorithm::ALL[at]));
            at += 1;
        }
        named
    };
}

/// A text that is not empty.
pub(super) struct Plain;

impl Form for Plain {
    type Output = String;

    fn expects() -> String {
        "a text".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        value.parsed::<Self, _>(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    fn schema() -> serde_json::Value {
        schema::string(&["a"])
    }
}

struct JwksUrl;

impl Form for JwksUrl {
    type Output = String;

    fn expects() -> String {
        r#"a URL such as "https://issuer.example/.well-known/jwks.json""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        let url =
            value.parsed::<Self, _>(|text| Jwks::url_over_insecure_http(text).is_ok().then(|| text.to_owned()))?;
        if Jwks::url(&url).is_err() {
            value.warn("the keys come over plain HTTP, where anybody on the way can put in keys of theirs; use https");
        }
        Some(url)
    }

    fn schema() -> serde_json::Value {
        schema::string(&["https://issuer.example/.well-known/jwks.json"])
    }
}

struct IssuerUrl;

impl Form for IssuerUrl {
    type Output = String;

    fn expects() -> String {
        r#"the URL of an issuer such as "https://issuer.example""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        value.parsed::<Self, _>(|text| Jwks::discover(text).is_ok().then(|| text.to_owned()))
    }

    fn schema() -> serde_json::Value {
        schema::string(&["https://issuer.example"])
    }
}

/// `[failed_credentials]`: how many a client may get wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedCredentials {
    /// None: as many as it likes.
    pub(crate) limit: Option<std::num::NonZeroUsize>,
    pub(crate) window: Duration,
}

impl Table for FailedCredentials {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(FailedCredentials {
            limit: keys.or::<super::forms::OrNone<super::count::Count>>(
                "limit",
                1000,
                "bad credentials that a client address may send in a window, the same one counted once; over it, what is not known \
                 already is a 429",
            ),
            window: keys.or::<PositiveDuration>("window", "1m", "how long a window is"),
        })
    }
}
