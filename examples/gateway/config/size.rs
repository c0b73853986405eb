//! Sizes: `"128B"`, `"64KiB"`, `"10MiB"`, `"1GiB"`, or a number of bytes.
//!
//! Only binary units: what is meant by `"10MB"` depends on whom one asks, so it is refused.

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::duration::digits;
use super::schema::either;
use super::value::{Form, Value};

/// One pebibyte: sums of sizes, and rates times seconds, stay far from overflow.
pub(super) const LARGEST: u64 = 1 << 50;

const UNITS: [(&str, u64); 4] = [
    // The longer unit first: "KiB" ends with "B".
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];

/// A number of bytes, also none.
pub(super) struct Bytes;

/// A number of bytes, at least one.
pub(super) struct PositiveBytes;

impl Form for Bytes {
    type Output = u64;

    fn expects() -> String {
        r#"a size such as "128B", "64KiB", "10MiB" or "1GiB", or a number of bytes, at most "1048576GiB""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<u64> {
        match value.node.get_ref() {
            DeValue::String(_) => value.parsed::<Self, _>(parse),
            _ => value.whole_number::<Self>(0..=LARGEST),
        }
    }

    fn schema() -> Json {
        either(
            json!({ "type": "integer", "minimum": 0, "maximum": LARGEST }),
            json!({ "type": "string", "pattern": r"^[0-9]+(KiB|MiB|GiB|B|)$|\$\{", "examples": ["128B", "64KiB", "10MiB"] }),
        )
    }
}

impl Form for PositiveBytes {
    type Output = u64;

    fn expects() -> String {
        Bytes::expects()
    }

    fn read(value: &Value<'_>) -> Option<u64> {
        let size = Bytes::read(value)?;
        if size == 0 {
            value.fault(&format!(
                "{} leaves no byte at all; write a larger size, or \"none\" to lift the limit",
                value.as_written()
            ));
            return None;
        }
        Some(size)
    }

    fn schema() -> Json {
        Bytes::schema()
    }
}

/// A plain number may stand in a string as well: from a variable it arrives as one.
fn parse(text: &str) -> Option<u64> {
    UNITS
        .into_iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))
        .or(Some((text, 1)))
        .and_then(|(number, bytes)| digits(number)?.checked_mul(bytes))
        .filter(|size| *size <= LARGEST)
}
