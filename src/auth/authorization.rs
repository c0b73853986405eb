//! The `Authorization` field (RFC 9110 section 11.6.2).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::credential::CredentialFault;
use super::jws::{Fault, MAX_TOKEN_LENGTH};
use crate::lines::Lines;

/// What stands behind `scheme` and one space, in the only field there is, as it was sent: of characters that no credential may
/// have as well. For whoever compares it with what was checked before.
pub(super) fn unchecked<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a [u8]> {
    let line = Lines::of(headers, AUTHORIZATION).only()?.as_bytes();
    let (own, rest) = line.split_at_checked(scheme.len())?;
    rest.strip_prefix(b" ").filter(|_| own.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// The credentials of `scheme`, in any case, behind one space. `None` where there are none, or those of another scheme.
///
/// One that is too long for any token is not looked at. Exactly one field: of two, another program may read the other.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<Result<&'a str, CredentialFault>> {
    let line = match Lines::of(headers, AUTHORIZATION) {
        Lines::None => return None,
        Lines::One(line) => line.as_bytes(),
        Lines::Several => return Some(Err(CredentialFault::Malformed)),
    };
    let (own, rest) = line.split_at_checked(scheme.len())?;
    if !own.eq_ignore_ascii_case(scheme.as_bytes()) {
        return None;
    }
    match rest {
        [] => Some(Err(CredentialFault::Malformed)),
        // RFC 6750 section 2.1 has the characters, and so has every other scheme of one token (RFC 9110 section 11.2).
        [b' ', token @ ..] if token.len() > MAX_TOKEN_LENGTH => Some(Err(Fault::TooLong.into())),
        // Without an early end the loop is a few vector instructions.
        [b' ', token @ ..]
            if !token.is_empty() && token.iter().fold(true, |all, byte| all & byte.is_ascii_graphic()) =>
        {
            Some(std::str::from_utf8(token).map_err(|_| CredentialFault::Malformed))
        }
        [b' ', ..] => Some(Err(CredentialFault::Malformed)),
        // The name goes on: `Bearerish` is another scheme.
        [next, ..] if next.is_ascii_graphic() => None,
        _ => Some(Err(CredentialFault::Malformed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(lines: &[&str]) -> Option<Result<String, CredentialFault>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        credentials(&headers, "Bearer").map(|found| found.map(str::to_owned))
    }

    #[test]
    fn the_scheme_is_in_any_case_and_one_space_follows() {
        for line in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"] {
            assert_eq!(read(&[line]), Some(Ok("a.b.c".to_owned())), "{line}");
        }
        for line in
            ["Bearer", "Bearer ", "Bearer  a.b.c", "Bearer\ta.b.c", "Bearer a.b.c ", "Bearer a b", "Bearer a\u{e9}"]
        {
            assert_eq!(read(&[line]), Some(Err(CredentialFault::Malformed)), "{line:?}");
        }
        for line in ["Basic a", "Bearerish a", "Bear a", "", "Bearer,a"] {
            assert_eq!(read(&[line]), None, "{line:?}");
        }
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn what_is_not_checked_is_what_is_checked_where_that_is_a_credential() {
        let unchecked_of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            unchecked(&headers, "Bearer").map(<[u8]>::to_vec)
        };
        for line in ["Bearer a.b.c", "bearer x", "BEARER =-~"] {
            assert_eq!(unchecked_of(&[line]), Some(read(&[line]).unwrap().unwrap().into_bytes()), "{line}");
        }
        for lines in [&["Bearer"][..], &["Bearera"], &["Basic a"], &["Bearer a", "Bearer a"], &[]] {
            assert_eq!(unchecked_of(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn two_fields_are_malformed_even_when_they_are_the_same() {
        assert_eq!(read(&["Bearer a", "Bearer a"]), Some(Err(CredentialFault::Malformed)));
        assert_eq!(read(&["Basic x", "Bearer a"]), Some(Err(CredentialFault::Malformed)));
    }
}
