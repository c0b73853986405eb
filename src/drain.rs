//! How what outlives its request learns that its server stops.

use tokio::sync::watch;
use tokio::time::Instant;

/// Says when the server of a request begins to stop, in the extensions of those that ask to switch protocols: their
/// connections live on when the exchange is over.
#[derive(Clone, Debug)]
pub(crate) struct Drain(watch::Receiver<Option<Instant>>);

impl Drain {
    #[cfg(feature = "serve")]
    pub(crate) fn new(until: watch::Receiver<Option<Instant>>) -> Self {
        Self(until)
    }

    /// Waits until it begins. Until when what is open may go on.
    pub(crate) async fn begun(mut self) -> Instant {
        match self.0.wait_for(Option::is_some).await.map(|until| *until) {
            Ok(Some(until)) => until,
            // The server is gone, and took its connections along.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
