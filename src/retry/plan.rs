//! Whether a try is followed by another.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use super::backoff::{Backoff, retry_after};
use super::budget::RetryBudget;
use crate::classify::CallError;
use crate::status_set::StatusSet;
use crate::{Share, UpstreamError, UpstreamErrorKind};

#[derive(Clone)]
pub(super) struct Policy {
    pub(super) attempts: u32,
    pub(super) methods: Methods,
    pub(super) idempotency_key: bool,
    pub(super) on_connect: bool,
    pub(super) on_reset: bool,
    pub(super) statuses: StatusSet,
    pub(super) backoff: Backoff,
    pub(super) longest_retry_after: Duration,
    pub(super) per_try: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) replay_bytes: u64,
    pub(super) budget: RetryBudget,
    pub(super) elsewhere: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

#[derive(Clone, Debug)]
pub(super) enum Methods {
    Idempotent,
    These(Vec<Method>),
}

/// Why a try came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was sent.
    NotSent,
    /// It may have been sent, and there is no answer.
    Broken,
    /// It took too long.
    TimedOut,
    /// The answer has this status, and asks to wait so long.
    Status(StatusCode, Option<Duration>),
}

impl Default for Policy {
    fn default() -> Self {
        let statuses = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        Self {
            attempts: 3,
            methods: Methods::Idempotent,
            idempotency_key: true,
            on_connect: true,
            on_reset: true,
            statuses: statuses.into_iter().collect(),
            backoff: Backoff { first: Duration::from_millis(25), longest: Duration::from_millis(250) },
            longest_retry_after: Duration::from_secs(1),
            per_try: None,
            deadline: None,
            replay_bytes: 64 << 10,
            budget: RetryBudget::new(Share::percent(20), 10),
            elsewhere: None,
        }
    }
}

impl Policy {
    /// True when a request may be sent again though the origin may have seen it.
    pub(super) fn may_repeat(&self, method: &Method, headers: &HeaderMap) -> bool {
        let chosen = match &self.methods {
            Methods::Idempotent => method.is_idempotent(),
            Methods::These(methods) => methods.contains(method),
        };
        chosen || (self.idempotency_key && headers.contains_key("idempotency-key"))
    }

    /// True when a try that failed so may be followed by another of the same request.
    pub(super) fn covers(&self, failure: Failure, may_repeat: bool) -> bool {
        match failure {
            Failure::NotSent => self.on_connect,
            Failure::Broken => self.on_reset && may_repeat,
            Failure::TimedOut => may_repeat,
            Failure::Status(status, _) => self.statuses.contains(status) && may_repeat,
        }
    }

    /// How long to wait before the try that follows `tries`. `None` when that is too long to wait at all.
    pub(super) fn wait(&self, failure: Failure, tries: u32) -> Option<Duration> {
        let elsewhere = self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere());
        let backoff = match tries {
            1 if elsewhere => Duration::ZERO,
            _ if elsewhere => self.backoff.after(tries - 1),
            _ => self.backoff.after(tries),
        };
        match failure {
            // A server that is not available speaks for itself, one that throttles for all of them.
            Failure::Status(status, Some(asked)) if !elsewhere || status == StatusCode::TOO_MANY_REQUESTS => {
                (asked <= self.longest_retry_after).then_some(asked.max(backoff))
            }
            _ => Some(backoff),
        }
    }
}

impl Failure {
    /// What an error means for another try. `None` for one that another would end in as well.
    pub(super) fn of_error<E: 'static>(error: &E) -> Option<Self> {
        use UpstreamErrorKind::*;
        let error = CallError::new(error);
        match error.kind()? {
            // Our own client says so only of connections that did not come about. With others it may be one that broke.
            Dns | Connect | ConnectTimeout | Tls | Refused => Some(match error.downcast_ref::<UpstreamError>() {
                Some(_) => Self::NotSent,
                None => Self::Broken,
            }),
            Reset => Some(Self::Broken),
            ResponseTimeout => Some(Self::TimedOut),
            InvalidResponse | Truncated | BodyTimeout | TotalTimeout | Overloaded | NoServer | Request => None,
        }
    }

    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Self {
        Self::Status(status, retry_after(headers))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("attempts", &self.attempts)
            .field("methods", &self.methods)
            .field("statuses", &self.statuses)
            .field("backoff", &self.backoff)
            .field("per_try", &self.per_try)
            .field("deadline", &self.deadline)
            .field("replay_bytes", &self.replay_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_may_have_been_seen_is_repeated_only_if_that_does_no_harm() {
        let policy = Policy::default();
        let keyed = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), HeaderValue::from_static("1"))]);
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            assert!(policy.may_repeat(&method, &HeaderMap::new()), "{method}");
        }
        for method in [Method::POST, Method::PATCH] {
            assert!(!policy.may_repeat(&method, &HeaderMap::new()), "{method}");
            assert!(policy.may_repeat(&method, &keyed), "{method}");
        }
        for failure in [Failure::Broken, Failure::TimedOut, Failure::Status(StatusCode::BAD_GATEWAY, None)] {
            assert!(policy.covers(failure, true) && !policy.covers(failure, false), "{failure:?}");
        }
        assert!(policy.covers(Failure::NotSent, false), "nothing was sent");
        assert!(!policy.covers(Failure::Status(StatusCode::INTERNAL_SERVER_ERROR, None), true));
    }

    #[test]
    fn retry_after_is_waited_for_where_no_other_server_can_be_asked() {
        let asked = |status, seconds| Failure::Status(status, Some(Duration::from_secs(seconds)));
        let unavailable = |seconds| asked(StatusCode::SERVICE_UNAVAILABLE, seconds);
        let alone = Policy::default();
        assert_eq!(alone.wait(unavailable(1), 1), Some(Duration::from_secs(1)));
        assert_eq!(alone.wait(unavailable(2), 1), None, "longer than anybody waits");
        let elsewhere = Policy { elsewhere: Some(Arc::new(|| true)), ..Policy::default() };
        assert_eq!(elsewhere.wait(unavailable(2), 1), Some(Duration::ZERO));
        assert_eq!(elsewhere.wait(asked(StatusCode::TOO_MANY_REQUESTS, 2), 1), None);
    }

    #[test]
    fn a_strangers_word_that_nothing_was_sent_is_not_taken() {
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::of_error(&refused()), Some(Failure::Broken));
        assert_eq!(Failure::of_error(&UpstreamError::classify(refused())), Some(Failure::NotSent));
        assert_eq!(Failure::of_error(&UpstreamError::new(UpstreamErrorKind::Request)), None);
    }
}
