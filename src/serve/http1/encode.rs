//! Writing an answer (RFC 9112 sections 4, 6 and 9).

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};

use crate::aside::aside;
use crate::date;
use crate::h1::decimal;
use crate::h1::encode::{write_field, write_length};
use crate::known::Known;

/// What of a request decides how its answer is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) is_connect: bool,
    pub(super) takes_trailers: bool,
    /// Another request may follow, as far as the client and this server want one.
    pub(super) keeps_alive: bool,
}

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    /// There is none, whatever the service gave.
    None,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    UntilClose,
}

/// What is said of a connection, and what was written of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) encoder: Encoder,
    pub(super) keeps_alive: bool,
}

/// True for the answer after which the connection speaks something else (RFC 9110 sections 7.8 and 9.3.6).
pub(super) fn switches(status: StatusCode, asked: &Asked) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (asked.is_connect && status.is_success())
}

/// Writes the head of an answer whose body has this length, where that is known. Framing and the connection are this
/// server's to say.
pub(super) fn write_head<B>(out: &mut Vec<u8>, answer: &Response<B>, exact: Option<u64>, asked: &Asked) -> Written {
    let status = answer.status();
    let switches = switches(status, asked);
    // RFC 9110 section 6.4.1: these have no content. The first two have no length either (section 8.6).
    let has_no_length = switches || status.is_informational() || status == StatusCode::NO_CONTENT;
    let has_no_body = has_no_length || asked.is_head || status == StatusCode::NOT_MODIFIED;
    let mut encoder = match exact {
        _ if has_no_body => Some(Encoder::None),
        Some(length) => Some(Encoder::Length(length)),
        None => None,
    };
    let (mut keeps_alive, mut has_length, mut has_date) = (asked.keeps_alive, has_no_length, false);

    write_status_line(out, asked.version, status);
    for (name, value) in answer.headers() {
        match *name {
            CONTENT_LENGTH => {
                let length = match encoder {
                    Some(Encoder::Length(length)) => Some(length),
                    _ => stated(value),
                };
                if let Some(length) = length.filter(|_| !has_length) {
                    has_length = true;
                    encoder.get_or_insert(Encoder::Length(length));
                    write_length(out, length);
                }
                continue;
            }
            TRANSFER_ENCODING => {
                aside();
                continue;
            }
            CONNECTION if !switches => match read_connection(value.as_bytes()) {
                Said::Close => {
                    keeps_alive = false;
                    continue;
                }
                Said::KeepAlive => continue,
                Said::Options => {}
            },
            DATE => has_date = true,
            _ => {}
        }
        write_field(out, name.as_str(), value.as_bytes());
    }

    let encoder = encoder.unwrap_or_else(|| {
        if asked.version == Version::HTTP_11 {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Encoder::Chunked
        } else {
            keeps_alive = false;
            Encoder::UntilClose
        }
    });
    match (encoder, exact) {
        _ if has_length => {}
        (Encoder::Length(length), _) => write_length(out, length),
        // A HEAD is told what a GET would be (RFC 9110 section 9.3.2), unless that is not known, or may be meant by nobody.
        (Encoder::None, Some(length @ 1..)) if asked.is_head && status != StatusCode::NOT_MODIFIED => {
            aside();
            write_length(out, length);
        }
        _ => {}
    }
    if !has_date {
        write_field(out, DATE.as_str(), date::now().as_bytes());
    }
    if switches {
        aside();
        keeps_alive = false;
    } else if !keeps_alive {
        aside();
        out.extend_from_slice(b"connection: close\r\n");
    } else if asked.version == Version::HTTP_10 {
        aside();
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Written { encoder, keeps_alive }
}

#[cold]
fn stated(length: &HeaderValue) -> Option<u64> {
    decimal(length.as_bytes())
}

/// What a line of Connection says of the connection.
enum Said {
    Close,
    KeepAlive,
    Options,
}

#[inline(never)]
fn read_connection(line: &[u8]) -> Said {
    let mut options = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if options.any(|option| option.eq_ignore_ascii_case(b"close")) {
        Said::Close
    } else if line.eq_ignore_ascii_case(b"keep-alive") {
        Said::KeepAlive
    } else {
        Said::Options
    }
}

/// Writes an interim answer (RFC 9110 section 15.2).
pub(super) fn write_interim(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    write_status_line(out, Version::HTTP_11, status);
    for (name, value) in headers {
        write_field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Removes from trailers what frames a message, or is of one connection (RFC 9110 section 6.5.1).
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    const NEVER: Known = Known::HOP_BY_HOP.and(Known::CONTENT_LENGTH).and(Known::HOST);
    if !Known::of(trailers).any(NEVER) {
        return;
    }
    let kept = trailers.iter().filter(|(name, _)| !Known::from(*name).any(NEVER));
    *trailers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
}

fn write_status_line(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    if status == StatusCode::OK && version == Version::HTTP_11 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    write_other_status_line(out, version, status);
}

#[inline(never)]
fn write_other_status_line(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    out.extend_from_slice(if version == Version::HTTP_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    const ASKED: Asked = Asked {
        version: Version::HTTP_11,
        is_head: false,
        is_connect: false,
        takes_trailers: false,
        keeps_alive: true,
    };

    fn written(status: u16, fields: &[(&str, &str)], exact: Option<u64>, asked: Asked) -> (String, Written) {
        let mut answer = Response::builder().status(status);
        for (name, value) in [("date", "x")].iter().chain(fields) {
            answer = answer.header(*name, *value);
        }
        let mut out = Vec::new();
        let written = write_head(&mut out, &answer.body(()).unwrap(), exact, &asked);
        (String::from_utf8(out).unwrap().replacen("date: x\r\n", "", 1), written)
    }

    #[test]
    fn a_body_of_known_length_has_that_length_whatever_a_field_says() {
        for fields in [&[][..], &[("content-length", "5")], &[("content-length", "9")], &[("content-length", "x")]] {
            let (head, written) = written(200, fields, Some(5), ASKED);
            assert_eq!(head, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
            assert_eq!(written, Written { encoder: Encoder::Length(5), keeps_alive: true });
        }
        assert_eq!(written(404, &[], Some(0), ASKED).0, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn a_body_of_unknown_length_has_the_stated_one_or_chunks() {
        let (head, with_length) = written(200, &[("content-length", "7"), ("content-length", "8")], None, ASKED);
        assert_eq!(head, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
        assert_eq!(with_length.encoder, Encoder::Length(7));
        let (head, chunked) = written(200, &[("transfer-encoding", "gzip")], None, ASKED);
        assert_eq!(head, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(chunked.encoder, Encoder::Chunked);
    }

    #[test]
    fn http_1_0_ends_with_its_connection_unless_the_length_is_known() {
        let old = Asked { version: Version::HTTP_10, ..ASKED };
        let (head, until_close) = written(200, &[], None, old);
        assert_eq!(head, "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n");
        assert_eq!(until_close, Written { encoder: Encoder::UntilClose, keeps_alive: false });
        let (head, _) = written(200, &[], Some(1), old);
        assert_eq!(head, "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n");
    }

    #[test]
    fn what_has_no_body_is_framed_as_such() {
        let of = |status, fields: &[(&str, &str)], exact, asked| {
            let (head, written) = written(status, fields, exact, asked);
            assert_eq!(written.encoder, Encoder::None);
            head.split_once("\r\n").unwrap().1.to_owned()
        };
        let head = Asked { is_head: true, ..ASKED };
        assert_eq!(of(200, &[], Some(5), head), "content-length: 5\r\n\r\n");
        assert_eq!(of(200, &[("content-length", "9")], Some(0), head), "content-length: 9\r\n\r\n");
        assert_eq!(of(200, &[], Some(0), head), "\r\n");
        assert_eq!(of(200, &[], None, head), "\r\n");
        assert_eq!(of(204, &[("content-length", "0")], Some(0), ASKED), "\r\n");
        assert_eq!(of(304, &[("content-length", "9")], Some(0), ASKED), "content-length: 9\r\n\r\n");
        assert_eq!(of(304, &[], Some(9), ASKED), "\r\n");
    }

    #[test]
    fn the_connection_is_closed_when_anybody_wants_it() {
        let close = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        for (fields, keeps_alive) in [(&[("connection", "x, Close")][..], true), (&[], false)] {
            let (head, written) = written(200, fields, Some(0), Asked { keeps_alive, ..ASKED });
            assert_eq!((head.as_str(), written.keeps_alive), (close, false));
        }
        let (head, _) = written(426, &[("connection", "upgrade"), ("upgrade", "x")], Some(0), ASKED);
        assert!(head.contains("connection: upgrade\r\nupgrade: x\r\n"));
        let (head, _) = written(200, &[("connection", "Keep-Alive")], Some(0), ASKED);
        assert!(!head.contains("connection"));
    }

    #[test]
    fn a_switch_says_what_to_and_has_no_length() {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "0")];
        let (head, written) = written(101, &fields, Some(0), ASKED);
        assert_eq!(head, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        assert_eq!(written.encoder, Encoder::None);
        let (head, _) = super::tests::written(200, &[], None, Asked { is_connect: true, ..ASKED });
        assert_eq!(head, "HTTP/1.1 200 OK\r\n\r\n");
    }

    #[test]
    fn trailers_frame_nothing() {
        let trailer = |name| (HeaderName::from_static(name), HeaderValue::from_static("1"));
        let mut trailers =
            HeaderMap::from_iter(["x-sum", "content-length", "transfer-encoding", "connection"].map(trailer));
        strip_trailers(&mut trailers);
        assert_eq!(trailers, HeaderMap::from_iter([trailer("x-sum")]));
    }
}
