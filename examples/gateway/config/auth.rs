//! `auth` of a route: who may use it.

use serde_json::Value as Json;

use super::forms::{ListOf, NonEmpty};
use super::jwt::{JwtIssuer, Plain};
use super::literal::EMPTY;
use super::path::RequestPath;
use super::schema;
use super::table::{Keys, Listed, Table};
use super::value::{Form, Value};

/// `[routes.NAME.auth]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteAuth {
    /// Absent: all kinds that are configured.
    pub(crate) accept: Option<Vec<Accept>>,
    pub(crate) required: bool,
    pub(crate) scopes: Vec<String>,
    pub(crate) roles: Vec<String>,
    /// Each begins with "/", in normal form.
    pub(crate) except: Vec<String>,
    pub(crate) forward_credentials: bool,
}

/// A kind of credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Accept {
    /// Tokens of any issuer.
    Jwt,
    /// Tokens of this issuer, which exists.
    Issuer(String),
    ApiKey,
    /// Only where it is named: a listener that asks for certificates lets nobody in on routes that say nothing of them.
    ClientCertificate,
}

impl Table for RouteAuth {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let accept = keys.optional::<NonEmpty<Accept>>(
            "accept",
            "kinds of credential; absent: all tokens and keys that are configured",
        );
        let required = keys.or::<bool>("required", true, "whether a request without a credential is a 401");
        let scopes = keys.or::<ListOf<Scope>>("scopes", EMPTY, "all of these are needed: 403");
        let roles = keys.or::<ListOf<Plain>>("roles", EMPTY, "one of these is needed: 403");
        let except =
            keys.or::<ListOf<RequestPath>>("except", EMPTY, "path prefixes that are open to all, by whole segments");
        let forward_credentials =
            keys.or::<bool>("forward_credentials", false, "whether the upstream is sent the credential");
        if !required && (!scopes.is_empty() || !roles.is_empty()) {
            let message = format!(
                "[{}] asks for scopes or roles, which a request without a credential passes by, since required is false",
                keys.path
            );
            keys.reader.warn(&keys.at, &keys.path, message);
        }
        keys.are_sound(&["accept"]).then_some(RouteAuth {
            accept,
            required,
            scopes,
            roles,
            except,
            forward_credentials,
        })
    }
}

impl Form for Accept {
    type Output = Accept;

    fn expects() -> String {
        r#""jwt", "api_key", "client_certificate" or "jwt:NAME" for the tokens of one issuer"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Accept> {
        let text = value.text::<Self>()?;
        match text.text.as_str() {
            "jwt" => Some(Accept::Jwt),
            "api_key" => Some(Accept::ApiKey),
            "client_certificate" => Some(Accept::ClientCertificate),
            other => match other.strip_prefix("jwt:").map(str::to_owned) {
                Some(name) if !name.is_empty() => {
                    let mut reference = text;
                    reference.written = reference.written.trim_start_matches("jwt:").to_owned();
                    reference.text.clone_from(&name);
                    value.reader.refer(JwtIssuer::SECTION, reference, value.path.clone(), value.at());
                    Some(Accept::Issuer(name))
                }
                _ => {
                    value.is_not::<Self>();
                    None
                }
            },
        }
    }

    fn schema() -> Json {
        schema::string(&["jwt", "api_key", "client_certificate"])
    }
}

/// A scope (RFC 6749 section 3.3).
struct Scope;

impl Form for Scope {
    type Output = String;

    fn expects() -> String {
        r#"a scope such as "users:read", without spaces and quotes"#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        let is_scope = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        };
        value.parsed::<Self, _>(|text| is_scope(text).then(|| text.to_owned()))
    }

    fn schema() -> Json {
        schema::string(&["users:read"])
    }
}
