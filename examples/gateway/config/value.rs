//! One value of the file on its way to its type, and the forms a value may have.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use serde_json::{Value as Json, json};

use super::reader::{Reader, quoted};
use super::schema::number_or_boolean;

/// A form of the contract, such as "a duration": what it makes of a value.
pub(crate) trait Form {
    type Output;

    /// The form in words, with an example: completes "write ..." and "... is not ...".
    fn expects() -> String;

    /// Nothing, and a fault at the reader, where the value has another form.
    fn read(value: &Value<'_>) -> Option<Self::Output>;

    /// The form as a JSON Schema, with examples that can be read. It may allow more than `read` does, never less.
    fn schema() -> Json;
}

pub(crate) struct Value<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// The dotted path of its key.
    pub(super) path: String,
    pub(super) node: &'a Spanned<DeValue<'a>>,
}

/// A string of the file after expansion. Messages quote `written`, since `text` may hold a secret.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) written: String,
    is_expanded: bool,
}

impl Text {
    /// From a variable or a file everything arrives as text, numbers and booleans too.
    pub(super) fn is_expanded(&self) -> bool {
        self.is_expanded
    }

    /// As it stands in the file.
    pub(super) fn quoted(&self) -> String {
        quoted(&self.written)
    }
}

impl<'a> Value<'a> {
    pub(super) fn at(&self) -> Range<usize> {
        self.node.span()
    }

    pub(super) fn fault(&self, problem: &str) {
        let message = format!("{}: {problem}", self.path);
        self.reader.fault(&self.at(), &self.path, message);
    }

    pub(super) fn warn(&self, problem: &str) {
        let message = format!("{}: {problem}", self.path);
        self.reader.warn(&self.at(), &self.path, message);
    }

    /// The fault of a value that has another form than its key asks for.
    pub(super) fn is_not<F: Form + ?Sized>(&self) {
        self.fault(&format!("{} is not {}", self.as_written(), F::expects()));
    }

    pub(super) fn as_written(&self) -> String {
        match self.node.get_ref() {
            DeValue::String(written) => quoted(written),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                self.reader.source.slice(self.at()).to_owned()
            }
        }
    }

    /// The string after expansion; a value that is no string is not `F`.
    pub(super) fn text<F: Form + ?Sized>(&self) -> Option<Text> {
        let DeValue::String(written) = self.node.get_ref() else {
            self.is_not::<F>();
            return None;
        };
        match self.reader.expand(written) {
            Ok((text, is_expanded)) => Some(Text { text, written: written.to_string(), is_expanded }),
            Err(problems) => {
                for problem in problems {
                    self.fault(&problem);
                }
                None
            }
        }
    }

    /// The string after expansion, parsed; what cannot be parsed is not `F`.
    pub(super) fn parsed<F: Form + ?Sized, T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text::<F>()?;
        let parsed = parse(&text.text);
        if parsed.is_none() {
            self.is_not::<F>();
        }
        parsed
    }

    pub(super) fn whole_number<F: Form + ?Sized>(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match self.node.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(_) => {
                let text = self.text::<F>()?;
                text.text.parse().ok().filter(|_| text.is_expanded())
            }
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.is_not::<F>();
        }
        number
    }

    /// Any number that is not NaN.
    pub(super) fn number<F: Form + ?Sized>(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let number = match self.node.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::String(_) => {
                let text = self.text::<F>()?;
                text.text.parse().ok().filter(|_| text.is_expanded())
            }
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.is_not::<F>();
        }
        number
    }

    pub(super) fn items(&self) -> Option<impl Iterator<Item = Value<'a>>> {
        let DeValue::Array(items) = self.node.get_ref() else {
            return None;
        };
        let reader = self.reader;
        let path = self.path.clone();
        Some(items.iter().enumerate().map(move |(index, node)| Value {
            reader,
            path: format!("{path}[{index}]"),
            node,
        }))
    }

    pub(super) fn table(&self) -> Option<&'a DeTable<'a>> {
        self.node.get_ref().as_table()
    }
}

impl Form for bool {
    type Output = bool;

    fn expects() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<bool> {
        match value.node.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            DeValue::String(_) => {
                let text = value.text::<Self>()?;
                let boolean = text.text.parse().ok().filter(|_| text.is_expanded());
                if boolean.is_none() {
                    value.is_not::<Self>();
                }
                boolean
            }
            _ => {
                value.is_not::<Self>();
                None
            }
        }
    }

    fn schema() -> Json {
        number_or_boolean(json!({ "type": "boolean" }))
    }
}
