//! A client's way back to its server, by a cookie.

use http::header::{COOKIE, HeaderMap};
use http::{HeaderName, HeaderValue};
use thiserror::Error;

use super::hash::digest;

/// The cookie of [`Balance::Sticky`](super::Balance::Sticky). Its value tells servers apart and says nothing of them: it is a hash of
/// the server's URL and of a secret, the same in every gateway that has the same secret, and after every restart.
///
/// It lasts as long as the client's session, holds for all paths, and is out of reach of scripts.
#[derive(Clone, PartialEq, Eq)]
pub struct StickyCookie {
    name: String,
    secret: String,
    secure: bool,
}

/// A name that no cookie can have.
#[derive(Debug, Error)]
#[error("the cookie's name {0:?} must be a token (RFC 6265 section 4.1.1)")]
pub struct InvalidCookieName(String);

impl StickyCookie {
    /// A cookie of this name. Whoever does not know the `secret` learns nothing of the servers' addresses from it.
    ///
    /// # Errors
    ///
    /// [`InvalidCookieName`] when it is no token.
    pub fn new(name: &str, secret: &str) -> Result<Self, InvalidCookieName> {
        // The names of fields are tokens too, and those of cookies keep their case.
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(InvalidCookieName(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), secret: secret.to_owned(), secure: false })
    }

    /// Whether clients are to send it over TLS alone. Off by default.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// What stands for a server.
    pub(in crate::upstream) fn token(&self, url: &str) -> u64 {
        digest([self.secret.as_bytes(), b"\0", url.as_bytes(), b"\0", self.secret.as_bytes()].concat().as_slice())
    }

    /// What a request says of it.
    pub(in crate::upstream) fn read(&self, headers: &HeaderMap) -> Option<u64> {
        let value = cookie(headers, &self.name)?;
        let is_hex = value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { u64::from_str_radix(value, 16).ok() } else { None }
    }

    /// The field that gives a client its token.
    pub(in crate::upstream) fn set(&self, token: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{}={token:016x}; Path=/; HttpOnly; SameSite=Lax{secure}", self.name)).ok()
    }
}

/// The value of the first cookie of this name.
pub(in crate::upstream) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
}

impl std::fmt::Debug for StickyCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StickyCookie").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_is_set_to_is_read_again_and_nothing_else() {
        let sticky = StickyCookie::new("at", "secret").unwrap();
        let token = sticky.token("http://10.0.0.1:80/");
        let set = sticky.set(token).unwrap();
        let (pair, attributes) = set.to_str().unwrap().split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        let asks = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, cookie.parse().unwrap());
            sticky.read(&headers)
        };
        assert_eq!(asks(&format!("a=b; {pair}; c=d")), Some(token));
        for other in ["at=", "at=1", "at=+123456789abcdef0", "at=zzzzzzzzzzzzzzzz", "at=00000000000000001"] {
            assert_eq!(asks(other), None, "{other}");
        }
        assert_eq!(sticky.read(&HeaderMap::new()), None);
        assert!(StickyCookie::new("a b", "secret").is_err());
    }

    #[test]
    fn another_secret_makes_another_token() {
        let token = |secret| StickyCookie::new("at", secret).unwrap().token("http://10.0.0.1:80/");
        assert_ne!(token("one"), token("two"));
    }
}
