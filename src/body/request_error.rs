use http::StatusCode;
use thiserror::Error;

use crate::Reason;
use crate::chain::chain;

/// Why a request body was cut short by the gateway itself. Services find it in the source chain of a body's error.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// More bytes came than the limit allows.
    #[error("the request body is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// No byte came for longer than the idle timeout, or fewer a second than the minimum rate.
    #[error("the request body arrives too slowly")]
    TooSlow,
}

impl RequestBodyError {
    /// The reason to refuse the request with.
    pub fn reason(self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::BodyTooLarge,
            Self::TooSlow => Reason::BodyTooSlow,
        }
    }

    /// 413 or 408.
    pub fn status(self) -> StatusCode {
        self.reason().status()
    }

    /// Finds one in `error` or what caused it.
    pub fn find(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        chain(error).find_map(|error| error.downcast_ref().copied())
    }
}
