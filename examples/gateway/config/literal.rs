//! Defaults, written as they would stand in a file.

use std::fmt;

use serde_json::{Value as Json, json};

/// A default of the contract. It is read by the form of its key, as though the user had written it, so that there is
/// one way from text to value, and what the schema shows is what holds.
#[derive(Debug, Clone)]
pub(crate) enum Literal {
    Boolean(bool),
    Whole(u32),
    Share(f64),
    Text(&'static str),
    List(Vec<Literal>),
}

impl Literal {
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Boolean(boolean) => json!(boolean),
            Self::Whole(number) => json!(number),
            Self::Share(number) => json!(number),
            Self::Text(text) => json!(text),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
        }
    }
}

/// As TOML: what a JSON text without a table or a null is, too.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

impl From<bool> for Literal {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<u32> for Literal {
    fn from(number: u32) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Literal {
    fn from(number: f64) -> Self {
        Self::Share(number)
    }
}

impl From<&'static str> for Literal {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Literal>, const N: usize> From<[T; N]> for Literal {
    fn from(items: [T; N]) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// An empty list: `[]` alone does not say of what.
pub(super) const EMPTY: [&str; 0] = [];
