//! Statuses of answers.

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::schema::number_or_boolean;
use super::value::{Form, Value};

/// The status of an answer: interim ones are none.
pub(super) struct FinalStatus;

impl Form for FinalStatus {
    type Output = StatusCode;

    fn expects() -> String {
        "a status from 200 to 599".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<StatusCode> {
        let status = value.whole_number::<Self>(200..=599)?;
        u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())
    }

    fn schema() -> Json {
        number_or_boolean(json!({ "type": "integer", "minimum": 200, "maximum": 599 }))
    }
}
