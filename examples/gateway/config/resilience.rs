//! What an upstream does about failures: `health_check`, `outlier_ejection`, `circuit_breaker` and `retry` of
//! `[upstreams.NAME]`.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::count::{AnyCount, Count};
use super::duration::{AnyDuration, PositiveDuration};
use super::forms::{ListOf, NonEmpty, OrNone};
use super::matching::MethodName;
use super::path::RequestPath;
use super::schema;
use super::share::Share;
use super::size::Bytes;
use super::status::FinalStatus;
use super::table::{Keys, Table};
use super::value::{Form, Value};

/// `[upstreams.NAME.health_check]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) path: String,
    pub(crate) status: Vec<StatusCode>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) unhealthy_after: NonZeroUsize,
    pub(crate) healthy_after: NonZeroUsize,
}

impl Table for HealthCheck {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let path = keys.required::<RequestPath>("path", "what each server is asked");
        let status = keys.or::<NonEmpty<FinalStatus>>("status", [200, 204], "what a server that is well answers");
        let interval = keys.or::<PositiveDuration>("interval", "5s", "between two checks of a server");
        let timeout = keys.or::<PositiveDuration>("timeout", "1s", "how long an answer may take");
        let unhealthy_after = keys.or::<Count>("unhealthy_after", 3, "bad answers in a row");
        let healthy_after =
            keys.or::<Count>("healthy_after", 2, "good answers in a row; a server is healthy before its first check");
        Some(HealthCheck { path: path?, status, interval, timeout, unhealthy_after, healthy_after })
    }
}

/// `[upstreams.NAME.outlier_ejection]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutlierEjection {
    pub(crate) consecutive_failures: NonZeroUsize,
    pub(crate) failure_rate: Option<f64>,
    pub(crate) min_requests: NonZeroUsize,
    pub(crate) window: Duration,
    pub(crate) eject_for: Duration,
    pub(crate) max_ejected: f64,
}

impl Table for OutlierEjection {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(OutlierEjection {
            consecutive_failures: keys.or::<Count>("consecutive_failures", 5, "failures in a row that eject a server"),
            failure_rate: keys.optional::<Share>(
                "failure_rate",
                "as well: of at least min_requests in the window, and clearly above the other servers'",
            ),
            min_requests: keys.or::<Count>("min_requests", 20, "fewer say nothing about the rate"),
            window: keys.or::<PositiveDuration>("window", "10s", "what the rate is taken over"),
            eject_for: keys.or::<PositiveDuration>(
                "eject_for",
                "30s",
                "grows with repeated ejections, at most tenfold",
            ),
            max_ejected: keys.or::<Share>("max_ejected", 0.5, "share of the servers that ejection may take out"),
        })
    }
}

/// `[upstreams.NAME.circuit_breaker]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CircuitBreaker {
    pub(crate) failure_rate: f64,
    pub(crate) min_requests: NonZeroUsize,
    pub(crate) window: Duration,
    pub(crate) consecutive_failures: Option<NonZeroUsize>,
    pub(crate) slow_call: Option<SlowCall>,
    pub(crate) open_for: Duration,
    pub(crate) half_open_requests: NonZeroUsize,
}

/// `slow_call` of a circuit breaker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SlowCall {
    pub(crate) after: Duration,
    pub(crate) rate: f64,
}

impl Table for CircuitBreaker {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(CircuitBreaker {
            failure_rate: keys.or::<Share>("failure_rate", 0.5, "of the requests in the window"),
            min_requests: keys.or::<Count>("min_requests", 20, "fewer in the window say nothing"),
            window: keys.or::<PositiveDuration>("window", "30s", "the requests that count"),
            consecutive_failures: keys
                .optional::<Count>("consecutive_failures", "opens as well, whatever min_requests says"),
            slow_call: keys.optional::<SlowCall>("slow_call", "opens as well, when so many were slow"),
            open_for: keys.or::<PositiveDuration>("open_for", "30s", "grows with repeated trips, at most tenfold"),
            half_open_requests: keys.or::<Count>("half_open_requests", 1, "probes at once"),
        })
    }
}

impl Table for SlowCall {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let after = keys.required::<PositiveDuration>("after", "what is slow, to the head of the answer");
        let rate = keys.required::<Share>("rate", "of the requests in the window");
        Some(SlowCall { after: after?, rate: rate? })
    }
}

/// `[upstreams.NAME.retry]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Retry {
    pub(crate) attempts: NonZeroUsize,
    pub(crate) per_try: Option<Duration>,
    pub(crate) backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) on: Vec<RetryOn>,
    pub(crate) methods: Vec<Method>,
    pub(crate) budget: Budget,
    pub(crate) replay_bytes: u64,
}

/// `budget` of retries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Budget {
    pub(crate) ratio: f64,
    pub(crate) min_per_second: u32,
}

/// What is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryOn {
    Connect,
    Reset,
    Status(StatusCode),
}

impl Table for Retry {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let attempts = keys.or::<Count>("attempts", 3, "the first try included");
        let per_try = keys.or::<OrNone<PositiveDuration>>("per_try", "none", "to the response head of one try");
        let backoff = keys.or::<AnyDuration>("backoff", "25ms", "doubles with each try, with full jitter");
        let max_backoff = keys.or::<AnyDuration>("max_backoff", "250ms", "and no more than this");
        let on = ["connect", "reset", "502", "503", "504"];
        let on = keys.or::<ListOf<RetryOn>>("on", on, "what is tried again");
        let methods = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
        let about = "what may be sent again; a connection that was refused is retried for any method";
        let methods = keys.or::<ListOf<MethodName>>("methods", methods, about);
        let budget = keys.table::<Budget>("budget", "how many retries there may be");
        let replay_bytes = keys.or::<Bytes>("replay_bytes", "64KiB", "a larger body is not sent again");
        Some(Retry { attempts, per_try, backoff, max_backoff, on, methods, budget: budget?, replay_bytes })
    }
}

impl Table for Budget {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        Some(Budget {
            ratio: keys.or::<Share>("ratio", 0.2, "retries for each request"),
            min_per_second: keys.or::<AnyCount>("min_per_second", 10, "retries in any case"),
        })
    }
}

const WORDS: [&str; 2] = ["connect", "reset"];

impl Form for RetryOn {
    type Output = RetryOn;

    fn expects() -> String {
        r#""connect", "reset" or a status such as "503""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<RetryOn> {
        value.parsed::<Self, _>(|text| match text {
            "connect" => Some(RetryOn::Connect),
            "reset" => Some(RetryOn::Reset),
            _ => {
                let status = StatusCode::from_bytes(text.as_bytes()).ok()?;
                (400..=599).contains(&status.as_u16()).then_some(RetryOn::Status(status))
            }
        })
    }

    fn schema() -> Json {
        schema::either(schema::words(WORDS), json!({ "type": "string", "pattern": r"^[45][0-9][0-9]$|\$\{" }))
    }
}
