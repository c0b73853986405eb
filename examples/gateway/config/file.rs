//! Files that the configuration names. They belong to it: a change of theirs is a change of the configuration.

use std::marker::PhantomData;

use serde_json::Value as Json;
use toml::de::DeTable;

use super::reader::{MAX_INCLUDED_BYTES, Reader, syntax_fault};
use super::schema;
use super::source::Source;
use super::table::{Keys, Table};
use super::value::{Form, Value};

/// A list of a million keys is some hundred megabytes.
const MAX_TABLE_BYTES: u64 = 1 << 30;

/// The text of the file that a key names, such as a certificate in PEM; at most 1 MiB.
pub(super) struct FileText;

impl Form for FileText {
    type Output = String;

    fn expects() -> String {
        "the path of a file".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<String> {
        text_of::<Self>(value, MAX_INCLUDED_BYTES).map(|(_, text)| text)
    }

    fn schema() -> Json {
        schema::string(&[])
    }
}

/// The table that stands in the TOML file which a key names. Its faults are told with that file's lines.
pub(super) struct TableFile<T>(PhantomData<T>);

impl<T: Table> Form for TableFile<T> {
    type Output = T;

    fn expects() -> String {
        "the path of a TOML file".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<T> {
        let (path, text) = text_of::<Self>(value, MAX_TABLE_BYTES)?;
        let (root, syntax_errors) = DeTable::parse_recoverable(&text);
        let file = value.reader.base_dir.join(path).display().to_string();
        let reader = Reader {
            source: Source::new(&file, &text),
            complete: syntax_errors.is_empty(),
            empty: DeTable::new(),
            ..*value.reader
        };
        let read = Keys::read(&reader, root.get_ref(), String::new(), 0..0);
        if syntax_errors.is_empty() {
            return read;
        }
        let mut found = value.reader.found.borrow_mut();
        found.faults.extend(syntax_errors.iter().map(|error| syntax_fault(&reader.source, error)));
        None
    }

    fn schema() -> Json {
        schema::string(&[])
    }
}

fn text_of<F: Form>(value: &Value<'_>, at_most: u64) -> Option<(String, String)> {
    let path = value.text::<F>()?;
    if path.text.is_empty() {
        value.fault(&format!("names no file; write {}", F::expects()));
        return None;
    }
    match value.reader.text_of(&path.text, at_most) {
        Ok(text) => Some((path.text, text)),
        Err(problem) => {
            value.fault(&problem);
            None
        }
    }
}
