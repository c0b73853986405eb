//! What TLS settles of HTTP's version (RFC 7301).

/// The protocol that a handshake has agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// None: the connection is plain, or one side did not ask.
    #[default]
    None,
    Http1,
    Http2,
}

#[cfg(feature = "tls")]
impl Alpn {
    pub(crate) fn of(protocol: Option<&[u8]>) -> Self {
        match protocol {
            Some(b"h2") => Self::Http2,
            Some(b"http/1.1") => Self::Http1,
            _ => Self::None,
        }
    }

    /// In the order in which they are preferred.
    pub(crate) fn offered_to_clients() -> Vec<Vec<u8>> {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    }
}
