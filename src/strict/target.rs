//! Which form of target goes with which method (RFC 9112 section 3.2).

use http::{Method, Uri};

use super::refusal::{Refusal, refuse};

// What follows a CONNECT on the connection may be meant for the tunnel already (RFC 9110 section 9.3.6).
const CONNECT: Refusal = Refusal::not_implemented("CONNECT is not supported here").closing();
// An echo shows what the gateway added to the request, and what a browser keeps from scripts (RFC 9110 section 9.3.8).
const TRACE: Refusal = Refusal::not_implemented("TRACE is not supported here");
const AUTHORITY_FORM: Refusal = Refusal::of_message("a target without a path is for CONNECT alone");
const ASTERISK_FORM: Refusal = Refusal::of_target("the target * is for OPTIONS alone");

/// Refuses methods that lead around a gateway's rules, and targets that are not for this method. Methods that are not
/// known pass.
pub(super) fn check(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    match *method {
        Method::CONNECT => refuse(CONNECT),
        Method::TRACE => refuse(TRACE),
        _ if is_authority_form(uri) => refuse(AUTHORITY_FORM),
        _ if is_asterisk(uri) && *method != Method::OPTIONS => refuse(ASTERISK_FORM),
        _ => Ok(()),
    }
}

/// True for `*`, which is not a path.
pub(super) fn is_asterisk(uri: &Uri) -> bool {
    uri.path() == "*"
}

fn is_authority_form(uri: &Uri) -> bool {
    uri.authority().is_some() && uri.scheme().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, target: &str) -> Result<(), Refusal> {
        check(&method.parse().unwrap(), &target.parse().unwrap())
    }

    #[test]
    fn methods_that_lead_around_the_rules_are_not_implemented() {
        assert_eq!(of("CONNECT", "example.com:443").map_err(Refusal::what), Err((501, true)));
        assert_eq!(of("TRACE", "/").map_err(Refusal::what), Err((501, false)));
    }

    #[test]
    fn other_methods_pass_known_or_not() {
        for method in ["GET", "OPTIONS", "PURGE", "get", "M-SEARCH"] {
            assert_eq!(of(method, "/"), Ok(()), "{method}");
        }
    }

    #[test]
    fn each_form_is_for_its_method() {
        assert_eq!(of("OPTIONS", "*"), Ok(()));
        assert_eq!(of("GET", "*"), Err(ASTERISK_FORM));
        assert_eq!(of("GET", "example.com:443"), Err(AUTHORITY_FORM));
        assert_eq!(of("GET", "http://example.com"), Ok(()));
    }
}
