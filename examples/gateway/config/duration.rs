//! Durations: `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"1d"`.
//!
//! A whole number and one unit, nothing else: `"1.5s"`, `"1m30s"` and `"10 s"` are refused, so that a duration is
//! written in one way and read in one way.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::value::{Form, Value};

/// Ten years: whatever is added to it, an instant can still hold, and nobody means to wait longer.
pub(super) const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

const UNITS: [(&str, u64); 5] = [
    // The longer unit first: "ms" ends with "s".
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// A duration of any length, also none.
pub(super) struct AnyDuration;

/// A duration that is not zero: a deadline of "0s" would refuse everything.
pub(crate) struct PositiveDuration;

impl Form for AnyDuration {
    type Output = Duration;

    fn expects() -> String {
        r#"a duration such as "250ms", "10s", "5m", "1h" or "1d", at most "3650d""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Duration> {
        value.parsed::<Self, _>(parse)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^[0-9]+(ms|s|m|h|d)$|\$\{", "examples": ["250ms", "10s", "5m", "1h", "1d"] })
    }
}

impl Form for PositiveDuration {
    type Output = Duration;

    fn expects() -> String {
        AnyDuration::expects()
    }

    fn read(value: &Value<'_>) -> Option<Duration> {
        let duration = AnyDuration::read(value)?;
        if duration.is_zero() {
            value.fault(&format!(
                "{} leaves no time at all; write a longer duration, or \"none\" where a limit may be lifted",
                value.as_written()
            ));
            return None;
        }
        Some(duration)
    }

    fn schema() -> Json {
        AnyDuration::schema()
    }
}

fn parse(text: &str) -> Option<Duration> {
    UNITS
        .into_iter()
        .find_map(|(unit, milliseconds)| Some((text.strip_suffix(unit)?, milliseconds)))
        .and_then(|(number, milliseconds)| digits(number)?.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
}

/// Digits only: what `u64::from_str` takes besides, a plus sign, is no number of the contract.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
