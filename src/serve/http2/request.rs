//! From what h2 accepts to a request that a service may be given (RFC 9113 section 8).

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, uri};

use crate::known::Known;
use crate::serve::settings::Settings;
use crate::upgraded::name_websocket;
use crate::{Reason, Rejection};

/// What becomes of a request that no service is given.
pub(super) enum Refusal {
    /// It is malformed (RFC 9113 section 8.1.1), which ends the stream with PROTOCOL_ERROR.
    Malformed,
    Answer(Rejection),
}

/// Looks at what h2 has let pass, and joins what HTTP/2 tore apart. `known` is what it has of the fields that matter here. The
/// length it announces, if any.
///
/// h2 itself refuses: pseudo-header fields that are unknown, repeated, missing, empty or behind others; names that are not in
/// lower case; fields of the connection, and `TE` with anything but `trailers`; control characters in values; DATA that is
/// more or less than `Content-Length` says; trailers with pseudo-header fields.
pub(super) fn check<B>(request: &mut Request<B>, known: Known, settings: &Settings) -> Result<Option<u64>, Refusal> {
    if !has_valid_values(request.headers()) || !has_valid_path(request.method(), request.uri()) {
        return Err(Refusal::Malformed);
    }
    if request.headers().len() > settings.max_headers {
        return Err(Refusal::Answer(Rejection::new("serve", Reason::HeadersTooLarge)));
    }
    join_cookies(request.headers_mut());
    let length = match known.any(Known::CONTENT_LENGTH) {
        true => content_length(request.headers())?,
        false => None,
    };
    if let Some(limit) = settings.max_body_bytes
        && length.is_some_and(|length| length > limit)
    {
        return Err(Refusal::Answer(Rejection::new("serve", Reason::BodyTooLarge)));
    }
    Ok(length)
}

/// RFC 9113 section 8.2.1: a value neither begins nor ends in white space. Others would trim it, and see another value.
pub(super) fn has_valid_values(headers: &HeaderMap) -> bool {
    let is_white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    headers.values().all(|value| {
        let value = value.as_bytes();
        !is_white(value.first()) && !is_white(value.last())
    })
}

/// RFC 9113 section 8.3.1: it begins with a slash, or is the asterisk of OPTIONS. CONNECT without a protocol has none.
fn has_valid_path(method: &Method, uri: &http::Uri) -> bool {
    match uri.path_and_query().map(uri::PathAndQuery::as_str) {
        Some("*") => method == Method::OPTIONS,
        Some(path) => path.starts_with('/'),
        None => method == Method::CONNECT,
    }
}

/// RFC 9113 section 8.2.3: cookies may come in a field each, for compression's sake, and are one field to everybody else.
fn join_cookies(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(COOKIE).iter();
    if pieces.next().is_none() || pieces.next().is_none() {
        return;
    }
    let pieces: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Of several, or of what is no number, a recipient may read anything (RFC 9110 section 8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    let digits = length.to_str().ok().filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), lengths.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(Refusal::Malformed),
    }
}

/// Whether a request is for a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    No,
    /// Of WebSocket's (RFC 8441).
    WebSocket,
    /// Of one that nobody here speaks.
    Unknown,
}

/// A CONNECT that names WebSocket as its protocol is the GET that asks for it everywhere else, and is made into that: every
/// rule for requests is then a rule for it.
pub(super) fn tunnel<B>(request: &mut Request<B>) -> Tunnel {
    match request.extensions_mut().remove::<h2::ext::Protocol>() {
        None => Tunnel::No,
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => {
            *request.method_mut() = Method::GET;
            name_websocket(request.headers_mut());
            Tunnel::WebSocket
        }
        Some(_) => Tunnel::Unknown,
    }
}

/// True for a client that sends its body when it is told to.
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(request: http::request::Builder) -> Result<(Option<u64>, Request<()>), &'static str> {
        let mut request = request.body(()).unwrap();
        let known = Known::of(request.headers());
        match check(&mut request, known, &Settings::default()) {
            Ok(length) => Ok((length, request)),
            Err(Refusal::Malformed) => Err("malformed"),
            Err(Refusal::Answer(rejection)) => Err(rejection.reason().code()),
        }
    }

    #[test]
    fn white_space_around_a_value_is_malformed_and_within_it_is_not() {
        for value in [" a", "a ", "\ta", "a\t", " "] {
            assert_eq!(checked(Request::get("/").header("x", value)).unwrap_err(), "malformed", "{value:?}");
        }
        checked(Request::get("/").header("x", "a b").header("y", "")).unwrap();
    }

    #[test]
    fn a_path_begins_with_a_slash_and_the_asterisk_is_for_options() {
        checked(Request::options("*")).unwrap();
        assert_eq!(checked(Request::get("*")).unwrap_err(), "malformed");
    }

    #[test]
    fn cookies_are_one_field_again() {
        let request = Request::get("/").header("cookie", "a=1").header("cookie", "b=2; c=3").header("cookie", "d=4");
        let (_, request) = checked(request).unwrap();
        assert_eq!(request.headers().get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn a_length_is_one_number_within_the_limit() {
        let of = |lengths: &[&str]| {
            let request =
                lengths.iter().fold(Request::post("/"), |request, length| request.header("content-length", *length));
            checked(request).map(|(length, _)| length)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["7"]), Ok(Some(7)));
        assert_eq!(of(&["10485761"]), Err("body_too_large"));
        for doubtful in [&["7", "7"][..], &["+7"], &["7,7"], &[""], &["99999999999999999999"]] {
            assert_eq!(of(doubtful), Err("malformed"), "{doubtful:?}");
        }
    }

    #[test]
    fn more_fields_than_may_be_are_refused() {
        let many = (0..101).fold(Request::get("/"), |request, number| request.header("x", number));
        assert_eq!(checked(many).unwrap_err(), "headers_too_large");
    }
}
