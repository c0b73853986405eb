//! Where a key set is fetched from.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::refresh::MAX_SET_LENGTH;
use crate::BoxError;

/// What a fetch gave.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The JWK set as JSON.
    pub set: Bytes,
    /// How long it says it is fresh, where it says anything: the next load is due then, within the bounds that are set.
    pub fresh_for: Option<Duration>,
}

/// A fetch on its way.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Fetched, BoxError>> + Send>>;

/// A place that key sets are fetched from. One fetch runs at a time, with a deadline, in the background.
pub trait JwksSource: Send + Sync + 'static {
    /// Fetches the set.
    fn fetch(&self) -> FetchFuture;
}

impl<F> JwksSource for F
where
    F: Fn() -> FetchFuture + Send + Sync + 'static,
{
    fn fetch(&self) -> FetchFuture {
        self()
    }
}

/// A file, read anew each time.
pub(super) struct File(pub(super) PathBuf);

impl JwksSource for File {
    fn fetch(&self) -> FetchFuture {
        let path = self.0.clone();
        Box::pin(async move {
            let read = move || {
                use std::io::Read;
                let mut set = Vec::new();
                std::fs::File::open(path)?.take(MAX_SET_LENGTH as u64 + 1).read_to_end(&mut set)?;
                std::io::Result::Ok(set)
            };
            let set = tokio::task::spawn_blocking(read).await??;
            Ok(Fetched { set: set.into(), fresh_for: None })
        })
    }
}
