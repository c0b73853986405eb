//! `[cors]`, and `cors` of a route: which scripts of other origins may read its answers (Fetch standard, section 3.3).

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use serde_json::Value as Json;

use super::duration::AnyDuration;
use super::forms::{ListOf, Locate, NonEmpty};
use super::matching::MethodName;
use super::schema;
use super::table::{Keys, Table};
use super::value::{Form, Value};

/// `[cors]` or `[routes.NAME.cors]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cors {
    pub(crate) allow_origins: AllowedOrigins,
    pub(crate) allow_methods: Vec<Method>,
    pub(crate) allow_headers: Vec<HeaderName>,
    pub(crate) expose_headers: Vec<HeaderName>,
    pub(crate) allow_credentials: bool,
    pub(crate) max_age: Option<Duration>,
}

/// Whose scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedOrigins {
    /// Everybody's; never with credentials.
    Any,
    These(Vec<HeaderValue>),
}

/// What a route says of CORS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum RouteCors {
    /// As `[cors]` has it.
    #[default]
    AsAll,
    Own(Cors),
    Off,
}

impl RouteCors {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let own = keys.optional::<Cors>("cors", "which scripts may read its answers; absent: as [cors] has it");
        match own {
            Some(own) => Self::Own(own),
            None if keys.is_off("cors") => Self::Off,
            None => Self::AsAll,
        }
    }
}

impl Table for Cors {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let origins = keys.required::<Locate<NonEmpty<Origin>>>("allow_origins", "whose scripts, or \"*\"");
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        let methods = keys.or::<ListOf<MethodName>>("allow_methods", methods, "beyond the plain ones");
        let headers = ["authorization", "content-type", "x-api-key"];
        let headers = keys.or::<ListOf<HeaderName>>("allow_headers", headers, "that requests may have");
        let exposed = [
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-cache",
            "x-request-id",
        ];
        let exposed = keys.or::<ListOf<HeaderName>>("expose_headers", exposed, "that scripts may read");
        let credentials = keys.or::<bool>("allow_credentials", false, "whether cookies and the like are sent");
        let max_age = keys.optional::<AnyDuration>("max_age", "how long a browser need not ask again");

        let origins = origins?;
        let any = origins.value.iter().any(|origin| origin == "*");
        if any && credentials {
            let message = format!(
                "{}: \"*\" with allow_credentials would let every site act as its visitors; name the origins",
                origins.path
            );
            keys.reader.fault(&origins.at, &origins.path, message);
            return None;
        }
        if any && origins.value.len() > 1 {
            let message = format!("{}: \"*\" is all of them; leave the others out", origins.path);
            keys.reader.fault(&origins.at, &origins.path, message);
            return None;
        }
        Some(Cors {
            allow_origins: if any { AllowedOrigins::Any } else { AllowedOrigins::These(origins.value) },
            allow_methods: methods,
            allow_headers: headers,
            expose_headers: exposed,
            allow_credentials: credentials,
            max_age,
        })
    }
}

/// An origin as browsers send it (RFC 6454, section 6.1), or `*`.
struct Origin;

impl Form for Origin {
    type Output = HeaderValue;

    fn expects() -> String {
        r#"an origin such as "https://app.example", without a path, or "*""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<HeaderValue> {
        value.parsed::<Self, _>(|text| {
            let is_origin = text.parse::<Uri>().is_ok_and(|uri| {
                let authority = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
                authority && uri.scheme().is_some() && text.split("://").nth(1) == uri.authority().map(|it| it.as_str())
            });
            let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
            (text == "*" || is_origin && is_lower).then(|| text.parse().ok())?
        })
    }

    fn schema() -> Json {
        schema::string(&["https://app.example", "*"])
    }
}
