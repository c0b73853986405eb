//! API keys in a TOML file, which is read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Handle;

use super::{KeyStore, MemoryKeyStore, timestamp};
use crate::auth::api_key::{ApiKey, KeyDigest};

/// More than this is no file of keys, in bytes.
const MAX_LENGTH: u64 = 64 << 20;

/// A file of keys that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not TOML of the form that is wanted.
    #[error("{0}")]
    Malformed(String),
    /// A digest or a date is none.
    #[error("key {id:?}: {fault}")]
    Key {
        /// The id of the key.
        id: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Two keys have one digest.
    #[error("key {0:?}: another has the same sha256")]
    Duplicate(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sha256: String,
    id: String,
    subject: Option<String>,
    role: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    plan: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    expires: Option<toml::value::Datetime>,
    #[serde(default)]
    disabled: bool,
    limit: Option<u64>,
}

/// API keys in a file:
///
/// ```toml
/// [[keys]]
/// sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
/// id = "k1"
/// subject = "u1"
/// role = "user"                      # or roles = ["user", "admin"]
/// plan = "pro"
/// scopes = ["read"]
/// expires = 2027-01-01T00:00:00Z
/// disabled = false
/// limit = 500
/// ```
///
/// It is looked at again every five seconds. One that is then missing or malformed changes nothing: the keys that were there
/// stay, and [`is_stale`](Self::is_stale) says so. Clones share the keys.
#[derive(Clone, Debug)]
pub struct FileKeyStore {
    keys: MemoryKeyStore,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Watch {
    stale: Arc<AtomicBool>,
    task: tokio::task::AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FileKeyStore {
    /// Reads the file now, and again on `runtime`.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be used now.
    pub fn open(path: impl Into<PathBuf>, runtime: &Handle) -> Result<Self, KeyFileError> {
        Self::open_every(path, Duration::from_secs(5), runtime)
    }

    /// The same, looked at as often as this.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be used now.
    pub fn open_every(path: impl Into<PathBuf>, every: Duration, runtime: &Handle) -> Result<Self, KeyFileError> {
        let path = path.into();
        let text = read(&path)?;
        let keys = MemoryKeyStore::new(parse(&text)?);
        let stale = Arc::new(AtomicBool::new(false));
        let task = runtime.spawn(watch(path, text, every, keys.clone(), stale.clone())).abort_handle();
        Ok(Self { keys, watch: Arc::new(Watch { stale, task }) })
    }

    /// True while the file is missing or malformed, and the keys are those of before.
    pub fn is_stale(&self) -> bool {
        self.watch.stale.load(Ordering::Relaxed)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

async fn watch(path: PathBuf, mut last: String, every: Duration, keys: MemoryKeyStore, stale: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(every).await;
        let place = path.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || read(&place)).await else { return };
        let changed = match found {
            Ok(text) if text == last => Ok(None),
            Ok(text) => parse(&text).map(|new| Some((text, new))),
            Err(error) => Err(error),
        };
        stale.store(changed.is_err(), Ordering::Relaxed);
        if let Ok(Some((text, new))) = changed {
            keys.replace(new);
            last = text;
        }
    }
}

impl KeyStore for FileKeyStore {
    type Find = <MemoryKeyStore as KeyStore>::Find;

    fn now(&self, digest: &KeyDigest) -> Option<Option<ApiKey>> {
        self.keys.now(digest)
    }

    fn find(&self, digest: &KeyDigest) -> Self::Find {
        self.keys.find(digest)
    }
}

fn read(path: &Path) -> Result<String, KeyFileError> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_LENGTH).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(KeyFileError::Unreadable { path: path.to_owned(), error }),
    }
}

fn parse(text: &str) -> Result<Vec<(KeyDigest, ApiKey)>, KeyFileError> {
    // Without the line that it would quote: it may hold what no log should.
    let file: KeyFile = toml::from_str(text).map_err(|error| KeyFileError::Malformed(error.message().to_owned()))?;
    let mut seen = std::collections::HashSet::new();
    let mut keys = Vec::with_capacity(file.keys.len());
    for entry in file.keys {
        let id = entry.id.clone();
        let (digest, key) = entry.key().map_err(|fault| KeyFileError::Key { id: id.clone(), fault })?;
        if !seen.insert(digest) {
            return Err(KeyFileError::Duplicate(id));
        }
        keys.push((digest, key));
    }
    Ok(keys)
}

impl Entry {
    fn key(self) -> Result<(KeyDigest, ApiKey), &'static str> {
        let digest = self.sha256.parse().map_err(|_| "its sha256 must be 64 hexadecimal digits")?;
        let mut key = ApiKey::new(self.id).roles(self.role.into_iter().chain(self.roles)).scopes(self.scopes);
        key = key.disabled(self.disabled);
        if let Some(subject) = self.subject {
            key = key.subject(subject);
        }
        if let Some(plan) = self.plan {
            key = key.plan(plan);
        }
        if let Some(limit) = self.limit {
            key = key.limit(limit);
        }
        if let Some(expires) = self.expires {
            let end = timestamp::parse(&expires.to_string());
            key = key.expires_at(end.ok_or("its expires must be a date with a time and a zone, after 1970")?);
        }
        Ok((digest, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn every_field_of_a_key_is_read() {
        let text = format!(
            "[[keys]]\nsha256 = \"{SHA}\"\nid = \"k1\"\nsubject = \"u1\"\nrole = \"user\"\nroles = [\"admin\"]\nplan = \"pro\"\n\
             scopes = [\"read\"]\nexpires = 2027-01-01T00:00:00Z\ndisabled = false\nlimit = 500\n"
        );
        let keys = parse(&text).unwrap();
        let (digest, key) = &keys[0];
        assert!(*digest == KeyDigest::of(b"secret"));
        let identity = key.identity();
        assert_eq!((identity.key_id(), identity.subject(), identity.plan()), (Some("k1"), Some("u1"), Some("pro")));
        assert!(identity.has_role("user") && identity.has_role("admin") && identity.has_scope("read"));
        assert_eq!(identity.limit(), Some(500));
        let end = 1_798_761_600_000;
        assert_eq!((key.fault(end - 1), key.fault(end)), (None, Some("the API key has expired")));
    }

    #[test]
    fn a_file_with_a_mistake_is_none_and_its_error_quotes_nothing() {
        for (text, why) in [
            ("[[keys]]\nid = \"k\"\n".to_owned(), "sha256"),
            (format!("[[keys]]\nsha256 = \"{SHA}\"\n"), "id"),
            (format!("[[keys]]\nsha256 = \"{SHA}\"\nid = \"k\"\nscope = \"x\"\n"), "scope"),
            ("[[keys]]\nsha256 = \"the key itself\"\nid = \"k\"\n".to_owned(), "64 hexadecimal digits"),
            (format!("[[keys]]\nsha256 = \"{SHA}\"\nid = \"k\"\nexpires = 2027-01-01\n"), "a date with a time"),
            (
                format!("[[keys]]\nsha256 = \"{SHA}\"\nid = \"k\"\n[[keys]]\nsha256 = \"{SHA}\"\nid = \"j\"\n"),
                "another has the same",
            ),
            ("keys = 7".to_owned(), "expected"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("the key itself"), "{error}");
        }
        assert!(parse("").unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let of = |key: &str| format!("[[keys]]\nsha256 = \"{}\"\nid = \"k\"\n", KeyDigest::of(key.as_bytes()));
        std::fs::write(&path, of("one")).unwrap();
        let store = FileKeyStore::open(&path, &Handle::current()).unwrap();
        let knows = |key: &str| store.now(&KeyDigest::of(key.as_bytes())).unwrap().is_some();
        assert!(knows("one") && !knows("two"));

        std::fs::write(&path, of("two")).unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(knows("two") && !knows("one") && !store.is_stale());
        for bad in [Some("keys = 7"), None] {
            match bad {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert!(knows("two") && store.is_stale());
        }
        std::fs::write(&path, of("two")).unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(!store.is_stale());
        assert!(FileKeyStore::open(folder.path().join("none"), &Handle::current()).is_err());
    }
}
