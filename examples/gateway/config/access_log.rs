//! `[access_log]`. There is no access log yet, so the only thing to say about it is that it is off.

use super::table::{Keys, Table};
use super::word::{Choice, Word};

pub(super) struct AccessLog;

impl Table for AccessLog {
    const NOT_BUILT: &'static [&'static str] = &["redact_query", "sample"];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        keys.optional::<Word<LogFormat>>("format", "one line a request on standard output");
        Some(AccessLog)
    }
}

/// How a line of the log looks, once there is one.
#[derive(Debug, Clone, Copy)]
enum LogFormat {
    Off,
}

impl Choice for LogFormat {
    const BUILT: &'static [(&'static str, Self)] = &[("off", Self::Off)];
    const NOT_BUILT: &'static [&'static str] = &["json", "text"];
}
