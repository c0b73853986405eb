//! SIGHUP, which asks a daemon to read its configuration again; where there is no such signal, nothing.

use std::io;

#[cfg(unix)]
pub(super) struct Hangup(tokio::signal::unix::Signal);

#[cfg(not(unix))]
pub(super) struct Hangup;

impl Hangup {
    /// From now on it does not end the process.
    #[cfg(unix)]
    pub(super) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup())?))
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn received(&mut self) {
        #[cfg(unix)]
        if self.0.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
