//! Tells when a file has changed, however it was changed: written in place, renamed over, or found behind another link.
//!
//! Folders are watched rather than files, since a file that is replaced takes its watch along. What happens there is only
//! a reason to look: whether a file says something else is seen by reading it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::paths::folders;
use crate::config::stamp::{Files, Stamp};

/// Whoever writes a file does so in several steps, and several files one after the other: they are whole when they have
/// stayed the same for this long. In a folder where something happens all the time, it is also how often one looks.
const QUIET: Duration = Duration::from_millis(100);

pub(super) struct Watch {
    stirred: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    files: Files,
}

impl Watch {
    /// Nothing is watched yet.
    pub(super) fn new() -> Self {
        Self { stirred: Arc::default(), watcher: None, folders: BTreeSet::new(), files: Files::new() }
    }

    /// Watches these files and no others. They have changed when they are others than they were when they were read.
    pub(super) fn set(&mut self, files: Files) -> notify::Result<()> {
        self.files = files;
        let watched = self.watch_folders();
        // What happened before they were watched.
        self.stirred.notify_one();
        watched
    }

    /// Waits until one of the files is another than it was. One that is gone is not: whoever replaces it in two steps is
    /// between them.
    pub(super) async fn changed(&mut self) {
        loop {
            self.stirred.notified().await;
            tokio::time::sleep(QUIET).await;
            // A folder may have come, or been replaced. That this fails has been told when it was tried first.
            let _ = self.watch_folders();
            let mut found = self.stamps();
            if self.are_as_read(&found) {
                continue;
            }
            // It may have been seen half written: what counts is what stays.
            loop {
                tokio::time::sleep(QUIET).await;
                let again = self.stamps();
                if again == found {
                    return;
                }
                found = again;
            }
        }
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.files.keys().map(|file| Stamp::of(file)).collect()
    }

    fn are_as_read(&self, found: &[Option<Stamp>]) -> bool {
        self.files.values().zip(found).all(|(read, found)| found.is_none() || found == read)
    }

    /// Tried twice: a folder may go between its being found and its being watched.
    fn watch_folders(&mut self) -> notify::Result<()> {
        self.try_to_watch_folders().or_else(|_| self.try_to_watch_folders())
    }

    fn try_to_watch_folders(&mut self) -> notify::Result<()> {
        let wanted: BTreeSet<PathBuf> = self.files.keys().flat_map(|file| folders(file)).collect();
        if wanted.is_empty() {
            self.watcher = None;
            return Ok(());
        }
        let mut watcher = match self.watcher.take() {
            Some(watcher) => watcher,
            None => watcher(self.stirred.clone())?,
        };
        for folder in self.folders.difference(&wanted) {
            // One that is gone is not watched any more anyway.
            let _ = watcher.unwatch(folder);
        }
        // Each time anew: a folder of the same name may be another.
        let watched: notify::Result<()> =
            wanted.iter().try_for_each(|folder| watcher.watch(folder, RecursiveMode::NonRecursive));
        self.folders = wanted;
        self.watcher = Some(watcher);
        watched
    }
}

fn watcher(stirred: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        // That events were lost is a reason to look as well; that somebody has read a file is none.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            stirred.notify_one();
        }
    })
}
