//! Reading the head of a request (RFC 9112 sections 2 to 3, 6 and 9.3).

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, Request, Uri, Version};

use crate::aside::aside;
use crate::h1::names::Fields;
use crate::h1::{Framing, decimal};
use crate::known::Known;
use crate::{Reason, Rejection};

/// Fields that are parsed on the stack; more are allowed where the server's settings say so.
const FIELDS: usize = 100;

/// `http::HeaderMap` panics when it is to hold more than about 24,000 fields.
const MAX_FIELDS: usize = 10_000;

/// How many fields layers add to a request, as a rule: an id, a trace, and what is forwarded of the client.
const ADDED_FIELDS: usize = 4;

/// `http::Uri` takes no longer ones.
const MAX_TARGET: usize = (u16::MAX - 1) as usize;

/// How long a head may be, and how many fields it may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

/// What the head of a request says of its body and of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) known: Known,
    pub(super) framing: Framing,
    /// The client would send another request (RFC 9112 section 9.3).
    pub(super) keeps_alive: bool,
}

/// Why there is no request that a service could be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Bytes that are no HTTP/1.1.
    Malformed,
    /// It cannot be told where the message ends, or not in one way.
    Ambiguous,
    TargetTooLong,
    TooLong,
    /// It began, and did not come to its end in time.
    TooSlow,
}

impl Refused {
    pub(super) fn rejection(self) -> Rejection {
        let rejection = |reason| Rejection::new("serve", reason);
        match self {
            Self::Malformed => rejection(Reason::BadRequest).detail("the request is not HTTP/1.1"),
            Self::Ambiguous => rejection(Reason::BadRequest).detail("the length of the message is ambiguous"),
            Self::TargetTooLong => rejection(Reason::TargetTooLong),
            Self::TooLong => rejection(Reason::HeadersTooLarge),
            Self::TooSlow => rejection(Reason::RequestTimeout),
        }
    }
}

/// Takes a head from the front of `buffer` once all of it is there, and puts it into `request`, which is written where it stands
/// and not moved here. The values share the buffer's memory. One that is refused stays in the buffer: see [`is_of_head`].
pub(super) fn read_head<B>(
    buffer: &mut BytesMut,
    limits: Limits,
    request: &mut Request<B>,
) -> Result<Option<Head>, Refused> {
    let parsed = if limits.fields <= FIELDS {
        parse(buffer, limits.bytes, &mut [const { MaybeUninit::uninit() }; FIELDS][..limits.fields])
    } else {
        parse_many(buffer, limits)
    };
    let Some(parsed) = parsed? else {
        aside();
        return Ok(None);
    };
    let bytes = buffer.split_to(parsed.end).freeze();
    let head = parsed.read(&bytes, request);
    if head.is_err() {
        aside();
        let rest = std::mem::replace(buffer, BytesMut::from(&bytes[..]));
        buffer.extend_from_slice(&rest);
    }
    head.map(Some)
}

#[inline(never)]
fn parse_many(buffer: &[u8], limits: Limits) -> Result<Option<Parsed>, Refused> {
    parse(buffer, limits.bytes, &mut vec![MaybeUninit::uninit(); limits.fields.min(MAX_FIELDS)])
}

/// True when these are bytes of a request for a head alone, and an answer to it has no content, whatever else is wrong with it.
pub(super) fn is_of_head(received: &[u8]) -> bool {
    received.trim_ascii_start().starts_with(b"HEAD ")
}

/// What a head is, while its bytes are still where they came.
struct Parsed {
    end: usize,
    method: Method,
    target: Range<usize>,
    version: Version,
    fields: Fields,
}

impl Parsed {
    #[inline]
    fn read<B>(self, bytes: &Bytes, request: &mut Request<B>) -> Result<Head, Refused> {
        let Self { method, target, version, fields, .. } = self;
        let headers = fields.read(bytes, ADDED_FIELDS).map_err(|_| Refused::Malformed)?;
        let uri = Uri::from_maybe_shared(bytes.slice(target.clone())).map_err(|_| Refused::Malformed)?;
        if has_fragment(&bytes[target], &uri) {
            return Err(Refused::Malformed);
        }
        let known = Known::of(&headers);
        let framing = framing(version, &headers, known)?;
        let keeps_alive = keeps_alive(version, &headers, known);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = headers;
        Ok(Head { known, framing, keeps_alive })
    }
}

fn parse<'b>(
    buffer: &'b [u8],
    max_bytes: usize,
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<Parsed>, Refused> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, buffer, fields);
    let end = match parsed {
        Ok(httparse::Status::Complete(end)) if end <= max_bytes => end,
        Ok(httparse::Status::Partial) if buffer.len() < max_bytes => return Ok(None),
        Ok(_) if request.version.is_none() || line_length(&request) > max_bytes => return Err(Refused::TargetTooLong),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLong),
        Err(_) => return Err(Refused::Malformed),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refused::Malformed);
    };
    if target.len() > MAX_TARGET {
        return Err(Refused::TargetTooLong);
    }
    if !has_whole_line_ends(&buffer[..end], method, request.headers) {
        return Err(Refused::Malformed);
    }
    let start = target.as_ptr() as usize - buffer.as_ptr() as usize;
    Ok(Some(Parsed {
        end,
        method: Method::from_bytes(method.as_bytes()).map_err(|_| Refused::Malformed)?,
        target: start..start + target.len(),
        version: if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 },
        fields: Fields::find(buffer, request.headers),
    }))
}

/// How long a request line is that was read to its end, with that end.
fn line_length(request: &httparse::Request<'_, '_>) -> usize {
    let length = |part: Option<&str>| part.map_or(0, str::len);
    length(request.method) + length(request.path) + "  HTTP/1.1\r\n".len()
}

/// Every line of a head ends with both characters, and so do the empty ones before it.
///
/// RFC 9112 section 2.2 lets a recipient take a lone line feed for the end of a line. What it is to the one before this
/// server, nobody knows: where it is part of a value there, a client writes fields here that were never checked.
fn has_whole_line_ends(head: &[u8], method: &str, fields: &[httparse::Header<'_>]) -> bool {
    let at = |part: &str| part.as_ptr() as usize - head.as_ptr() as usize;
    let before = &head[..at(method)];
    head.ends_with(b"\r\n\r\n")
        && fields.iter().all(|field| head[..at(field.name)].ends_with(b"\r\n"))
        && before.chunks(2).all(|line| line == b"\r\n")
}

/// The target says which part of the resource is meant, which is for the client alone (RFC 9110 section 4.2.5): `Uri` drops
/// it, others take it for a part of the path.
fn has_fragment(written: &[u8], uri: &Uri) -> bool {
    match uri.path_and_query() {
        Some(kept) if written.starts_with(b"/") => kept.as_str().len() != written.len(),
        _ => written.contains(&b'#'),
    }
}

/// How the body of a request is framed (RFC 9112 section 6.3).
///
/// Stricter than the RFC, which lets `Transfer-Encoding` override `Content-Length`, and lengths that are equal stand beside
/// each other. No client means either, and a proxy before this server may have taken the message for another.
fn framing(version: Version, headers: &HeaderMap, known: Known) -> Result<Framing, Refused> {
    let coded = known.any(Known::TRANSFER_ENCODING);
    if !known.any(Known::CONTENT_LENGTH) && !coded {
        return Ok(Framing::Length(0));
    }
    framing_as_stated(version, headers, coded)
}

#[inline(never)]
fn framing_as_stated(version: Version, headers: &HeaderMap, coded: bool) -> Result<Framing, Refused> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => Some(decimal(length.as_bytes())),
        (Some(_), Some(_)) => return Err(Refused::Ambiguous),
    };
    match length {
        Some(_) if coded => Err(Refused::Ambiguous),
        Some(length) => length.map(Framing::Length).ok_or(Refused::Malformed),
        // HTTP/1.0 knows no transfer codings (section 6.1). Which ones there are besides the last is for the service.
        None if version == Version::HTTP_11 && is_chunked_last(headers) => Ok(Framing::Chunked),
        None => Err(Refused::Malformed),
    }
}

/// The last transfer coding is `chunked`: otherwise nobody can tell where the message ends. None is named beyond ASCII, for
/// their names are tokens (RFC 9112 section 7), and there are readers that take such a field for none.
fn is_chunked_last(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TRANSFER_ENCODING);
    let last = codings.iter().next_back().and_then(|line| line.as_bytes().rsplit(|byte| *byte == b',').next());
    let is_chunked = last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    is_chunked && codings.iter().all(|line| line.as_bytes().is_ascii())
}

fn keeps_alive(version: Version, headers: &HeaderMap, known: Known) -> bool {
    let said = |option| known.any(Known::CONNECTION) && has_option(headers, &CONNECTION, option);
    if version == Version::HTTP_11 { !said("close") } else { said("keep-alive") && !said("close") }
}

/// The client takes trailers (RFC 9110 section 10.1.4).
pub(super) fn takes_trailers(headers: &HeaderMap, known: Known) -> bool {
    known.any(Known::TE) && has_option(headers, &TE, "trailers")
}

/// True when the list in a field has this member.
#[inline(never)]
fn has_option(headers: &HeaderMap, name: &HeaderName, option: &str) -> bool {
    let is_option = |member: &[u8]| member.trim_ascii().eq_ignore_ascii_case(option.as_bytes());
    headers.get_all(name).iter().any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_option))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { bytes: 4096, fields: 100 };

    fn read_from(buffer: &mut BytesMut) -> Result<Option<Head>, Refused> {
        read_head(buffer, LIMITS, &mut Request::new(()))
    }

    fn read(text: &str) -> Result<Option<Head>, Refused> {
        read_from(&mut BytesMut::from(text))
    }

    fn of(version: &str, fields: &str) -> Result<Head, Refused> {
        read(&format!("POST /a?b {version}\r\n{fields}\r\n")).map(Option::unwrap)
    }

    #[test]
    fn a_head_is_taken_off_the_front_and_what_follows_stays() {
        let mut buffer = BytesMut::from("\r\nGET /a?b=c HTTP/1.1\r\nHost: x\r\nA: 1\r\na:\t2 \r\n\r\nbody");
        let mut request = Request::new(());
        let Head { framing, keeps_alive, .. } = read_head(&mut buffer, LIMITS, &mut request).unwrap().unwrap();
        assert_eq!((request.method(), request.uri().to_string()), (&Method::GET, "/a?b=c".to_owned()));
        assert_eq!(request.headers().get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((framing, keeps_alive, &buffer[..]), (Framing::Length(0), true, &b"body"[..]));
    }

    #[test]
    fn half_a_head_waits_for_the_rest_as_long_as_it_may() {
        assert!(read("").unwrap().is_none());
        assert!(read("GET / HTTP/1.1\r\nA: 1\r\n").unwrap().is_none());
        assert_eq!(read(&format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(4096))).unwrap_err(), Refused::TooLong);
        assert_eq!(read(&format!("GET /{}", "x".repeat(4096))).unwrap_err(), Refused::TargetTooLong);
        assert_eq!(read(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(4081))).unwrap_err(), Refused::TargetTooLong);
        assert_eq!(read(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(4080))).unwrap_err(), Refused::TooLong);
        assert_eq!(of("HTTP/1.1", &format!("A: {}\r\n", "x".repeat(4096))).unwrap_err(), Refused::TooLong);
        assert_eq!(of("HTTP/1.1", &"a: b\r\n".repeat(101)).unwrap_err(), Refused::TooLong);
    }

    #[test]
    fn more_fields_are_read_where_they_may_be() {
        let head = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(300));
        let limits = Limits { bytes: 4096, fields: 300 };
        let mut request = Request::new(());
        assert!(read_head(&mut BytesMut::from(head.as_str()), limits, &mut request).unwrap().is_some());
        assert_eq!(request.headers().len(), 300);
    }

    #[test]
    fn a_body_is_framed_in_one_way_or_the_request_refused() {
        let framing = |version, fields| of(version, fields).map(|head| head.framing);
        assert_eq!(framing("HTTP/1.1", ""), Ok(Framing::Length(0)));
        assert_eq!(framing("HTTP/1.0", "Content-Length:  007 \r\n"), Ok(Framing::Length(7)));
        assert_eq!(framing("HTTP/1.1", "Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(framing("HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n"), Ok(Framing::Chunked));
        for ambiguous in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
        ] {
            assert_eq!(framing("HTTP/1.1", ambiguous), Err(Refused::Ambiguous), "{ambiguous}");
        }
        for bad in [
            "Content-Length:\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
            "Transfer-Encoding: gz\u{ef}p, chunked\r\n",
            "Transfer-Encoding: gz\u{ef}p\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert_eq!(framing("HTTP/1.1", bad), Err(Refused::Malformed), "{bad}");
        }
        assert_eq!(framing("HTTP/1.0", "Transfer-Encoding: chunked\r\n"), Err(Refused::Malformed));
    }

    #[test]
    fn a_connection_is_kept_as_its_version_has_it() {
        for (version, fields, kept) in [
            ("HTTP/1.1", "", true),
            ("HTTP/1.1", "Connection: Close\r\n", false),
            ("HTTP/1.1", "Connection: x, close\r\n", false),
            ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false),
            ("HTTP/1.1", "Connection: closed\r\n", true),
            ("HTTP/1.0", "", false),
            ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
            ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            assert_eq!(of(version, fields).unwrap().keeps_alive, kept, "{version} {fields}");
        }
    }

    #[test]
    fn what_is_not_a_head_is_malformed() {
        for bad in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\n A: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA : 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET http:/// HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "GET /a?b# HTTP/1.1\r\n\r\n",
            "GET http://a/#b HTTP/1.1\r\n\r\n",
            "GET http://a#b HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\n\r\n",
            "GET / HTTP/1.1\r\n\n",
            "GET / HTTP/1.1\nA: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\nB: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nA:\nB: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\n\n",
            "GET / HTTP/1.1\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(read(bad).unwrap_err(), Refused::Malformed, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = read_from(&mut BytesMut::from(&bytes[..]));
        }

        #[test]
        fn no_tail_of_a_request_line_panics(tail: Vec<u8>) {
            let mut bytes = BytesMut::from("GET / HTTP/1.1\r\n");
            bytes.extend_from_slice(&tail);
            let _ = read_from(&mut bytes);
        }

        #[test]
        fn a_head_may_come_in_pieces(cut in 0_usize..48) {
            let head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
            let mut buffer = BytesMut::from(&head[..cut]);
            prop_assert!(read_from(&mut buffer).unwrap().is_none());
            buffer.extend_from_slice(&head[cut..]);
            prop_assert_eq!(read_from(&mut buffer).unwrap().unwrap().framing, Framing::Length(3));
        }
    }
}
