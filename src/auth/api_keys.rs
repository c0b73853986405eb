//! API keys as credentials.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::api_key::{ApiKey, KeyDigest};
use super::authorization;
use super::claims::{Millis, millis};
use super::credential::{Credential, CredentialFault, Verdict};
use super::key_store::KeyStore;
use crate::{Clock, Head, Identity};

/// Longer keys are none.
const MAX_KEY_LENGTH: usize = 512;

/// When a client may ask again while the store is down.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const UNKNOWN: CredentialFault = CredentialFault::Invalid("the API key is not known");

/// API keys, in a header field of their own or as `Authorization: ApiKey`, looked up in a [`KeyStore`] by their SHA-256.
pub struct ApiKeys<K> {
    store: Arc<K>,
    header: HeaderName,
    clock: Clock,
}

impl<K: KeyStore> ApiKeys<K> {
    /// Keys of this store, in `x-api-key`.
    pub fn new(store: impl Into<Arc<K>>) -> Self {
        Self { store: store.into(), header: HeaderName::from_static("x-api-key"), clock: Clock::system() }
    }

    /// The field that carries the key. `x-api-key` by default.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// The clock that says whether a key has expired.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The one key on a request, wherever it stands.
    fn key<'a>(&self, head: &Head<'a>) -> Option<Result<&'a [u8], CredentialFault>> {
        let headers = head.headers();
        let mut lines = headers.get_all(&self.header).iter();
        let own = lines.next().map(|line| line.as_bytes());
        let repeated = lines.next().is_some();
        match (own, authorization::credentials(headers, "ApiKey")) {
            (None, None) => None,
            (None, Some(other)) => Some(other.map(str::as_bytes)),
            (Some(key), None) if !repeated => Some(Ok(key)),
            _ => Some(Err(CredentialFault::Malformed)),
        }
    }
}

fn accept(found: Option<ApiKey>, now: Millis) -> Result<Identity, CredentialFault> {
    let key = found.ok_or(UNKNOWN)?;
    match key.fault(now) {
        None => Ok(key.identity().clone()),
        Some(why) => Err(CredentialFault::Invalid(why)),
    }
}

impl<K: KeyStore> Credential for ApiKeys<K> {
    fn authenticate(&self, head: &Head<'_>) -> Verdict {
        let key = match self.key(head) {
            None => return Verdict::Absent,
            Some(Err(fault)) => return Verdict::Refused(fault),
            Some(Ok(key)) if key.is_empty() || key.len() > MAX_KEY_LENGTH => return Verdict::Refused(UNKNOWN),
            Some(Ok(key)) => KeyDigest::of(key),
        };
        if let Some(found) = self.store.now(&key) {
            return match accept(found, millis(self.clock.wall_to_a_tick())) {
                Ok(identity) => Verdict::Accepted(identity),
                Err(fault) => Verdict::Refused(fault),
            };
        }
        let (look_up, clock) = (self.store.find(&key), self.clock.clone());
        Verdict::Pending(Box::pin(async move {
            match look_up.await {
                Ok(found) => accept(found, millis(clock.wall_to_a_tick())),
                // Closed: a key that cannot be looked up is not taken for a good one.
                Err(_) => Err(CredentialFault::Unavailable(RETRY_AFTER)),
            }
        }))
    }

    fn recall(&self, head: &Head<'_>) -> Option<Identity> {
        let key = self.key(head)?.ok().filter(|key| key.len() <= MAX_KEY_LENGTH)?;
        accept(self.store.now(&KeyDigest::of(key))?, millis(self.clock.wall_to_a_tick())).ok()
    }

    fn sent<'a>(&self, head: &Head<'a>) -> Option<&'a [u8]> {
        self.key(head)?.ok()
    }

    fn headers(&self) -> Vec<HeaderName> {
        vec![self.header.clone()]
    }

    fn scheme(&self) -> Option<&'static str> {
        Some("ApiKey")
    }
}

impl<K> fmt::Debug for ApiKeys<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("header", &self.header).finish_non_exhaustive()
    }
}
