//! A limit: who is counted, how much each may use, and what a request uses.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Response, StatusCode};

use super::digest::Digests;
use super::headers::Terms;
use super::{Charge, Key, Quota};
use crate::{Head, RequestContext};

/// A named limit: who is counted, how much each of them may use, and how much of it a request is.
///
/// ```
/// use tower_gateway::rate_limit::{Key, Limit, Quota};
///
/// let per_user = Limit::new("per_user", Quota::per_minute(100))
///     .key(Key::subject().or(Key::client_ip()))
///     .plan("pro", Quota::per_minute(1000))
///     // An export is ten requests in one.
///     .cost_by(|head| if head.uri().path().ends_with("/export") { 10 } else { 1 });
/// ```
#[derive(Clone)]
pub struct Limit {
    name: Arc<str>,
    key: Key,
    missing: MissingKey,
    terms: Terms,
    plans: HashMap<Box<str>, Terms>,
    own_limits: bool,
    resolve: Option<Resolve>,
    cost: Cost,
    price: Option<Price>,
}

/// What becomes of a request that has no such key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingKey {
    /// It is refused with a 400: whoever could leave a key out would not be limited. [`Key::or`] gives it another.
    #[default]
    Refuse,
    /// It passes and is not counted by this limit.
    Skip,
}

#[derive(Clone)]
enum Cost {
    Fixed(u64),
    By(Arc<dyn Fn(&Head<'_>) -> u64 + Send + Sync>),
}

type Resolve = Arc<dyn Fn(&Head<'_>) -> Option<Quota> + Send + Sync>;
type Price = Arc<dyn Fn(&AnswerHead<'_>) -> Option<u64> + Send + Sync>;

/// The head of an answer, borrowed, for whoever prices it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AnswerHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// What the services behind have left on the answer.
    pub extensions: &'a Extensions,
}

impl<'a> AnswerHead<'a> {
    pub(super) fn of<B>(response: &'a Response<B>) -> Self {
        Self { status: response.status(), headers: response.headers(), extensions: response.extensions() }
    }
}

impl Limit {
    /// Everybody's use by the client's address. The name is sent to clients, and keeps the counters of one limit apart
    /// from those of another in the same store.
    pub fn new(name: impl Into<Arc<str>>, quota: Quota) -> Self {
        let name = name.into();
        Self {
            terms: Terms::new(&name, quota),
            name,
            key: Key::client_ip(),
            missing: MissingKey::default(),
            plans: HashMap::new(),
            own_limits: true,
            resolve: None,
            cost: Cost::Fixed(1),
            price: None,
        }
    }

    /// Who is counted. By default the client's address.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    /// What becomes of a request without such a key. Refused by default.
    #[must_use]
    pub fn missing_key(mut self, missing: MissingKey) -> Self {
        self.missing = missing;
        self
    }

    /// Another quota for identities on this plan.
    #[must_use]
    pub fn plan(mut self, plan: impl Into<Box<str>>, quota: Quota) -> Self {
        self.plans.insert(plan.into(), Terms::new(&self.name, quota));
        self
    }

    /// Whether a limit of an identity's own ([`Identity::limit`](crate::Identity::limit)) goes before that of its plan.
    /// It does by default.
    #[must_use]
    pub fn own_limits(mut self, own_limits: bool) -> Self {
        self.own_limits = own_limits;
        self
    }

    /// The quota that `resolve` finds for a request whose identity does not say. `None`: that of the limit.
    #[must_use]
    pub fn quota_by(mut self, resolve: impl Fn(&Head<'_>) -> Option<Quota> + Send + Sync + 'static) -> Self {
        self.resolve = Some(Arc::new(resolve));
        self
    }

    /// How much a request uses. 1 by default; what costs more than the burst is never admitted.
    #[must_use]
    pub fn cost(mut self, cost: u64) -> Self {
        self.cost = Cost::Fixed(cost);
        self
    }

    /// How much each request uses.
    #[must_use]
    pub fn cost_by(mut self, cost: impl Fn(&Head<'_>) -> u64 + Send + Sync + 'static) -> Self {
        self.cost = Cost::By(Arc::new(cost));
        self
    }

    /// What a request has really used, once its answer is there: tokens, rows, milliseconds. What it was charged before is
    /// the estimate, and the difference is charged, even beyond the quota, or given back. `None`: the estimate stands.
    #[must_use]
    pub fn price(mut self, price: impl Fn(&AnswerHead<'_>) -> Option<u64> + Send + Sync + 'static) -> Self {
        self.price = Some(Arc::new(price));
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn missing(&self) -> MissingKey {
        self.missing
    }

    pub(super) fn is_priced(&self) -> bool {
        self.price.is_some()
    }

    pub(super) fn price_of(&self, answer: &AnswerHead<'_>) -> Option<u64> {
        self.price.as_ref().and_then(|price| price(answer))
    }

    /// What the request is charged, and the terms on which. None when its key is missing.
    pub(super) fn charge(&self, digests: &Digests, head: &Head<'_>) -> Option<(Charge, Terms)> {
        let key = self.key.digest(digests, head)?;
        let terms = self.terms_for(head);
        let cost = match &self.cost {
            Cost::Fixed(cost) => *cost,
            Cost::By(cost) => cost(head),
        };
        Some((Charge { key, quota: terms.quota, cost }, terms))
    }

    fn terms_for(&self, head: &Head<'_>) -> Terms {
        if let Some(identity) = head.context().and_then(RequestContext::identity) {
            if let Some(limit) = identity.limit().filter(|_| self.own_limits) {
                return self.terms.with_quota(self.terms.quota.nearest_limit(limit));
            }
            if let Some(terms) = identity.plan().and_then(|plan| self.plans.get(plan)) {
                return terms.clone();
            }
        }
        match self.resolve.as_ref().and_then(|resolve| resolve(head)) {
            Some(quota) => self.terms.with_quota(quota),
            None => self.terms.clone(),
        }
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit")
            .field("name", &self.name)
            .field("quota", &self.terms.quota)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
