//! Where the body of an answer ends (RFC 9112 section 6.3).

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version};

use crate::aside::aside;
use crate::h1::{Framing, Malformed, decimal};
use crate::known::Known;
use crate::lines::Lines;

/// The framing of an answer to a HEAD, or to any other method. `known` are the fields that `headers` has.
///
/// Stricter than the RFC, which lets `Transfer-Encoding` override `Content-Length`: an origin that sends both, or a coding
/// other than a single `chunked`, or either of them where there is no body to frame it for, is not understood the same way
/// by everyone on the way.
pub(crate) fn framing(
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    known: Known,
    answers_head: bool,
) -> Result<Framing, Malformed> {
    let length = if known.any(Known::CONTENT_LENGTH) { content_length(headers)? } else { None };
    let coded = known.any(Known::TRANSFER_ENCODING);
    // HTTP/1.0 knows no transfer codings: a message that has one is faulty (section 6.1).
    if coded && (!is_chunked(headers) || length.is_some() || version != Version::HTTP_11) {
        aside();
        return Err(Malformed);
    }
    if answers_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        aside();
        return Ok(Framing::Length(0));
    }
    Ok(match length {
        _ if coded => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    })
}

#[inline(never)]
fn is_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    chunked && codings.next().is_none()
}

/// One `Content-Length`, of digits alone. The same value repeated, in a list or in several lines, is refused as well: the
/// RFC allows either (section 6.3), and a gateway gains nothing by guessing.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    match Lines::of(headers, CONTENT_LENGTH) {
        Lines::None => Ok(None),
        Lines::One(line) => decimal(line.as_bytes()).map(Some).ok_or(Malformed),
        Lines::Several => Err(Malformed),
    }
}

/// True when another exchange may follow on the connection (RFC 9112 section 9.3). HTTP/1.0 servers are not asked to.
pub(crate) fn keeps_alive(version: Version, headers: &HeaderMap, known: Known) -> bool {
    let says_close = |line: &HeaderValue| {
        line.as_bytes().split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    let closes = known.any(Known::CONNECTION) && headers.get_all(CONNECTION).iter().any(says_close);
    version == Version::HTTP_11 && !closes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&'static str, &'static str)]) -> Result<Framing, Malformed> {
        of_version(Version::HTTP_11, lines)
    }

    fn of_version(version: Version, lines: &[(&'static str, &'static str)]) -> Result<Framing, Malformed> {
        framing_of(version, StatusCode::OK, &map(lines), false)
    }

    fn framing_of(
        version: Version,
        status: StatusCode,
        headers: &HeaderMap,
        answers_head: bool,
    ) -> Result<Framing, Malformed> {
        framing(version, status, headers, Known::of(headers), answers_head)
    }

    fn keeps_alive_of(version: Version, headers: &HeaderMap) -> bool {
        keeps_alive(version, headers, Known::of(headers))
    }

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_body_is_chunked_or_counted_or_ends_with_the_connection() {
        assert_eq!(of(&[("transfer-encoding", "Chunked")]), Ok(Framing::Chunked));
        assert_eq!(of(&[("content-length", "12")]), Ok(Framing::Length(12)));
        assert_eq!(of(&[]), Ok(Framing::UntilClose));
    }

    #[test]
    fn two_lengths_and_odd_ones_are_malformed() {
        for lines in [
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "6")],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "-5")],
            &[("content-length", "0x5")],
            &[("content-length", "")],
            &[("content-length", "18446744073709551616")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked;q=1")],
            &[("transfer-encoding", "identity")],
        ] {
            assert_eq!(of(lines), Err(Malformed), "{lines:?}");
        }
        assert_eq!(of_version(Version::HTTP_10, &[("transfer-encoding", "chunked")]), Err(Malformed));
    }

    #[test]
    fn answers_without_a_body_have_none_whatever_their_length_says() {
        let length = map(&[("content-length", "1024")]);
        let none = Ok(Framing::Length(0));
        assert_eq!(framing_of(Version::HTTP_11, StatusCode::OK, &length, true), none);
        assert_eq!(framing_of(Version::HTTP_11, StatusCode::NOT_MODIFIED, &length, false), none);
        assert_eq!(framing_of(Version::HTTP_11, StatusCode::NO_CONTENT, &HeaderMap::new(), false), none);
    }

    #[test]
    fn a_connection_is_kept_unless_somebody_says_otherwise() {
        assert!(keeps_alive_of(Version::HTTP_11, &HeaderMap::new()));
        assert!(!keeps_alive_of(Version::HTTP_11, &map(&[("connection", "x, Close")])));
        assert!(!keeps_alive_of(Version::HTTP_10, &map(&[("connection", "keep-alive")])));
    }
}
