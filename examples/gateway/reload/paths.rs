//! Where a file's change shows: in more folders than its own, when there are symbolic links on the way to it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// As many links as Linux follows before it gives up.
const MOST_LINKS: usize = 40;

/// The folders in which something changes when another file is found at `path`: its own, that of each symbolic link that
/// leads to it, in the end or on the way. (Kubernetes exchanges `..data`, a folder that `gateway.toml` is a link into.)
/// For a folder that does not exist stands the nearest above it that does.
pub(super) fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let Ok(mut path) = std::path::absolute(path) else { return folders };
    for _ in 0..MOST_LINKS {
        match first_link(&path) {
            Some((folder, target)) => {
                folders.insert(folder);
                path = target;
            }
            None => break,
        }
    }
    let existing = path.ancestors().skip(1).find(|folder| folder.is_dir());
    folders.extend(existing.map(Path::to_owned));
    folders
}

/// The first symbolic link on the way to `path`: the folder it stands in, and the path that it makes of this one.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    way.into_iter().find_map(|part| {
        let target = std::fs::read_link(part).ok()?;
        let folder = part.parent()?.to_owned();
        let rest = path.strip_prefix(part).ok()?;
        let target = folder.join(target);
        // Without this the path of a link itself would end in a slash, and be a folder.
        let target = if rest.as_os_str().is_empty() { target } else { target.join(rest) };
        Some((folder, target))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn in_root(root: &Path, names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(|name| if name.is_empty() { root.to_owned() } else { root.join(name) }).collect()
    }

    fn root() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        (folder, root)
    }

    #[test]
    fn a_plain_file_changes_in_its_folder() {
        let (_folder, root) = root();
        std::fs::write(root.join("gateway.toml"), "").unwrap();
        assert_eq!(folders(&root.join("gateway.toml")), in_root(&root, &[""]));
        assert_eq!(folders(&root.join("absent.toml")), in_root(&root, &[""]));
        assert_eq!(folders(&root.join("no/such/folder.toml")), in_root(&root, &[""]));
    }

    #[test]
    fn links_on_the_way_are_followed_one_by_one() {
        let (_folder, root) = root();
        std::fs::create_dir_all(root.join("config/..2026")).unwrap();
        std::fs::write(root.join("config/..2026/gateway.toml"), "").unwrap();
        symlink("..2026", root.join("config/..data")).unwrap();
        symlink("..data/gateway.toml", root.join("config/gateway.toml")).unwrap();
        symlink(root.join("config"), root.join("etc")).unwrap();
        assert_eq!(folders(&root.join("config/gateway.toml")), in_root(&root, &["config", "config/..2026"]));
        assert_eq!(folders(&root.join("etc/gateway.toml")), in_root(&root, &["", "config", "config/..2026"]));
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let (_folder, root) = root();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(folders(&root.join("a")), in_root(&root, &[""]));
    }
}
