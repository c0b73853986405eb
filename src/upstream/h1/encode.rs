//! Writing a request (RFC 9112 sections 3 and 6).

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};

use crate::aside::aside;
use crate::h1::encode::{write_field, write_length};

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// No body, and nothing said about one.
    #[default]
    None,
    Length(u64),
    Chunked,
    /// No body: WebSocket follows, if the server agrees.
    WebSocket,
}

impl RequestFraming {
    /// For a body of which this is known. A method that gives a body meaning states its length even when there is none
    /// (RFC 9110 section 8.6).
    pub(crate) fn new(method: &Method, has_ended: bool, exact_length: Option<u64>) -> Self {
        let expects_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        match exact_length {
            _ if has_ended && !expects_body => Self::None,
            _ if has_ended => Self::Length(0),
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }
}

/// Writes the head of a request. Framing is this connection's own: what the request says of it is left out, and so is
/// whatever it says of the connection.
pub(crate) fn write_head(
    head: &mut Vec<u8>,
    method: &Method,
    path: &PathAndQuery,
    host: &HeaderValue,
    headers: &HeaderMap,
    framing: RequestFraming,
) {
    head.extend_from_slice(method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(path.as_str().as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    head.extend_from_slice(host.as_bytes());
    head.extend_from_slice(b"\r\n");
    let mut names_te = false;
    for (name, value) in headers {
        names_te |= *name == TE;
        if matches!(*name, HOST | CONNECTION | CONTENT_LENGTH | TRANSFER_ENCODING | UPGRADE) {
            continue;
        }
        write_field(head, name.as_str(), value.as_bytes());
    }
    if names_te {
        aside();
        // RFC 9110 section 10.1.4: whoever sends TE says that it is for the next hop alone.
        head.extend_from_slice(b"connection: te\r\n");
    }
    match framing {
        RequestFraming::None => {}
        RequestFraming::WebSocket => {
            aside();
            head.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        }
        RequestFraming::Length(length) => {
            aside();
            write_length(head, length);
        }
        RequestFraming::Chunked => {
            aside();
            head.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_frames_the_body_itself_and_says_nothing_of_another_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "other"),
            ("content-length", "99"),
            ("transfer-encoding", "gzip"),
            ("connection", "close"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut head = Vec::new();
        let (path, host) = (PathAndQuery::from_static("/a?b"), HeaderValue::from_static("o:1"));
        write_head(&mut head, &Method::PUT, &path, &host, &headers, RequestFraming::Chunked);
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("PUT /a?b HTTP/1.1\r\nhost: o:1\r\n"));
        assert!(head.ends_with("connection: te\r\ntransfer-encoding: chunked\r\n\r\n"));
        assert_eq!(head.matches("\r\n").count(), 7);
    }

    #[test]
    fn an_empty_body_is_stated_where_one_is_expected() {
        assert_eq!(RequestFraming::new(&Method::POST, true, Some(0)), RequestFraming::Length(0));
        assert_eq!(RequestFraming::new(&Method::GET, true, Some(0)), RequestFraming::None);
        assert_eq!(RequestFraming::new(&Method::GET, false, Some(3)), RequestFraming::Length(3));
        assert_eq!(RequestFraming::new(&Method::DELETE, false, None), RequestFraming::Chunked);
    }
}
