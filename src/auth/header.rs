//! The JOSE header of a token (RFC 7515 section 4), read strictly.

use serde_json::{Map, Value};

use super::json;

/// What matters of a header. Keys and places of keys that a token names itself (`jwk`, `jku`, `x5u`, `x5c`) are not among it:
/// nothing here has a use for them.
#[derive(Debug)]
pub(super) struct JoseHeader {
    members: Map<String, Value>,
}

impl JoseHeader {
    /// `None` where the header is not one that can be understood whole.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let members = json::object(text)?;
        // RFC 7515 section 4.1.11: what is critical has to be understood, and nothing that could be is understood here.
        // A payload that is not base64url (RFC 7797) has to be critical, and is refused also where it is not.
        // A header with `enc` is that of an encrypted token (RFC 7516 section 9).
        let is_plain = !members.contains_key("crit")
            && !members.contains_key("enc")
            && members.get("b64").is_none_or(|b64| *b64 == Value::Bool(true));
        let is_typed = members.get("alg").is_some_and(Value::is_string)
            && ["kid", "typ", "cty"].into_iter().all(|name| members.get(name).is_none_or(Value::is_string));
        (is_plain && is_typed).then_some(Self { members })
    }

    /// The algorithm that the token claims to be signed by, to be compared with a key's own.
    pub(super) fn algorithm(&self) -> &str {
        self.text("alg").unwrap_or_default()
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.text("kid")
    }

    /// True when the token is of this type, `application/` left out or not and in any case (RFC 7515 section 4.1.9).
    pub(super) fn is_of_type(&self, expected: &str) -> bool {
        let bare = |name: &str| {
            let name = name.to_ascii_lowercase();
            name.strip_prefix("application/").map(str::to_owned).unwrap_or(name)
        };
        self.text("typ").is_some_and(|typ| bare(typ) == bare(expected))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_asks_for_what_is_not_understood_is_refused() {
        for header in [
            r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
            r#"{"alg":"HS256","b64":false}"#,
            r#"{"alg":"HS256","b64":"true"}"#,
            r#"{"alg":"HS256","enc":"A128GCM"}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":null}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"HS256","kid":7}"#,
            r#"{"alg":"HS256","typ":1}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"none","\u0061lg":"HS256"}"#,
        ] {
            assert!(JoseHeader::read(header.as_bytes()).is_none(), "{header}");
        }
        assert!(JoseHeader::read(br#"{"alg":"HS256","b64":true,"jku":"https://evil.example","x":{}}"#).is_some());
    }

    #[test]
    fn a_type_may_leave_out_application_and_be_in_any_case() {
        let header = JoseHeader::read(br#"{"alg":"HS256","typ":"AT+jwt"}"#).unwrap();
        assert!(header.is_of_type("at+jwt") && header.is_of_type("application/at+jwt") && !header.is_of_type("JWT"));
        assert!(!JoseHeader::read(br#"{"alg":"HS256"}"#).unwrap().is_of_type("JWT"));
    }
}
