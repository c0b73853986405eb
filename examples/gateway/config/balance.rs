//! The values of `balance`: words, and what a hash is taken of.

use http::HeaderName;
use serde_json::Value as Json;

use super::nearest::nearest;
use super::schema;
use super::value::{Form, Value};

/// How the server of a request is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Balance {
    /// The fewest requests in flight, divided by weight.
    LeastRequests,
    RoundRobin,
    /// The shortest expected wait.
    PeakEwma,
    /// The same for the same subject, address or field; without that as by the fewest requests.
    HashSubject,
    HashClientIp,
    HashHeader(HeaderName),
}

const WORDS: [&str; 5] = ["least_requests", "round_robin", "peak_ewma", "hash:subject", "hash:client_ip"];
const BY_HEADER: &str = "hash:header:";

impl Form for Balance {
    type Output = Balance;

    fn expects() -> String {
        let words: Vec<String> = WORDS.iter().map(|word| format!("{word:?}")).collect();
        format!("{} or \"{BY_HEADER}NAME\"", words.join(", "))
    }

    fn read(value: &Value<'_>) -> Option<Balance> {
        let text = value.text::<Self>()?;
        match text.text.as_str() {
            "least_requests" => return Some(Balance::LeastRequests),
            "round_robin" => return Some(Balance::RoundRobin),
            "peak_ewma" => return Some(Balance::PeakEwma),
            "hash:subject" => return Some(Balance::HashSubject),
            "hash:client_ip" => return Some(Balance::HashClientIp),
            _ => {}
        }
        if let Some(name) = text.text.strip_prefix(BY_HEADER)
            && let Ok(name) = name.parse()
        {
            return Some(Balance::HashHeader(name));
        }
        match nearest(&text.text, WORDS).filter(|nearest| nearest.is_close() && !text.is_expanded()) {
            Some(nearest) => {
                value.fault(&format!("{} is not {}; did you mean {:?}?", text.quoted(), Self::expects(), nearest.name));
            }
            None => value.is_not::<Self>(),
        }
        None
    }

    fn schema() -> Json {
        let header = serde_json::json!({ "type": "string", "pattern": r"^hash:header:[A-Za-z0-9-]+$|\$\{" });
        schema::either(schema::words(WORDS), header)
    }
}
