//! What one reading of a file shares: where it stands, what it may look up, what it has found.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use super::expand::{Expansion, expand};
use super::fault::Finding;
use super::source::Source;
use super::stamp::{Files, Stamp};
use super::value::Text;

/// More than any key, token or certificate: a mistyped `${file:/dev/zero}` ends here.
pub(super) const MAX_INCLUDED_BYTES: u64 = 1024 * 1024;

pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) base_dir: &'a Path,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether the whole file could be parsed. If not, what seems to be missing may stand in the part that could not.
    pub(super) complete: bool,
    /// Stands in for tables that are absent, so that defaults are written once, where a table is read.
    pub(super) empty: DeTable<'static>,
    /// Shared with the readers of files that this one names.
    pub(super) found: &'a RefCell<Found>,
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) faults: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    pub(super) open_routes: Vec<Finding>,
    pub(super) files: Files,
    pub(super) references: Vec<Reference>,
    is_aside: bool,
}

/// A name in the file that stands for a table, such as `upstream = "users"` for `[upstreams.users]`.
#[derive(Clone)]
pub(super) struct Reference {
    pub(super) section: &'static str,
    pub(super) name: Text,
    pub(super) path: String,
    pub(super) at: Range<usize>,
    /// Not one of a table that only stands for others to inherit from.
    pub(super) is_use: bool,
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

    pub(super) fn list_open_route(&self, at: &Range<usize>, key: &str, message: String) {
        let finding = self.source.finding(at.start, key, message);
        self.found.borrow_mut().open_routes.push(finding);
    }

    /// Whether there is one in what this key holds.
    pub(super) fn has_fault_in(&self, key: &str) -> bool {
        let is_within = |fault: &Finding| {
            fault.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.found.borrow().faults.iter().any(is_within)
    }

    /// Reads what is looked at for its faults alone.
    pub(super) fn aside<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut self.found.borrow_mut().is_aside, true);
        let read = read();
        self.found.borrow_mut().is_aside = before;
        read
    }

    pub(super) fn refer(&self, section: &'static str, name: Text, path: String, at: Range<usize>) {
        let mut found = self.found.borrow_mut();
        let is_use = !found.is_aside;
        found.references.push(Reference { section, name, path, at, is_use });
    }

    /// A key that must be there and is not: shown at the header of its table.
    pub(super) fn missing(&self, at: &Range<usize>, table: &str, key: &str, expects: &str) {
        if self.complete {
            self.fault(at, &join(table, key), format!("{key:?} is missing {}; write {expects}", within(table)));
        }
    }

    /// The text, and whether anything was put into it.
    pub(super) fn expand(&self, written: &str) -> Result<(String, bool), Vec<String>> {
        let is_expanded = Cell::new(false);
        let look_up = |expansion: Expansion<'_>| {
            is_expanded.set(true);
            match expansion {
                Expansion::Variable { name, fallback } => self.variable(name, fallback),
                Expansion::File(path) => self.included(path),
            }
        };
        Ok((expand(written, &look_up)?, is_expanded.get()))
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
        let text = self.text_of(path, MAX_INCLUDED_BYTES)?;
        let without_newline = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text);
        Ok(without_newline.to_owned())
    }

    /// The text of a file that the configuration names, which belongs to it from then on, also when it cannot be read: it
    /// may be by the time that it changes. Or why it cannot be read.
    pub(super) fn text_of(&self, path: &str, at_most: u64) -> Result<String, String> {
        let resolved = self.base_dir.join(path);
        let read = read_file(&resolved, at_most);
        let stamp = read.as_ref().ok().map(|(_, stamp)| stamp.clone());
        // Of a file that is read twice, the first: if it was another by then, that is to be seen.
        self.found.borrow_mut().files.entry(resolved).or_insert(stamp);
        let cannot = |error: &dyn Display| format!("the file {path:?} cannot be read: {error}");
        let (bytes, _) = read.map_err(|error| cannot(&error))?;
        if bytes.len() as u64 > at_most {
            return Err(format!("the file {path:?} is larger than {}MiB; name a smaller one", at_most >> 20));
        }
        String::from_utf8(bytes).map_err(|error| cannot(&error.utf8_error()))
    }
}

/// What a file says, of a longer one a byte more than `at_most`, and its stamp.
pub(super) fn read_file(path: &Path, at_most: u64) -> io::Result<(Vec<u8>, Stamp)> {
    let file = File::open(path)?;
    let looks = Stamp::looks(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(at_most + 1).read_to_end(&mut bytes)?;
    let stamp = looks.or_content(&bytes);
    Ok((bytes, stamp))
}

pub(super) fn syntax_fault(source: &Source<'_>, error: &toml::de::Error) -> Finding {
    let span = error.span().unwrap_or_default();
    let message = match (error.message(), source.slice(span.clone())) {
        ("duplicate key", key) if !key.is_empty() => {
            format!("{} is there already; remove one of the two", quoted(key))
        }
        (message, _) => format!("not TOML: {message}"),
    };
    source.finding(span.start, "", message)
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
