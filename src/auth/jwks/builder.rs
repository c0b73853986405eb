use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::refresh::{Schedule, State};
use super::source::{File, JwksSource};
use super::{Jwks, Loader};
use crate::auth::algorithm::Algorithm;

/// How an issuer's keys are loaded. Made by [`Jwks::url`], [`Jwks::discover`], [`Jwks::file`] or [`Jwks::source`].
#[must_use]
pub struct JwksBuilder {
    source: Box<dyn JwksSource>,
    schedule: Schedule,
}

/// A place that no key set can be fetched from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksConfigError {
    /// Not `https://host[:port]/path`, nor `http` to this machine.
    #[error(
        "{0:?} must be https://host[:port]/path; plain http, by which anybody on the way can put keys of theirs in, only \
         for this machine or where it is allowed by name"
    )]
    Url(String),
}

impl Jwks {
    /// Keys from a file, looked at every ten seconds.
    pub fn file(path: impl Into<PathBuf>) -> JwksBuilder {
        let mut builder = Self::source(File(path.into())).every(Duration::from_secs(10));
        builder.schedule.published = false;
        builder.schedule.cooldown = Duration::from_secs(1);
        builder
    }

    /// Keys from a source of your own: a closure, or any [`JwksSource`].
    pub fn source(source: impl JwksSource) -> JwksBuilder {
        JwksBuilder {
            source: Box::new(source),
            schedule: Schedule {
                algorithms: Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect(),
                published: true,
                every: Duration::from_secs(600),
                fresh_within: (Duration::from_secs(60), Duration::from_secs(86_400)),
                cooldown: Duration::from_secs(10),
                max_stale: Duration::from_secs(86_400),
                timeout: Duration::from_secs(5),
            },
        }
    }
}

impl JwksBuilder {
    /// What the keys may be used for. A key that names its algorithm is for that one alone, if it is among these; one that
    /// names none, for each that its kind can have. All but HMAC by default.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.schedule.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How often they are loaded, where the source does not say how long they are fresh. 10 min by default.
    pub fn every(mut self, every: Duration) -> Self {
        self.schedule.every = every.max(Duration::from_secs(1));
        self
    }

    /// The bounds within which the source is believed when it says how long they are fresh (`Cache-Control`, RFC 9111
    /// section 5.2.2). 1 min to 1 day by default.
    pub fn believe_freshness_within(mut self, least: Duration, most: Duration) -> Self {
        self.schedule.fresh_within = (least.max(Duration::from_secs(1)), most);
        self
    }

    /// The least time between the beginnings of two loads that unknown keys ask for. 10 s by default.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.schedule.cooldown = cooldown;
        self
    }

    /// How long keys are used after the last load that succeeded. 1 day by default.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.schedule.max_stale = max_stale;
        self
    }

    /// How long one load may take. 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.schedule.timeout = timeout;
        self
    }

    /// Begins to load, on `runtime`: one that lasts, and not a worker's, since requests wait where loading does.
    pub fn start(self, runtime: &Handle) -> Jwks {
        let state = Arc::new(State::new(self.schedule));
        let task = runtime.spawn(state.clone().run(self.source)).abort_handle();
        Jwks(Arc::new(Loader { state, task }))
    }
}

impl std::fmt::Debug for JwksBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwksBuilder").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}
