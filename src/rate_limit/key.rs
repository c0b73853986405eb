//! Who is counted.

mod template;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderName;

use self::template::PathTemplate;
pub use self::template::PathTemplateError;
use super::Digest;
use super::digest::{Digests, KeyWriter, Parts};
use crate::{Head, Identity, RequestContext, RouteName};

/// Who, or what, is counted: read from the head of a request alone.
///
/// ```
/// use http::header::HeaderName;
/// use tower_gateway::rate_limit::Key;
///
/// // Each user on each route; callers without a credential by their address.
/// let user = Key::subject().or(Key::client_ip()).and(Key::route());
/// let tenant = Key::header(HeaderName::from_static("x-tenant"));
/// let shard = Key::custom(|head| head.uri().path().get(..2).map(|start| start.as_bytes().into()));
/// ```
#[derive(Clone)]
pub struct Key(Kind);

#[derive(Clone)]
enum Kind {
    Global,
    ClientIp,
    Subject,
    ApiKey,
    Header(HeaderName),
    Route,
    Method,
    PathSegment(usize),
    PathParameter(Arc<PathTemplate>),
    Custom(Arc<Extract>),
    And(Arc<(Key, Key)>),
    Or(Arc<(Key, Key)>),
}

type Extract = dyn for<'a> Fn(&Head<'a>) -> Option<Cow<'a, [u8]>> + Send + Sync;

impl Key {
    /// Everybody together.
    pub fn global() -> Self {
        Self(Kind::Global)
    }

    /// The client's address, IPv6 by its prefix: [`ClientIp::network`](crate::ClientIp::network), as the `ClientIpLayer`
    /// has found it out.
    pub fn client_ip() -> Self {
        Self(Kind::ClientIp)
    }

    /// The subject of the [`Identity`], which is one only together with its issuer (RFC 7519 section 4.1.2).
    pub fn subject() -> Self {
        Self(Kind::Subject)
    }

    /// The id of the API key, and not the key: one that is renewed goes on where the old one was, or whoever renews it would
    /// have the quota anew. So an id that is given to somebody else comes with what its former owner still owes, at most for a
    /// window, or the time in which a burst is refilled; with an id of its own a key begins with nothing.
    pub fn api_key() -> Self {
        Self(Kind::ApiKey)
    }

    /// The first value of a header field. It is the client's to choose: behind it stands no proof of who that is.
    pub fn header(name: HeaderName) -> Self {
        Self(Kind::Header(name))
    }

    /// The route's name.
    pub fn route() -> Self {
        Self(Kind::Route)
    }

    /// The method.
    pub fn method() -> Self {
        Self(Kind::Method)
    }

    /// A segment of the path, from 0: the parameter of `/tenants/{tenant}/...` is segment 1.
    pub fn path_segment(index: usize) -> Self {
        Self(Kind::PathSegment(index))
    }

    /// A parameter of the path by its name, where the path is, or begins as, `template`: `tenant` of
    /// `/tenants/{tenant}/orders`.
    ///
    /// # Errors
    ///
    /// [`PathTemplateError`] when the template is none, or does not have the name.
    pub fn path_parameter(template: &str, name: &str) -> Result<Self, PathTemplateError> {
        Ok(Self(Kind::PathParameter(Arc::new(PathTemplate::new(template, name)?))))
    }

    /// What `extract` finds in the head. `None`: the key is missing.
    pub fn custom(extract: impl for<'a> Fn(&Head<'a>) -> Option<Cow<'a, [u8]>> + Send + Sync + 'static) -> Self {
        Self(Kind::Custom(Arc::new(extract)))
    }

    /// Both together. It is missing where either is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(Kind::And(Arc::new((self, other))))
    }

    /// The other one where this one is missing. The same text under either is two keys.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Kind::Or(Arc::new((self, other))))
    }

    pub(super) fn digest(&self, digests: &Digests, head: &Head<'_>) -> Option<Digest> {
        digests.digest(&KeyOf { key: self, head })
    }

    /// None when it is missing. A single key that is has written nothing.
    fn write<W: KeyWriter>(&self, head: &Head<'_>, writer: &mut W) -> Option<()> {
        match &self.0 {
            Kind::Global => writer.part(0, b""),
            Kind::ClientIp => match head.context()?.client_ip()?.network() {
                IpAddr::V4(address) => writer.part(1, &address.octets()),
                IpAddr::V6(address) => writer.part(1, &address.octets()),
            },
            Kind::Subject => {
                let identity = identity(head)?;
                let subject = identity.subject()?;
                if let Some(issuer) = identity.issuer() {
                    writer.part(2, issuer.as_bytes());
                }
                writer.part(3, subject.as_bytes());
            }
            Kind::ApiKey => writer.part(4, identity(head)?.key_id()?.as_bytes()),
            Kind::Header(name) => writer.part(5, head.headers().get(name)?.as_bytes()),
            Kind::Route => {
                writer.part(6, head.context().and_then(RequestContext::route).map(RouteName::as_str)?.as_bytes())
            }
            Kind::Method => writer.part(7, head.method().as_str().as_bytes()),
            Kind::PathSegment(index) => {
                let mut segments = head.uri().path().split('/').skip(1);
                writer.part(8, segments.nth(*index).filter(|segment| !segment.is_empty())?.as_bytes());
            }
            Kind::PathParameter(template) => writer.part(10, template.find(head.uri().path())?.as_bytes()),
            Kind::Custom(extract) => writer.part(9, &extract(head)?),
            Kind::And(both) => {
                both.0.write(head, writer)?;
                both.1.write(head, writer)?;
            }
            Kind::Or(either) => match &either.0.0 {
                // It may have written one of its parts before it misses the other.
                Kind::And(_) | Kind::Or(_) => {
                    let mut tried = writer.clone();
                    match either.0.write(head, &mut tried) {
                        Some(()) => *writer = tried,
                        None => either.1.write(head, writer)?,
                    }
                }
                _ => either.0.write(head, writer).or_else(|| either.1.write(head, writer))?,
            },
        }
        Some(())
    }
}

/// The key of one request.
struct KeyOf<'a, 'b> {
    key: &'a Key,
    head: &'a Head<'b>,
}

impl Parts for KeyOf<'_, '_> {
    fn write<W: KeyWriter>(&self, writer: &mut W) -> Option<()> {
        self.key.write(self.head, writer)
    }
}

fn identity<'a>(head: &Head<'a>) -> Option<&'a Identity> {
    head.context()?.identity()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Global => f.write_str("global"),
            Kind::ClientIp => f.write_str("client_ip"),
            Kind::Subject => f.write_str("subject"),
            Kind::ApiKey => f.write_str("api_key"),
            Kind::Header(name) => write!(f, "header:{name}"),
            Kind::Route => f.write_str("route"),
            Kind::Method => f.write_str("method"),
            Kind::PathSegment(index) => write!(f, "path_segment:{index}"),
            Kind::PathParameter(template) => write!(f, "path_parameter:{}", template.name()),
            Kind::Custom(_) => f.write_str("custom"),
            Kind::And(both) => write!(f, "({:?}, {:?})", both.0, both.1),
            Kind::Or(either) => write!(f, "{:?} or {:?}", either.0, either.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::{ClientIp, CredentialKind};

    fn digest(key: &Key, request: &Request<()>) -> Option<Digest> {
        key.digest(&Digests::stable(), &Head::of(request))
    }

    fn from(peer: &str) -> Request<()> {
        let mut request = Request::new(());
        let context = RequestContext::of(request.extensions_mut());
        context.set_client_ip(ClientIp::from_peer(peer.parse().unwrap(), 64));
        request
    }

    fn by(subject: &str, issuer: Option<&str>) -> Request<()> {
        let mut request = from("192.0.2.1:1");
        let mut identity = Identity::builder(CredentialKind::Jwt).subject(subject).key_id("k1");
        if let Some(issuer) = issuer {
            identity = identity.issuer(issuer);
        }
        RequestContext::of(request.extensions_mut()).set_identity(identity.build());
        request
    }

    #[test]
    fn an_ipv6_client_is_counted_by_its_network_and_an_ipv4_one_alone() {
        let key = Key::client_ip();
        assert_eq!(digest(&key, &from("[2001:db8::1]:1")), digest(&key, &from("[2001:db8::2]:1")));
        assert_ne!(digest(&key, &from("[2001:db8::1]:1")), digest(&key, &from("[2001:db8:0:1::1]:1")));
        assert_ne!(digest(&key, &from("192.0.2.1:1")), digest(&key, &from("192.0.2.2:1")));
        assert_eq!(digest(&key, &from("192.0.2.1:1")), digest(&key, &from("[::ffff:192.0.2.1]:2")));
    }

    #[test]
    fn the_same_subject_of_another_issuer_is_somebody_else() {
        let key = Key::subject();
        assert_eq!(digest(&key, &by("alice", Some("a"))), digest(&key, &by("alice", Some("a"))));
        assert_ne!(digest(&key, &by("alice", Some("a"))), digest(&key, &by("alice", Some("b"))));
        assert_ne!(digest(&key, &by("alice", None)), digest(&key, &by("bob", None)));
    }

    #[test]
    fn an_api_key_is_counted_by_its_id_whoever_has_it_now() {
        let holder = |subject: &str, id: &str| {
            let mut request = from("192.0.2.1:1");
            let identity = Identity::builder(CredentialKind::ApiKey).subject(subject).key_id(id);
            RequestContext::of(request.extensions_mut()).set_identity(identity.build());
            request
        };
        let key = Key::api_key();
        assert_eq!(digest(&key, &holder("alice", "k1")), digest(&key, &holder("bob", "k1")));
        assert_ne!(digest(&key, &holder("alice", "k1")), digest(&key, &holder("alice", "k2")));
    }

    #[test]
    fn a_subject_that_is_written_like_an_address_is_not_one() {
        let key = Key::subject().or(Key::client_ip());
        assert!(digest(&key, &from("192.0.2.1:1")).is_some());
        assert_ne!(digest(&key, &by("192.0.2.1", None)), digest(&key, &from("192.0.2.1:1")));
    }

    #[test]
    fn a_key_that_misses_one_of_its_parts_is_missing_and_leaves_no_trace() {
        let pair = Key::method().and(Key::header(HeaderName::from_static("x-tenant")));
        let request = from("192.0.2.1:1");
        assert_eq!(digest(&pair, &request), None);
        assert_eq!(digest(&pair.or(Key::client_ip()), &request), digest(&Key::client_ip(), &request));
    }

    #[test]
    fn each_kind_of_key_tells_requests_apart_by_what_it_names() {
        let request = |uri: &str, method: &str, tenant: &str| {
            let mut request = Request::builder().uri(uri).method(method).header("x-tenant", tenant).body(()).unwrap();
            RequestContext::of(request.extensions_mut()).set_route(RouteName::from(uri));
            request
        };
        let (one, two) = (request("/a/1", "GET", "x"), request("/a/2", "POST", "y"));
        let second = Key::custom(|head| head.uri().path().get(3..).map(|rest| rest.as_bytes().into()));
        let keys = [
            Key::header(HeaderName::from_static("x-tenant")),
            Key::route(),
            Key::method(),
            Key::path_segment(1),
            Key::path_parameter("/a/{id}", "id").unwrap(),
            second,
        ];
        for key in keys {
            assert!(digest(&key, &one).is_some(), "{key:?}");
            assert_eq!(digest(&key, &one), digest(&key, &one), "{key:?}");
            assert_ne!(digest(&key, &one), digest(&key, &two), "{key:?}");
        }
        assert_eq!(digest(&Key::path_segment(0), &one), digest(&Key::path_segment(0), &two));
        assert_eq!(digest(&Key::global(), &one), digest(&Key::global(), &two));
        assert_eq!(digest(&Key::path_segment(2), &one), None);
        assert_eq!(digest(&Key::api_key(), &one), None);
    }
}
