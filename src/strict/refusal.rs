use http::header::{CONNECTION, HeaderValue};
use http::{Response, Version};

use crate::{Reason, Rejection};

/// Why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    reason: Reason,
    detail: &'static str,
    /// Where the next request on the connection begins cannot be trusted either.
    closes: bool,
}

/// The way of few requests, out of that of all others.
#[cold]
pub(super) fn refuse<T>(refusal: Refusal) -> Result<T, Refusal> {
    Err(refusal)
}

impl Refusal {
    /// The message is malformed or ambiguous, and so is what follows it on the connection.
    pub(super) const fn of_message(detail: &'static str) -> Self {
        Self { reason: Reason::BadRequest, detail, closes: true }
    }

    /// The message is well framed, and what it asks for is not.
    pub(super) const fn of_target(detail: &'static str) -> Self {
        Self { reason: Reason::BadRequest, detail, closes: false }
    }

    pub(super) const fn not_implemented(detail: &'static str) -> Self {
        Self { reason: Reason::NotImplemented, detail, closes: false }
    }

    pub(super) const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(super) fn rejection(self) -> Rejection {
        Rejection::new("strict", self.reason).detail(self.detail)
    }

    /// Ends the connection after `answer` where it has to. HTTP/2 has no such field (RFC 9113 section 8.2.2), and no
    /// need of it: its frames say where each message ends.
    pub(super) fn close_after<B>(self, answer: &mut Response<B>, version: Version) {
        if self.closes && version <= Version::HTTP_11 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    #[cfg(test)]
    pub(super) fn what(self) -> (u16, bool) {
        (self.reason.status().as_u16(), self.closes)
    }
}
