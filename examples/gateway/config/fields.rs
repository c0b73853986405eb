//! Tables of header fields: `{ x-beta = "1" }`.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::forms::KeyForm;
use super::header::is_framing;
use super::schema;
use super::value::{Form, Value};

/// Header fields by their names, which are in lower case.
pub(crate) type Fields<T> = BTreeMap<String, T>;

/// The name of a field, as a key.
pub(super) struct FieldName;

impl KeyForm for FieldName {
    type Output = String;

    fn expects() -> String {
        "the name of a header".to_owned()
    }

    fn parse(key: &str) -> Option<String> {
        key.parse::<HeaderName>().ok().map(|name| name.as_str().to_owned())
    }
}

/// The name of a field that may be set: not one that the message itself needs.
pub(super) struct SettableName;

impl KeyForm for SettableName {
    type Output = String;

    fn expects() -> String {
        "the name of a header that is not needed for the message itself".to_owned()
    }

    fn parse(key: &str) -> Option<String> {
        FieldName::parse(key).filter(|name| !is_framing(name))
    }
}

/// What a field holds, whole.
pub(super) struct FieldValue;

impl Form for FieldValue {
    type Output = HeaderValue;

    fn expects() -> String {
        r#"the value of a header such as "1""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<HeaderValue> {
        // What no message can have around a value is a mistake.
        value.parsed::<Self, _>(|text| HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| text.trim() == text))
    }

    fn schema() -> Json {
        schema::string(&["1"])
    }
}
