//! The keys of a WebSocket handshake (RFC 6455 section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{HeaderMap, HeaderValue};
use sha1::{Digest, Sha1};

use crate::random::random;

/// Section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Sixteen random bytes in base64. They guard against caches that take a handshake for something else, and are no secret.
pub(super) fn key() -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random().to_ne_bytes());
    bytes[8..].copy_from_slice(&random().to_ne_bytes());
    STANDARD.encode(bytes)
}

/// What an origin that has read `key`, and understood it, answers with (section 4.2.2).
pub(super) fn accept(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key.trim_ascii()).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

/// True when an answer holds `accept`, and nothing else in its place (section 4.1).
pub(super) fn is_accepted(headers: &HeaderMap<HeaderValue>, accept: &str) -> bool {
    let mut values = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    values.next().is_some_and(|own| own.as_bytes() == accept.as_bytes()) && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_and_never_the_same() {
        let keys = [key(), key()];
        assert_ne!(keys[0], keys[1]);
        for key in keys {
            assert_eq!(STANDARD.decode(&key).map(|bytes| bytes.len()), Ok(16));
        }
    }

    #[test]
    fn the_answer_is_that_of_the_rfc_and_of_another_implementation() {
        // RFC 6455 section 1.3.
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for _ in 0..100 {
            let key = key();
            let other = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            assert_eq!(accept(key.as_bytes()), other);
        }
    }

    #[test]
    fn one_answer_alone_is_accepted() {
        let headers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(value));
            }
            headers
        };
        assert!(is_accepted(&headers(&["a="]), "a="));
        for not in [&[][..], &["A="], &["a"], &["a=", "a="], &["b=", "a="]] {
            assert!(!is_accepted(&headers(not), "a="), "{not:?}");
        }
    }
}
