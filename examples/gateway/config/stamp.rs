//! What a file was when it was read, to see later whether it is another.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::reader::{MAX_INCLUDED_BYTES, read_file};

/// Files by their paths. None for one that could not be read, which may be there the next time.
pub(crate) type Files = BTreeMap<PathBuf, Option<Stamp>>;

/// Equal for files that say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// A digest of the text. Times would not do: a file that is written twice within a tick of the file system's clock
    /// (4 ms) has one time.
    Content(u64),
    /// Of a file so large that it is not read for this.
    Looks { length: u64, modified: Option<SystemTime>, inode: u64 },
}

impl Stamp {
    /// Of the file as it is now.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        read_file(path, MAX_INCLUDED_BYTES).ok().map(|(_, stamp)| stamp)
    }

    /// What a file is told by without being read. To be taken before it is read.
    pub(super) fn looks(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self::Looks { length: metadata.len(), modified: metadata.modified().ok(), inode }
    }

    /// By what was read of it, unless that is too much.
    pub(super) fn or_content(self, content: &[u8]) -> Self {
        if content.len() as u64 > MAX_INCLUDED_BYTES {
            return self;
        }
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self::Content(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_what_it_says_and_a_large_one_by_its_looks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(Stamp::of(&path), None);
        let of = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            Stamp::of(&path).unwrap()
        };
        let one = of(b"one");
        assert_ne!(of(b"two"), one);
        assert_eq!(of(b"one"), one);
        let large = vec![b'x'; MAX_INCLUDED_BYTES as usize + 1];
        assert!(matches!(of(&large), Stamp::Looks { length, .. } if length > MAX_INCLUDED_BYTES));
    }
}
