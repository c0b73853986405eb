//! The claims of a token whose signature was checked (RFC 7519 section 4).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::claim_path;
use super::issuer::Expectations;
use super::json;
use super::jws::Fault;
use crate::{CredentialKind, Identity};

/// Milliseconds since 1970, of which there are enough for 292 million years in either direction.
pub(super) type Millis = i64;

/// The time now, as tokens count it.
pub(super) fn millis(time: SystemTime) -> Millis {
    let since = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}

/// The claims, as they are and as they were sent.
pub(super) struct Claims {
    members: Map<String, Value>,
    raw: Bytes,
}

impl Claims {
    pub(super) fn read(payload: Vec<u8>) -> Result<Self, Fault> {
        let members = json::object(&payload).ok_or(Fault::BadClaims)?;
        Ok(Self { members, raw: payload.into() })
    }

    /// Holds the claims to what is expected of them, at the time `now`.
    pub(super) fn check(&self, expected: &Expectations, now: Millis) -> Result<(), Fault> {
        let leeway = i64::try_from(expected.leeway.as_millis()).unwrap_or(i64::MAX);
        match self.date("exp")? {
            Some(exp) if now >= exp.saturating_add(leeway) => return Err(Fault::Expired),
            None if expected.needs_expiry => return Err(Fault::MissingClaim),
            _ => {}
        }
        for name in ["nbf", "iat"] {
            if self.date(name)?.is_some_and(|date| now < date.saturating_sub(leeway)) {
                return Err(Fault::NotYetValid);
            }
        }
        let issuer = self.text("iss")?;
        if let Some(accepted) = &expected.issuers {
            let issuer = issuer.ok_or(Fault::MissingClaim)?;
            if !accepted.iter().any(|own| **own == *issuer) {
                return Err(Fault::WrongIssuer);
            }
        }
        self.text("sub")?;
        self.check_audience(expected.audiences.as_deref())
    }

    /// A string or an array of them; one that is both ours and others' is ours (RFC 7519 section 4.1.3).
    fn check_audience(&self, accepted: Option<&[Box<str>]>) -> Result<(), Fault> {
        let audience = self.members.get("aud");
        let is_ours = |name: &str| accepted.is_none_or(|accepted| accepted.iter().any(|own| **own == *name));
        match audience {
            None if accepted.is_some() => Err(Fault::MissingClaim),
            None => Ok(()),
            Some(Value::String(name)) if is_ours(name) => Ok(()),
            Some(Value::Array(names)) if !names.iter().all(Value::is_string) => Err(Fault::BadClaims),
            Some(Value::Array(names)) if accepted.is_none() || names.iter().filter_map(Value::as_str).any(is_ours) => {
                Ok(())
            }
            Some(Value::String(_) | Value::Array(_)) => Err(Fault::WrongAudience),
            Some(_) => Err(Fault::BadClaims),
        }
    }

    /// The time after which nothing may be built on these claims any more, without leeway.
    pub(super) fn expiry(&self) -> Millis {
        self.date("exp").ok().flatten().unwrap_or(Millis::MAX)
    }

    /// The time before which the claims are not to be taken.
    pub(super) fn identity(self, expected: &Expectations) -> Identity {
        let mut identity = Identity::builder(CredentialKind::Jwt);
        if let Ok(Some(subject)) = self.text("sub") {
            identity = identity.subject(subject);
        }
        if let Ok(Some(issuer)) = self.text("iss") {
            identity = identity.issuer(issuer);
        }
        let scopes = claim_path::texts(&self.members, &expected.scopes_claims);
        let scopes = scopes.into_iter().flat_map(|list| list.split(' ')).filter(|scope| !scope.is_empty());
        identity = identity.scopes(scopes).roles(claim_path::texts(&self.members, &expected.roles_claims));
        if let Some(plan) = claim_path::texts(&self.members, &expected.plan_claims).first() {
            identity = identity.plan(*plan);
        }
        identity.verified_claims(self.members, self.raw).build()
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::BadClaims),
        }
    }

    /// A NumericDate: a number of seconds, which may have a fraction and be of any size (RFC 7519 section 2).
    fn date(&self, name: &str) -> Result<Option<Millis>, Fault> {
        let Some(value) = self.members.get(name) else { return Ok(None) };
        let Value::Number(number) = value else { return Err(Fault::BadClaims) };
        if let Some(seconds) = number.as_i64() {
            return Ok(Some(seconds.saturating_mul(1000)));
        }
        let seconds = number.as_f64().filter(|seconds| seconds.is_finite()).ok_or(Fault::BadClaims)?;
        // A cast saturates.
        Ok(Some((seconds * 1000.0).floor() as Millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_800_000_000_000;

    fn check(claims: &str, expected: &Expectations) -> Result<(), Fault> {
        Claims::read(claims.as_bytes().to_vec())?.check(expected, NOW)
    }

    fn lax() -> Expectations {
        Expectations { needs_expiry: false, ..Expectations::default() }
    }

    #[test]
    fn a_date_is_a_number_of_seconds_and_may_be_of_any_size() {
        for (claims, result) in [
            (r#"{"exp":1800000001}"#, Ok(())),
            (r#"{"exp":1800000000}"#, Ok(())),
            (r#"{"exp":1799999970}"#, Err(Fault::Expired)),
            (r#"{"exp":1799999970.001}"#, Ok(())),
            (r#"{"exp":1.8e9}"#, Ok(())),
            (r#"{"exp":9223372036854775807}"#, Ok(())),
            (r#"{"exp":18446744073709551615}"#, Ok(())),
            (r#"{"exp":1e300}"#, Ok(())),
            (r#"{"exp":-1e300}"#, Err(Fault::Expired)),
            (r#"{"exp":-9223372036854775808}"#, Err(Fault::Expired)),
            (r#"{"exp":0}"#, Err(Fault::Expired)),
            (r#"{"exp":-0.0}"#, Err(Fault::Expired)),
            (r#"{"exp":"1800000001"}"#, Err(Fault::BadClaims)),
            (r#"{"exp":null}"#, Err(Fault::BadClaims)),
            (r#"{"exp":true}"#, Err(Fault::BadClaims)),
            (r#"{"exp":[1800000001]}"#, Err(Fault::BadClaims)),
            (r#"{"nbf":1800000030}"#, Ok(())),
            (r#"{"nbf":1800000031}"#, Err(Fault::NotYetValid)),
            (r#"{"nbf":-1}"#, Ok(())),
            (r#"{"nbf":1e300}"#, Err(Fault::NotYetValid)),
            (r#"{"nbf":"0"}"#, Err(Fault::BadClaims)),
            (r#"{"iat":1800000031}"#, Err(Fault::NotYetValid)),
            (r#"{"iat":{}}"#, Err(Fault::BadClaims)),
            (r#"{"exp":1800000001,"exp":1}"#, Err(Fault::BadClaims)),
            ("[]", Err(Fault::BadClaims)),
            ("", Err(Fault::BadClaims)),
        ] {
            assert_eq!(check(claims, &lax()), result, "{claims}");
        }
        assert_eq!(check("{}", &Expectations::default()), Err(Fault::MissingClaim));
    }

    #[test]
    fn an_audience_is_a_string_or_an_array_of_which_one_is_ours() {
        let expected = Expectations { audiences: Some(vec!["gateway".into(), "other".into()]), ..lax() };
        for (claims, result) in [
            (r#"{"aud":"gateway"}"#, Ok(())),
            (r#"{"aud":["x","other"]}"#, Ok(())),
            (r#"{"aud":"Gateway"}"#, Err(Fault::WrongAudience)),
            (r#"{"aud":"gateway "}"#, Err(Fault::WrongAudience)),
            (r#"{"aud":"gateway other"}"#, Err(Fault::WrongAudience)),
            (r#"{"aud":[]}"#, Err(Fault::WrongAudience)),
            (r#"{"aud":["gateway",1]}"#, Err(Fault::BadClaims)),
            (r#"{"aud":{"gateway":1}}"#, Err(Fault::BadClaims)),
            (r#"{"aud":null}"#, Err(Fault::BadClaims)),
            (r#"{}"#, Err(Fault::MissingClaim)),
        ] {
            assert_eq!(check(claims, &expected), result, "{claims}");
        }
        assert_eq!(check(r#"{"aud":["any"]}"#, &lax()), Ok(()));
        assert_eq!(check(r#"{"aud":7}"#, &lax()), Err(Fault::BadClaims));
    }

    #[test]
    fn the_issuer_is_compared_as_it_is() {
        let expected = Expectations { issuers: Some(vec!["https://a.example/".into()]), ..lax() };
        for (claims, result) in [
            (r#"{"iss":"https://a.example/"}"#, Ok(())),
            (r#"{"iss":"https://a.example"}"#, Err(Fault::WrongIssuer)),
            (r#"{"iss":["https://a.example/"]}"#, Err(Fault::BadClaims)),
            ("{}", Err(Fault::MissingClaim)),
        ] {
            assert_eq!(check(claims, &expected), result, "{claims}");
        }
        assert_eq!(check(r#"{"sub":7}"#, &lax()), Err(Fault::BadClaims));
    }

    #[test]
    fn scopes_roles_and_plan_come_from_wherever_they_are_said_to_stand() {
        let of = |claims: &str, expected: &Expectations| {
            let identity = Claims::read(claims.as_bytes().to_vec()).unwrap().identity(expected);
            let list = |texts: Vec<&str>| texts.join(",");
            (list(identity.scopes().collect()), list(identity.roles().collect()), identity.plan().map(str::to_owned))
        };
        let plain = lax();
        let found = |scopes: &str, roles: &str, plan: Option<&str>| {
            (scopes.to_owned(), roles.to_owned(), plan.map(str::to_owned))
        };
        assert_eq!(of(r#"{"scope":" a  b ","role":"admin","plan":"pro"}"#, &plain), found("a,b", "admin", Some("pro")));
        assert_eq!(of(r#"{"scp":["a","b c"],"roles":["x","y"],"plan":1}"#, &plain), found("a,b,c", "x,y", None));
        let keycloak = Expectations { roles_claims: vec!["realm_access.roles".into()], ..lax() };
        assert_eq!(of(r#"{"realm_access":{"roles":["x"]},"role":"y"}"#, &keycloak), found("", "x", None));
    }
}
