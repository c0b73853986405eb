//! The breakers of one layer, by their keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::broadcast;

use super::breaker::Breaker;
use super::handle::Change;
use super::policy::Span;
use super::state::Transition;
use crate::{Clock, Head};

type KeyOf = Arc<dyn Fn(&Head<'_>) -> Option<String> + Send + Sync>;

/// For what a layer keeps a breaker each.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum BreakerKey {
    /// One for all requests.
    #[default]
    All,
    /// One for each route, as the [`RequestContext`](crate::RequestContext) names it.
    Route,
    /// One for each host: the target's, else the `Host` field.
    Host,
    /// One for each value of a rule of yours; requests without one share another.
    By(KeyOf),
}

impl BreakerKey {
    /// One for each value of `rule`.
    pub fn by(rule: impl Fn(&Head<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::By(Arc::new(rule))
    }
}

impl fmt::Debug for BreakerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::Route => "Route",
            Self::Host => "Host",
            Self::By(_) => "By(..)",
        })
    }
}

/// More changes than anybody should fall behind.
const REMEMBERED_CHANGES: usize = 256;

pub(super) struct Registry {
    /// For requests without a key, and for keys that find no place.
    pub(super) common: Arc<Breaker>,
    by_key: ArcSwap<HashMap<Arc<str>, Arc<Breaker>>>,
    /// Held to add a key.
    adding: Mutex<()>,
    pub(super) changes: broadcast::Sender<Change>,
    span: Span,
    clock: Clock,
}

impl Registry {
    pub(super) fn new(name: Arc<str>, span: Span, clock: Clock) -> Self {
        Self {
            common: Arc::new(Breaker::new(name, span, clock.clone())),
            by_key: ArcSwap::default(),
            adding: Mutex::new(()),
            changes: broadcast::Sender::new(REMEMBERED_CHANGES),
            span,
            clock,
        }
    }

    /// A new one like this, whose common breaker is called so.
    pub(super) fn named(&self, name: Arc<str>) -> Self {
        Self::new(name, self.span, self.clock.clone())
    }

    /// The breakers of this one, with what they know where that fits the window. Who has subscribed stays subscribed.
    pub(super) fn with_span(&self, span: Span) -> Self {
        let by_key = self.by_key.load();
        let changed = by_key.iter().map(|(key, breaker)| (key.clone(), Arc::new(breaker.with_span(span))));
        Self {
            common: Arc::new(self.common.with_span(span)),
            by_key: ArcSwap::from_pointee(changed.collect()),
            adding: Mutex::new(()),
            changes: self.changes.clone(),
            span,
            clock: self.clock.clone(),
        }
    }

    pub(super) fn fits(&self, span: Span) -> bool {
        self.common.fits(span)
    }

    pub(super) fn breaker(&self, key: &BreakerKey, head: &Head<'_>, most: usize) -> Arc<Breaker> {
        match key {
            BreakerKey::All => self.common.clone(),
            BreakerKey::Route => match head.context().and_then(|context| context.route()) {
                Some(route) => self.of_key(route.as_str(), most),
                None => self.common.clone(),
            },
            BreakerKey::Host => match host_of(head) {
                Some(host) => self.of_key(host, most),
                None => self.common.clone(),
            },
            BreakerKey::By(rule) => match rule(head) {
                Some(key) => self.of_key(&key, most),
                None => self.common.clone(),
            },
        }
    }

    fn of_key(&self, key: &str, most: usize) -> Arc<Breaker> {
        if let Some(breaker) = self.by_key.load().get(key) {
            return breaker.clone();
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.by_key.load();
        if let Some(breaker) = known.get(key) {
            return breaker.clone();
        }
        let mut changed = HashMap::clone(&known);
        if changed.len() >= most {
            changed.retain(|_, breaker| !breaker.is_idle());
        }
        if changed.len() >= most {
            return self.common.clone();
        }
        let key: Arc<str> = key.into();
        let breaker = Arc::new(Breaker::new(key.clone(), self.span, self.clock.clone()));
        changed.insert(key, breaker.clone());
        self.by_key.store(Arc::new(changed));
        breaker
    }

    /// All there are now, the common one first.
    pub(super) fn all(&self) -> Vec<Arc<Breaker>> {
        let mut keyed: Vec<_> = self.by_key.load().values().cloned().collect();
        keyed.sort_by(|one, other| one.key.cmp(&other.key));
        [self.common.clone()].into_iter().chain(keyed).collect()
    }

    pub(super) fn tell(&self, breaker: &Breaker, transition: Option<Transition>) {
        let Some(Transition { from, to }) = transition else { return };
        if from.state() != to.state() {
            // Nobody listening is no fault.
            let _ = self.changes.send(Change { key: breaker.key.clone(), from: from.state(), to: to.state() });
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("keys", &self.by_key.load().len()).finish_non_exhaustive()
    }
}

fn host_of<'a>(head: &Head<'a>) -> Option<&'a str> {
    match head.uri().host() {
        Some(host) => Some(host),
        None => head.headers().get(http::header::HOST)?.to_str().ok(),
    }
}
