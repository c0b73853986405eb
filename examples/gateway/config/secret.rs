//! Secrets: what must not be printed, and should not stand in the file.

use std::fmt;

use serde_json::Value as Json;

use super::schema;
use super::value::{Form, Value};

/// A text that prints as nothing but that it is there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// For the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Of what was read as something else, and holds one.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Form for Secret {
    type Output = Secret;

    fn expects() -> String {
        r#"a secret, from a variable such as "${TOKEN}" or a file such as "${file:token}""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Secret> {
        if value.node.get_ref().as_str().is_none() {
            // It may be the secret, so it is not shown.
            value.fault(&format!("not a text; write {}", Self::expects()));
            return None;
        }
        let text = value.text::<Self>()?;
        if text.text.is_empty() {
            value.fault(&format!("the secret is empty; write {}", Self::expects()));
            return None;
        }
        if !text.is_expanded() {
            value.warn(r#"a secret stands in the file itself; put it into a variable and write "${NAME}", or into a file and write "${file:PATH}""#);
        }
        Some(Secret(text.text))
    }

    fn schema() -> Json {
        schema::string(&["${TOKEN}", "${file:token}"])
    }
}
