//! What proves an identity: tokens, API keys, and whatever else you have.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::jws::Fault;
use crate::{Head, Identity};

/// A kind of credential that an [`AuthLayer`](super::AuthLayer) accepts. [`Jwt`](super::Jwt) and
/// [`ApiKeys`](super::ApiKeys) are two; a session cookie or a signed request of your own is a third, in twenty lines:
///
/// ```
/// use http::{HeaderName, header::COOKIE};
/// use tower_gateway::auth::{Credential, CredentialFault, Verdict};
/// use tower_gateway::{CredentialKind, Head, Identity};
///
/// struct Sessions(std::collections::HashMap<String, String>);
///
/// impl Credential for Sessions {
///     fn authenticate(&self, head: &Head<'_>) -> Verdict {
///         let cookies = head.headers().get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
///         let mut pairs = cookies.flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
///         let Some((_, session)) = pairs.find(|(name, _)| *name == "session") else { return Verdict::Absent };
///         match self.0.get(session) {
///             Some(user) => {
///                 let kind = CredentialKind::Other("session");
///                 Verdict::Accepted(Identity::builder(kind).subject(user.as_str()).build())
///             }
///             None => Verdict::Refused(CredentialFault::invalid("the session is not known")),
///         }
///     }
/// }
/// # let sessions = Sessions([("s1".to_owned(), "u1".to_owned())].into());
/// # let request = http::Request::builder().header("cookie", "a=b; session=s1").body(()).unwrap();
/// # assert!(matches!(sessions.authenticate(&Head::of(&request)), Verdict::Accepted(_)));
/// ```
pub trait Credential: Send + Sync + 'static {
    /// Looks for a credential of this kind on a request, and says what it is worth.
    fn authenticate(&self, head: &Head<'_>) -> Verdict;

    /// Whose credential this is, where it was found good before and costs nothing to find so again. It is asked first, and
    /// also of clients that have sent too many bad ones.
    fn recall(&self, head: &Head<'_>) -> Option<Identity> {
        let _ = head;
        None
    }

    /// Both: [`recall`](Self::recall), and where that knows nobody [`authenticate`](Self::authenticate). For a kind that would
    /// look for its credential twice.
    fn verdict(&self, head: &Head<'_>) -> Verdict {
        match self.recall(head) {
            Some(identity) => Verdict::Accepted(identity),
            None => self.authenticate(head),
        }
    }

    /// The credential as it was sent, where there is one: a client that sends the same bad one again has guessed no second
    /// time, and is not counted to have [failed](super::FailureLimit) again. `None`, as by default: each refusal counts.
    fn sent<'a>(&self, head: &Head<'a>) -> Option<&'a [u8]> {
        let _ = head;
        None
    }

    /// The header fields that carry it, which no origin is to see. `Authorization` is among them without being named.
    fn headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// The scheme that a 401 offers (RFC 9110 section 11.6.1), such as `Bearer`. A cookie has none.
    fn scheme(&self) -> Option<&'static str> {
        None
    }
}

impl<C: Credential + ?Sized> Credential for Arc<C> {
    fn authenticate(&self, head: &Head<'_>) -> Verdict {
        (**self).authenticate(head)
    }

    fn recall(&self, head: &Head<'_>) -> Option<Identity> {
        (**self).recall(head)
    }

    fn verdict(&self, head: &Head<'_>) -> Verdict {
        (**self).verdict(head)
    }

    fn sent<'a>(&self, head: &Head<'a>) -> Option<&'a [u8]> {
        (**self).sent(head)
    }

    fn headers(&self) -> Vec<HeaderName> {
        (**self).headers()
    }

    fn scheme(&self) -> Option<&'static str> {
        (**self).scheme()
    }
}

/// What a credential is worth.
pub enum Verdict {
    /// There is none of this kind on the request.
    Absent,
    /// It proves this identity.
    Accepted(Identity),
    /// It proves nothing.
    Refused(CredentialFault),
    /// It has to be looked up.
    Pending(PendingVerdict),
}

/// A look-up on its way.
pub type PendingVerdict = Pin<Box<dyn Future<Output = Result<Identity, CredentialFault>> + Send>>;

/// Why a credential was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialFault {
    /// The token is not good: 401 with `error="invalid_token"`.
    Token(Fault),
    /// It is not good, for the reason given, which the client is told: 401.
    Invalid(&'static str),
    /// More than one, or no credential at all where one is announced: 401 with `error="invalid_request"`.
    Malformed,
    /// It cannot be told whether it is good: 503.
    Unavailable(Duration),
}

impl CredentialFault {
    /// Not good, for this reason, which the client is told.
    pub const fn invalid(reason: &'static str) -> Self {
        Self::Invalid(reason)
    }

    /// It cannot be told right now whether it is good; the client may ask again after `retry_after`.
    pub const fn unavailable(retry_after: Duration) -> Self {
        Self::Unavailable(retry_after)
    }
}

impl From<Fault> for CredentialFault {
    fn from(fault: Fault) -> Self {
        Self::Token(fault)
    }
}

impl std::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Accepted(identity) => f.debug_tuple("Accepted").field(identity).finish(),
            Self::Refused(fault) => f.debug_tuple("Refused").field(fault).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
