//! Whom a request is for, in one way only (RFC 9112 section 3.2, RFC 9110 section 7.2).

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri, Version};

use super::refusal::{Refusal, refuse};
use crate::aside::aside;
use crate::lines::Lines;

const MISSING: Refusal = Refusal::of_message("there is no Host");
const REPEATED: Refusal = Refusal::of_message("there is more than one Host");
const INVALID: Refusal = Refusal::of_message("the Host is not a host with an optional port");
const INVALID_AUTHORITY: Refusal = Refusal::of_message("the target's authority is not a host with an optional port");
const OTHER_SCHEME: Refusal = Refusal::of_message("the target's scheme is neither http nor https");
const DIFFERENT: Refusal = Refusal::of_message("the Host differs from the authority");

/// Refuses a request that does not say plainly whom it is for, and gives the Host to put in place of the one it has.
///
/// The authority of an absolute target goes before Host (RFC 9112 section 3.2.2). In HTTP/2, where `:authority` does that
/// work, one that differs is a malformed request (RFC 9113 section 8.3.1).
pub(super) fn check(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let host = match Lines::of(headers, HOST) {
        Lines::None => None,
        Lines::One(host) => Some(host),
        Lines::Several => return refuse(REPEATED),
    };
    if host.is_some_and(|host| !is_host(host.as_bytes())) {
        return refuse(INVALID);
    }
    if uri.scheme().is_some_and(|scheme| !is_http(scheme.as_str())) {
        return refuse(OTHER_SCHEME);
    }
    match uri.authority() {
        Some(authority) => check_beside(authority.as_str(), host, version),
        // HTTP/1.0 came before Host, and may go without.
        None => {
            if host.is_some() || version < Version::HTTP_11 {
                Ok(None)
            } else {
                refuse(MISSING)
            }
        }
    }
}

#[inline(never)]
fn check_beside(authority: &str, host: Option<&HeaderValue>, version: Version) -> Result<Option<HeaderValue>, Refusal> {
    if !is_host(authority.as_bytes()) {
        return Err(INVALID_AUTHORITY);
    }
    match host {
        Some(host) if host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => Ok(None),
        Some(_) if version > Version::HTTP_11 => Err(DIFFERENT),
        None if version > Version::HTTP_11 => Ok(None),
        None if version == Version::HTTP_11 => Err(MISSING),
        Some(_) | None => HeaderValue::from_str(authority).map(Some).map_err(|_| INVALID_AUTHORITY),
    }
}

#[inline(never)]
fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

#[inline(never)]
fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// `uri-host [ ":" port ]`, the host an IPv6 address in brackets, or letters, digits, `-`, `.`, `_` and `~`.
///
/// RFC 3986 section 3.2.2 lets a registered name hold percent-encodings and delimiters such as `,` and `;` too. No name
/// of the DNS has any, and they are how one host is dressed as another.
fn is_host(value: &[u8]) -> bool {
    let port = match value {
        [b'[', rest @ ..] => {
            aside();
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            if !is_ipv6(&rest[..end]) {
                return false;
            }
            &rest[end + 1..]
        }
        name => {
            let end = name.iter().position(|byte| !is_in_name(*byte)).unwrap_or(name.len());
            if end == 0 {
                aside();
                return false;
            }
            &name[end..]
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    }
}

fn is_in_name(byte: u8) -> bool {
    /// Every request is asked this of every byte of its host.
    static IN_NAME: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let own = byte as u8;
            table[byte] = own.is_ascii_alphanumeric() || matches!(own, b'-' | b'.' | b'_' | b'~');
            byte += 1;
        }
        table
    };
    IN_NAME[usize::from(byte)]
}

/// RFC 3986 section 3.2.3 lets it be empty, which means the default.
fn is_port(digits: &[u8]) -> bool {
    let mut port = 0_u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return false;
        }
        port = port.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    }
    port <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(version: Version, target: &str, hosts: &[&[u8]]) -> Result<Option<String>, Refusal> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        let replaced = check(version, &target.parse().unwrap(), &headers)?;
        Ok(replaced.map(|host| host.to_str().unwrap().to_owned()))
    }

    fn http_1_1(target: &str, hosts: &[&str]) -> Result<Option<String>, Refusal> {
        let hosts: Vec<_> = hosts.iter().map(|host| host.as_bytes()).collect();
        of(Version::HTTP_11, target, &hosts)
    }

    #[test]
    fn one_plain_host_passes() {
        for host in
            ["a", "api.example.com", "A_b-c.d~", "127.0.0.1", "a:80", "a:65535", "a:", "[::1]", "[2001:db8::1]:443"]
        {
            assert_eq!(http_1_1("/", &[host]), Ok(None), "{host}");
        }
    }

    #[test]
    fn a_host_that_is_not_one_is_refused() {
        for host in [
            "",
            " ",
            "a b",
            "a,b",
            "a/b",
            "/",
            "user@a",
            "user:pw@a",
            "a@",
            "a?b",
            "a#b",
            "a\\b",
            "a:b",
            "a:-1",
            "a:+1",
            "a:65536",
            "a:80:80",
            ":80",
            "[::1",
            "::1",
            "[::g]",
            "[::1]x",
            "[]",
            "a%41",
            "a;b",
            "http://a",
            "[v1.a]",
            "[fe80::1%25eth0]",
        ] {
            assert_eq!(http_1_1("/", &[host]), Err(INVALID), "{host}");
        }
        assert_eq!(of(Version::HTTP_11, "/", &[b"a\xff"]), Err(INVALID));
    }

    #[test]
    fn a_missing_or_repeated_host_is_refused() {
        assert_eq!(http_1_1("/", &[]), Err(MISSING));
        assert_eq!(http_1_1("http://a/", &[]), Err(MISSING));
        assert_eq!(http_1_1("/", &["a", "a"]), Err(REPEATED));
    }

    #[test]
    fn http_1_0_may_go_without_a_host() {
        assert_eq!(of(Version::HTTP_10, "/", &[]), Ok(None));
        assert_eq!(of(Version::HTTP_10, "http://a/", &[]), Ok(Some("a".into())));
        assert_eq!(of(Version::HTTP_10, "/", &[b"a", b"b"]), Err(REPEATED));
    }

    #[test]
    fn the_authority_of_the_target_goes_before_host() {
        assert_eq!(http_1_1("http://real:8080/a", &["other"]), Ok(Some("real:8080".into())));
        assert_eq!(http_1_1("HTTPS://real/a", &["REAL"]), Ok(None));
        assert_eq!(http_1_1("http://real/a", &["in valid"]), Err(INVALID));
    }

    #[test]
    fn an_authority_that_is_not_a_host_is_refused() {
        for target in ["http://user@real/", "http://user:pw@real/", "http://real:99999/", "http://a;b/"] {
            assert_eq!(http_1_1(target, &["real"]), Err(INVALID_AUTHORITY), "{target}");
        }
        assert_eq!(http_1_1("ftp://real/", &["real"]), Err(OTHER_SCHEME));
    }

    #[test]
    fn in_http_2_authority_and_host_say_the_same() {
        let http_2 = |target, hosts: &[&[u8]]| of(Version::HTTP_2, target, hosts);
        assert_eq!(http_2("https://a/", &[]), Ok(None));
        assert_eq!(http_2("https://a/", &[b"A"]), Ok(None));
        assert_eq!(http_2("https://a/", &[b"b"]), Err(DIFFERENT));
        assert_eq!(http_2("/", &[]), Err(MISSING));
    }

    proptest! {
        #[test]
        fn what_passes_is_an_authority_without_user_info(host in "[ -~]{0,16}|[a-z.]{1,8}(:[0-9]{0,6})?") {
            if http_1_1("/", &[&host]).is_ok() {
                let authority: http::uri::Authority = host.parse().unwrap();
                prop_assert!(!authority.as_str().contains(['@', '/', ' ', ',', '%', '\\']));
                prop_assert!(!authority.host().is_empty());
            }
        }

        #[test]
        fn any_bytes_pass_or_are_refused(host in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = is_host(&host);
        }
    }
}
