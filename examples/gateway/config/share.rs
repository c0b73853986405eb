//! Shares of a whole.

use serde_json::{Value as Json, json};

use super::schema::number_or_boolean;
use super::value::{Form, Value};

/// From 0.0 to 1.0, both included.
pub(super) struct Share;

impl Form for Share {
    type Output = f64;

    fn expects() -> String {
        "a number from 0.0 to 1.0".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<f64> {
        value.number::<Self>(0.0..=1.0)
    }

    fn schema() -> Json {
        number_or_boolean(json!({ "type": "number", "minimum": 0.0, "maximum": 1.0 }))
    }
}
