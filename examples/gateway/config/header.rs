//! Names of header fields that the gateway reads or writes.

use http::HeaderName;
use serde_json::Value as Json;

use super::schema;
use super::value::{Form, Value};

/// Fields that frame a message or belong to one connection (RFC 9110, sections 7.2, 7.6.1 and 8.6): to put anything
/// else into them breaks the message.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the message itself needs the field of this name, which is in lower case.
pub(super) fn is_framing(name: &str) -> bool {
    FRAMING.contains(&name)
}

impl Form for HeaderName {
    type Output = HeaderName;

    fn expects() -> String {
        r#"the name of a header such as "x-request-id""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<HeaderName> {
        let name = value.parsed::<Self, _>(|text| text.parse::<HeaderName>().ok())?;
        if is_framing(name.as_str()) {
            value.fault(&format!("{} is needed for the message itself; name another header", value.as_written()));
            return None;
        }
        Some(name)
    }

    fn schema() -> Json {
        schema::string(&["x-request-id"])
    }
}
