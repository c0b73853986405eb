//! Texts that each request fills in.

use serde_json::Value as Json;
use tower_gateway::transform::Template;

use super::schema;
use super::value::{Form, Value};

/// A text with placeholders such as `{subject}`.
pub(super) struct Templated;

impl Form for Templated {
    type Output = Template;

    fn expects() -> String {
        r#"a text with placeholders such as "{subject}" or "{plan|free}""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Template> {
        let text = value.text::<Self>()?;
        match Template::parse(&text.text) {
            Ok(template) => Some(template),
            // A fault quotes what is wrong, which may be what a variable holds.
            Err(_) if text.is_expanded() => {
                value.fault(&format!("{} is not {} once it is expanded", text.quoted(), Self::expects()));
                None
            }
            Err(error) => {
                value.fault(&format!(
                    "{} holds a fault at character {}: {error}",
                    text.quoted(),
                    character(&text.text, error.at)
                ));
                None
            }
        }
    }

    fn schema() -> Json {
        schema::string(&["{subject}", "{plan|free}"])
    }
}

/// Counted from one, as editors do.
fn character(text: &str, byte: usize) -> usize {
    text.get(..byte).map_or(0, |before| before.chars().count()) + 1
}
