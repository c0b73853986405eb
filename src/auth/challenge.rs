//! `WWW-Authenticate`: what a client is to come back with (RFC 9110 section 11.6.1, RFC 6750 section 3).

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};

use super::jws::Fault;

/// What is offered: one challenge for each scheme.
#[derive(Clone, Debug)]
pub(super) struct Challenges {
    realm: Box<str>,
    schemes: Vec<Scheme>,
}

/// A scheme, and what is said of it most: written once, as those who are refused come often.
#[derive(Clone, Debug)]
struct Scheme {
    name: &'static str,
    alone: HeaderValue,
    /// For each fault of a token, by the sentence that tells it.
    faults: Vec<(&'static str, HeaderValue)>,
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
        let realm: Box<str> =
            realm.chars().filter(|char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\')).collect();
        let schemes = schemes.into_iter().map(|name| Scheme {
            name,
            alone: value(challenge(name, &realm, Error::None)),
            faults: Fault::ALL
                .map(Fault::as_str)
                .into_iter()
                .filter(|_| name == BEARER)
                .map(|why| (why, value(challenge(name, &realm, Error::InvalidToken(why)))))
                .collect(),
        });
        Self { schemes: schemes.collect(), realm }
    }

    pub(super) fn write(&self, headers: &mut HeaderMap, error: Error<'_>) {
        for scheme in &self.schemes {
            headers.append(WWW_AUTHENTICATE, self.value(scheme, error));
        }
    }

    fn value(&self, scheme: &Scheme, error: Error<'_>) -> HeaderValue {
        let known = match error {
            // Other schemes have no words for it.
            _ if scheme.name != BEARER => Some(&scheme.alone),
            Error::None => Some(&scheme.alone),
            Error::InvalidToken(why) => scheme.faults.iter().find(|(fault, _)| *fault == why).map(|(_, value)| value),
            _ => None,
        };
        known.cloned().unwrap_or_else(|| value(challenge(scheme.name, &self.realm, error)))
    }
}

/// The one scheme whose challenges say what is wrong.
const BEARER: &str = "Bearer";

/// Of visible ASCII.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static(BEARER))
}

fn challenge(scheme: &str, realm: &str, error: Error<'_>) -> String {
    let mut text = String::with_capacity(128);
    text.push_str(scheme);
    text.push_str(" realm=\"");
    text.push_str(realm);
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

/// True for a scope as RFC 6749 section 3.3 has it, which can stand in a challenge.
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}
