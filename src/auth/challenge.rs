//! `WWW-Authenticate`: what a client is to come back with (RFC 9110 section 11.6.1, RFC 6750 section 3).

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

/// What is offered: one challenge for each scheme.
#[derive(Clone, Debug)]
pub(super) struct Challenges {
    realm: Box<str>,
    schemes: Vec<&'static str>,
}

/// What RFC 6750 section 3.1 has a client told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error<'a> {
    /// There was no credential, of which nothing is said.
    None,
    InvalidRequest,
    InvalidToken(&'a str),
    /// With the scopes that are needed, if those are what is lacking.
    InsufficientScope(&'a [Box<str>]),
}

impl Challenges {
    pub(super) fn new(realm: &str, schemes: Vec<&'static str>) -> Self {
        // What would end the quoted string is no part of a name.
        let realm = realm.chars().filter(|char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\')).collect();
        Self { realm, schemes }
    }

    pub(super) fn write(&self, headers: &mut HeaderMap, error: Error<'_>) {
        for scheme in &self.schemes {
            // Other schemes have no words for it.
            let error = if *scheme == "Bearer" { error } else { Error::None };
            if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(self.challenge(scheme, error))) {
                headers.append(WWW_AUTHENTICATE, value);
            }
        }
    }

    fn challenge(&self, scheme: &str, error: Error<'_>) -> String {
        let mut text = String::with_capacity(128);
        text.push_str(scheme);
        text.push_str(" realm=\"");
        text.push_str(&self.realm);
        text.push('"');
        match error {
            Error::None => {}
            Error::InvalidRequest => text.push_str(", error=\"invalid_request\""),
            Error::InvalidToken(why) => {
                text.push_str(", error=\"invalid_token\", error_description=\"");
                text.push_str(why);
                text.push('"');
            }
            Error::InsufficientScope(scopes) => {
                text.push_str(", error=\"insufficient_scope\"");
                if !scopes.is_empty() {
                    text.push_str(", scope=\"");
                    text.push_str(&scopes.join(" "));
                    text.push('"');
                }
            }
        }
        text
    }
}

/// True for a scope as RFC 6749 section 3.3 has it, which can stand in a challenge.
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}
