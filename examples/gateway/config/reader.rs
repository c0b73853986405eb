//! What one reading of a file shares: where it stands, what it may look up, what it has found.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::expand::{Reference, expand};
use super::fault::Finding;
use super::source::Source;

/// More than any key, token or certificate: a mistyped `${file:/dev/zero}` ends here.
const MAX_INCLUDED_BYTES: u64 = 1024 * 1024;

pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) base_dir: &'a Path,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether the whole file could be parsed. If not, what seems to be missing may stand in the part that could not.
    pub(super) complete: bool,
    /// Stands in for tables that are absent, so that defaults are written once, where a table is read.
    pub(super) empty: DeTable<'static>,
    pub(super) found: RefCell<Found>,
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) faults: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    pub(super) files: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    pub(super) fn fault(&self, at: &Range<usize>, key: &str, message: String) {
        let finding = self.source.finding(at.start, key, message);
        self.found.borrow_mut().faults.push(finding);
    }

    pub(super) fn warn(&self, at: &Range<usize>, key: &str, message: String) {
        let finding = self.source.finding(at.start, key, message);
        self.found.borrow_mut().warnings.push(finding);
    }

    /// A key that must be there and is not: shown at the header of its table.
    pub(super) fn missing(&self, at: &Range<usize>, table: &str, key: &str, expects: &str) {
        if self.complete {
            self.fault(at, &join(table, key), format!("{key:?} is missing {}; write {expects}", within(table)));
        }
    }

    pub(super) fn expand(&self, written: &str) -> Result<String, Vec<String>> {
        expand(written, &|reference| match reference {
            Reference::Variable { name, fallback } => self.variable(name, fallback),
            Reference::File(path) => self.included(path),
        })
    }

    fn variable(&self, name: &str, fallback: Option<&str>) -> Result<String, String> {
        match ((self.env)(name), fallback) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(fallback)) => Ok(fallback.to_owned()),
            (None, None) => Err(format!(
                "the environment variable {name:?} is not set; set it, or write a fallback: \"${{{name}:-...}}\""
            )),
        }
    }

    fn included(&self, path: &str) -> Result<String, String> {
        let resolved = self.base_dir.join(path);
        let mut text = String::new();
        File::open(&resolved)
            .and_then(|file| file.take(MAX_INCLUDED_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| format!("the file {path:?} cannot be read: {error}"))?;
        if text.len() as u64 > MAX_INCLUDED_BYTES {
            return Err(format!("the file {path:?} is larger than 1MiB; name a smaller one"));
        }
        self.found.borrow_mut().files.insert(resolved);
        let without_newline = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text);
        Ok(without_newline.to_owned())
    }
}

/// The dotted path of a key in a table; what could not stand there as a bare key is quoted.
pub(super) fn join(table: &str, key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { format!("{key:?}") };
    if table.is_empty() { key } else { format!("{table}.{key}") }
}

/// How messages say where a key stands: by the header of its table, where it has one.
pub(super) fn within(table: &str) -> String {
    if table.is_empty() {
        "at the top level".to_owned()
    } else if table.ends_with(']') {
        format!("in {table}")
    } else {
        format!("in [{table}]")
    }
}

/// Text of the file within a message: on one line, without control characters, and not without end.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 60;
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((cut, _)) => format!("{:?}", format!("{}...", &text[..cut])),
        None => format!("{text:?}"),
    }
}
