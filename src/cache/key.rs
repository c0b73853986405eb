//! What a response is stored under.

use std::fmt;
use std::sync::Arc;

use http::header::{HOST, HeaderMap, HeaderName};
use http::uri::{PathAndQuery, Scheme};
use http::{Uri, request};

use super::policy::invalidation::without_default_port;
use crate::{Head, Identity, RequestContext};

/// Writes what else a response depends on.
pub(super) type KeyHook = Arc<dyn Fn(&Head<'_>, &mut String) + Send + Sync>;

/// Which parameters of a query tell responses apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryParameters {
    /// All of them.
    #[default]
    All,
    /// None: a path has one response, whatever its query.
    Ignored,
    /// These alone.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

impl QueryParameters {
    fn counts(&self, parameter: &str) -> bool {
        let name = parameter.split('=').next().unwrap_or(parameter);
        match self {
            Self::All => true,
            Self::Ignored => false,
            Self::Only(names) => names.iter().any(|own| own == name),
            Self::Except(names) => !names.iter().any(|own| own == name),
        }
    }
}

/// How keys are made.
#[derive(Clone, Default)]
pub(super) struct KeyRules {
    pub(super) query: QueryParameters,
    pub(super) sort_query: bool,
    pub(super) ignore_scheme: bool,
    pub(super) headers: Vec<HeaderName>,
    pub(super) hook: Option<KeyHook>,
    pub(super) partition: Option<Box<str>>,
}

/// A key: the URI, and after it, on lines of their own, what else tells responses apart. The method is no part of it: what
/// is stored answers GET and HEAD alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    text: String,
    uri_length: usize,
}

impl Key {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The URI alone, as a purge names it.
    pub(super) fn uri(&self) -> &str {
        &self.text[..self.uri_length]
    }

    /// A key whose URI is the beginning of `text`. `None` where that is no end of a character.
    pub(super) fn from_parts(text: String, uri_length: usize) -> Option<Self> {
        text.is_char_boundary(uri_length).then_some(Self { text, uri_length })
    }
}

/// Where a request goes, as its key has it.
pub(super) struct Target<'a> {
    pub(super) scheme: &'static str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(super) fn of(uri: &'a Uri, headers: &'a HeaderMap, context: Option<&RequestContext>) -> Self {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        Self::new(uri, host, context)
    }

    /// The same for whoever has seen the `Host` already.
    pub(super) fn new(uri: &'a Uri, host: Option<&'a str>, context: Option<&RequestContext>) -> Self {
        let secure = match uri.scheme() {
            Some(scheme) => *scheme == Scheme::HTTPS,
            None => context.and_then(RequestContext::connection).is_some_and(|connection| connection.secure),
        };
        let scheme = if secure { "https" } else { "http" };
        let host = match uri.authority() {
            Some(authority) => authority.as_str(),
            None => host.unwrap_or_default(),
        };
        Self { scheme, host: without_default_port(host, scheme), path: uri.path(), query: uri.query() }
    }

    pub(super) fn with_path(&self, path: &'a PathAndQuery) -> Self {
        Self { scheme: self.scheme, host: self.host, path: path.path(), query: path.query() }
    }
}

impl KeyRules {
    pub(super) fn adds_to_uri(&self) -> bool {
        !self.headers.is_empty() || self.hook.is_some() || self.partition.is_some()
    }

    /// The key of a request, apart for each subject when one is given.
    pub(super) fn key(&self, target: &Target<'_>, head: &Head<'_>, subject: Option<&Identity>) -> Key {
        let mut key = self.uri_key(target);
        if let Some(partition) = &self.partition {
            key.text.push_str("\npartition ");
            key.text.push_str(partition);
        }
        for name in &self.headers {
            for value in head.headers().get_all(name) {
                key.text.push('\n');
                key.text.push_str(name.as_str());
                key.text.push(' ');
                push_bytes(&mut key.text, value.as_bytes());
            }
        }
        if let Some(hook) = &self.hook {
            key.text.push_str("\nhook ");
            let mut more = String::new();
            hook(head, &mut more);
            push_bytes(&mut key.text, more.as_bytes());
        }
        if let Some(identity) = subject {
            // A subject is unique for its issuer alone (RFC 7519 section 4.1.2).
            for part in [identity.issuer(), identity.subject()] {
                key.text.push_str("\nsubject ");
                push_bytes(&mut key.text, part.unwrap_or_default().as_bytes());
            }
        }
        key
    }

    /// The key of a URI and nothing else.
    pub(super) fn uri_key(&self, target: &Target<'_>) -> Key {
        let query = target.query.map_or(0, str::len);
        // One allocation, with room for what follows the URI.
        let mut text = String::with_capacity(target.host.len() + target.path.len() + query + 32);
        text.push_str(if self.ignore_scheme { "http" } else { target.scheme });
        text.push_str("://");
        let host = text.len();
        text.push_str(target.host);
        text[host..].make_ascii_lowercase();
        text.push_str(if target.path.is_empty() { "/" } else { target.path });
        if let Some(query) = target.query {
            self.push_query(&mut text, query);
        }
        Key { uri_length: text.len(), text }
    }

    fn push_query(&self, text: &mut String, query: &str) {
        if self.query == QueryParameters::All && !self.sort_query {
            text.push('?');
            text.push_str(query);
            return;
        }
        let mut parameters: Vec<&str> = query.split('&').filter(|parameter| self.query.counts(parameter)).collect();
        if self.sort_query {
            parameters.sort_unstable();
        }
        for (index, parameter) in parameters.into_iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(parameter);
        }
    }

    /// The key of a URI that an operator names.
    pub(super) fn named(&self, uri: &Uri) -> Key {
        let none = request::Request::new(()).into_parts().0.headers;
        self.uri_key(&Target::of(uri, &none, None))
    }
}

/// Bytes that cannot end the line they stand on, so that no value can pass for another field.
fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'%' => text.push(char::from(*byte)),
            _ => {
                text.push('%');
                text.push(crate::hex::digit(byte >> 4));
                text.push(crate::hex::digit(byte & 15));
            }
        }
    }
}

impl fmt::Debug for KeyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRules")
            .field("query", &self.query)
            .field("sort_query", &self.sort_query)
            .field("ignore_scheme", &self.ignore_scheme)
            .field("headers", &self.headers)
            .field("hook", &self.hook.is_some())
            .field("partition", &self.partition)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CredentialKind;
    use http::Request;

    fn key(rules: &KeyRules, request: &Request<()>, subject: Option<&Identity>) -> String {
        let target = Target::of(request.uri(), request.headers(), None);
        rules.key(&target, &Head::of(request), subject).text
    }

    fn get(uri: &str) -> Request<()> {
        Request::get(uri).header("host", "A.test:80").body(()).unwrap()
    }

    #[test]
    fn the_uri_is_the_key() {
        assert_eq!(key(&KeyRules::default(), &get("/Path?q=1"), None), "http://a.test/Path?q=1");
        assert_eq!(key(&KeyRules::default(), &get("https://b.test:443"), None), "https://b.test/");
    }

    #[test]
    fn parameters_can_be_chosen_and_sorted() {
        let rules = |query, sort_query| KeyRules { query, sort_query, ..KeyRules::default() };
        let names = || vec!["b".to_owned()];
        assert_eq!(key(&rules(QueryParameters::All, true), &get("/?c&b=1&a"), None), "http://a.test/?a&b=1&c");
        assert_eq!(key(&rules(QueryParameters::Only(names()), false), &get("/?c&b=1&bb"), None), "http://a.test/?b=1");
        assert_eq!(key(&rules(QueryParameters::Except(names()), false), &get("/?c&b=1&a"), None), "http://a.test/?c&a");
        assert_eq!(key(&rules(QueryParameters::Ignored, false), &get("/?c&b=1&a"), None), "http://a.test/");
    }

    #[test]
    fn no_value_can_pass_for_another_field() {
        let identity = |issuer: &str, subject: &str| {
            Identity::builder(CredentialKind::Jwt).issuer(issuer).subject(subject).build()
        };
        let rules = KeyRules::default();
        let one = key(&rules, &get("/"), Some(&identity("i", "s\nsubject x")));
        let other = key(&rules, &get("/"), Some(&identity("i\nsubject s", "x")));
        assert_ne!(one, other);
        assert!(one.starts_with("http://a.test/\nsubject i\nsubject s%0a"), "{one}");
    }

    #[test]
    fn headers_and_hooks_are_kept_apart_from_the_uri() {
        let rules = KeyRules {
            headers: vec![HeaderName::from_static("accept")],
            hook: Some(Arc::new(|_, more| more.push_str("eu"))),
            ..KeyRules::default()
        };
        let mut request = get("/");
        request.headers_mut().insert("accept", "a".parse().unwrap());
        assert_eq!(key(&rules, &request, None), "http://a.test/\naccept a\nhook eu");
    }
}
