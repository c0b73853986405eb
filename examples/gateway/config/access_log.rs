//! `[access_log]`. There is no access log yet, so the only thing to say about it is that it is off.

use super::table::{Keys, Table};
use super::value::{Form, Value};

pub(super) struct AccessLog;

impl Table for AccessLog {
    const NOT_BUILT: &'static [&'static str] = &["redact_query", "sample"];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        keys.optional::<LogFormat>("format");
        Some(AccessLog)
    }
}

struct LogFormat;

impl LogFormat {
    const NOT_BUILT: &'static [&'static str] = &["json", "text"];
}

impl Form for LogFormat {
    type Output = ();

    fn expects() -> String {
        "\"off\"".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<()> {
        value.word::<Self, _>(&[("off", ())], Self::NOT_BUILT)
    }
}
