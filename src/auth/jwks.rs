//! The keys that an issuer publishes, and changes when it likes (RFC 7517, OpenID Connect Discovery 1.0).
//!
//! [`Jwks`] loads them in the background, on a runtime that it is given, and verifying never waits for it once they are
//! there, but for one case: a token that names a key which is not known, as the first one after a rotation does. It asks for a
//! new load, and waits for it; all that come meanwhile wait for the same one. After it there is none until the
//! [cooldown](JwksBuilder::cooldown) is over, whatever is asked: random key ids cost the issuer at most one load each time.
//!
//! While the source is down, lies (a set that is malformed, ambiguous or empty) or stalls, the keys that were loaded stay, for
//! as long as [`max_stale`](JwksBuilder::max_stale) says; the load is tried again after a pause that doubles up to a minute.
//! After that there are none, and who comes with a token gets a 503: it cannot be told whether the token is good.

mod builder;
#[cfg(feature = "jwks")]
mod http;
mod refresh;
mod source;

pub use self::builder::{JwksBuilder, JwksConfigError};
pub use self::source::{FetchFuture, Fetched, JwksSource};

pub(super) use self::refresh::Loading;

use std::fmt;
use std::sync::Arc;

use self::refresh::State;
use super::keys::KeySet;

/// The keys of an issuer that publishes them. Clones share them; when the last one is dropped, the loading ends.
#[derive(Clone)]
pub struct Jwks(Arc<Loader>);

struct Loader {
    state: Arc<State>,
    task: tokio::task::AbortHandle,
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What became of the loading so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwksStatus {
    /// Keys that can be used right now. 0 before the first load, and after the last one is too old.
    pub keys: usize,
    /// Loads that gave a set of keys.
    pub loads: u64,
    /// Loads that failed.
    pub failures: u64,
    /// True while the last load failed and the keys are those of an earlier one.
    pub stale: bool,
}

impl Jwks {
    /// How the loading goes, for metrics.
    pub fn status(&self) -> JwksStatus {
        self.0.state.status()
    }

    /// The keys, where there are any that may be used.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.0.state.current()
    }

    /// Another number after each change of the keys.
    pub(super) fn version(&self) -> u64 {
        self.0.state.version()
    }

    /// A load to wait for: the one that runs, or one that is begun now. `None` within the cooldown.
    pub(super) fn demand(&self) -> Option<Loading> {
        self.0.state.demand()
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
