//! Header fields that tell an origin who is asking.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::Told;
use crate::names::ForOrigin;
use crate::{Head, Identity, NameSet};

/// Header fields by which an origin is told who is asking. Clones are the same: give one to each layer, and what it makes of an
/// identity is made once for all of them.
///
/// ```
/// use http::HeaderName;
/// use tower_gateway::auth::IdentityHeaders;
///
/// let told = IdentityHeaders::new()
///     .once(HeaderName::from_static("x-user-id"), |identity| Some(identity?.subject()?.to_owned()))
///     .each(HeaderName::from_static("x-user-at"), |head| Some(head.uri().path().to_owned()));
/// ```
#[derive(Clone, Default)]
pub struct IdentityHeaders {
    /// What tells this set from every other.
    id: u64,
    once: Vec<(HeaderName, Once)>,
    each: Vec<(HeaderName, Each)>,
    spellings: Arc<NameSet>,
}

type Once = Arc<dyn Fn(Option<&Identity>) -> Option<String> + Send + Sync>;
type Each = Arc<dyn Fn(&Head<'_>) -> Option<String> + Send + Sync>;

/// An identity that no field can carry.
pub(super) struct NotAHeaderValue;

/// The fields of one request.
pub(super) struct Values {
    once: Arc<[(HeaderName, HeaderValue)]>,
    each: Vec<(HeaderName, HeaderValue)>,
}

impl IdentityHeaders {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The field `name` is what `value` makes of an identity, and nothing else: it is made once for each identity, and kept with
    /// it. Without an identity the request is an anonymous one, where those are let in. There is no field where it gives nothing
    /// or an empty text.
    #[must_use]
    pub fn once(
        mut self,
        name: HeaderName,
        value: impl Fn(Option<&Identity>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.once.push((name, Arc::new(value)));
        self.changed()
    }

    /// The field `name` is what `value` makes of each request, of which it knows the identity by now. There is no field where it
    /// gives nothing or an empty text.
    #[must_use]
    pub fn each(
        mut self,
        name: HeaderName,
        value: impl Fn(&Head<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.each.push((name, Arc::new(value)));
        self.changed()
    }

    fn changed(mut self) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        self.id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.spellings = Arc::new(self.names().cloned().collect());
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.once.is_empty() && self.each.is_empty()
    }

    fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let once = self.once.iter().map(|(name, _)| name);
        once.chain(self.each.iter().map(|(name, _)| name))
    }

    /// The names, in every spelling.
    pub(super) fn spellings(&self) -> &Arc<NameSet> {
        &self.spellings
    }

    /// The fields of a request, to be put in once nobody looks at it any more.
    pub(super) fn values(&self, head: &Head<'_>) -> Result<Values, NotAHeaderValue> {
        let identity = head.context().and_then(|context| context.identity());
        let make = || values(&self.once, |write| write(identity)).map(Arc::from).ok();
        let once = match identity {
            Some(identity) => identity.told(self.id, make),
            None => make(),
        };
        Ok(Values { once: once.ok_or(NotAHeaderValue)?, each: values(&self.each, |write| write(head))? })
    }

    /// What the client sent of them goes, in every spelling, and what is ours comes.
    pub(super) fn write(&self, headers: &mut HeaderMap, values: Values) {
        self.spellings.remove_from(headers);
        headers.reserve(values.once.len() + values.each.len());
        let mut headers = ForOrigin::of(headers);
        for (name, value) in values.once.iter().chain(&values.each) {
            headers.set(name, value.clone());
        }
    }
}

fn values<W>(
    fields: &[(HeaderName, W)],
    text: impl Fn(&W) -> Option<String>,
) -> Result<Vec<(HeaderName, HeaderValue)>, NotAHeaderValue> {
    let value = |(name, write): &(HeaderName, W)| {
        let text = text(write).filter(|text| !text.is_empty())?;
        Some(header_value(text).map(|value| (name.clone(), value)))
    };
    fields.iter().filter_map(value).collect()
}

/// Never cut or changed to fit: an origin must not take one subject for another (RFC 9110 section 5.5).
fn header_value(text: String) -> Result<HeaderValue, NotAHeaderValue> {
    if text.trim_matches([' ', '\t']).len() != text.len() {
        return Err(NotAHeaderValue);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| NotAHeaderValue)
}

impl Identity {
    /// What the set of this `id` has made of it before, or makes now. Of several sets, the first one's is kept.
    fn told(
        &self,
        id: u64,
        make: impl Fn() -> Option<Arc<[(HeaderName, HeaderValue)]>>,
    ) -> Option<Arc<[(HeaderName, HeaderValue)]>> {
        let told = self.keep_told(|| Told { by: id, fields: make() });
        if told.by == id { told.fields.clone() } else { make() }
    }
}

impl fmt::Debug for IdentityHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use http::Request;

    use super::*;
    use crate::{CredentialKind, RequestContext};

    fn request(identity: Option<&Identity>) -> Request<()> {
        let mut request = Request::new(());
        let context = RequestContext::of(request.extensions_mut());
        if let Some(identity) = identity {
            context.set_identity(identity.clone());
        }
        request
    }

    fn told(headers: &IdentityHeaders, identity: Option<&Identity>) -> Option<String> {
        let mut request = request(identity);
        let values = headers.values(&Head::of(&request)).ok()?;
        headers.write(request.headers_mut(), values);
        Some(request.headers().get("x-id")?.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_depends_on_the_identity_alone_is_made_once_for_it_and_never_for_another() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let name = HeaderName::from_static("x-id");
        let one = IdentityHeaders::new().once(name.clone(), move |identity| {
            count.fetch_add(1, Ordering::Relaxed);
            Some(identity.map_or("nobody", |identity| identity.subject().unwrap()).to_owned())
        });
        let other = IdentityHeaders::new().once(name, |_| Some("other".to_owned()));
        let identity = |subject: &str| Identity::builder(CredentialKind::ApiKey).subject(subject).build();
        let (a, b) = (identity("a"), identity("b"));
        for _ in 0..3 {
            assert_eq!(told(&one, Some(&a)).as_deref(), Some("a"));
            assert_eq!(told(&one.clone(), Some(&b)).as_deref(), Some("b"));
            assert_eq!(told(&other, Some(&a)).as_deref(), Some("other"), "of another set");
        }
        assert_eq!(made.load(Ordering::Relaxed), 2);
        assert_eq!(told(&one, None).as_deref(), Some("nobody"));
    }

    #[test]
    fn what_no_field_can_carry_stays_so() {
        let name = HeaderName::from_static("x-id");
        let headers = IdentityHeaders::new().once(name, |identity| Some(identity?.subject()?.to_owned()));
        let identity = Identity::builder(CredentialKind::ApiKey).subject("a\r\nb").build();
        for _ in 0..2 {
            assert!(headers.values(&Head::of(&request(Some(&identity)))).is_err());
        }
    }
}
