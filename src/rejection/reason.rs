use http::StatusCode;

/// Why a layer refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The request breaks HTTP, or is ambiguous.
    BadRequest,
    /// The client's address is not let in.
    IpDenied,
    /// A credential is needed, and there is none.
    Unauthenticated,
    /// The credential is not accepted.
    InvalidCredential,
    /// The credential is good, and not for this.
    AccessDenied,
    /// Too many credentials from this client were not accepted.
    TooManyFailures,
    /// Whether the credential is good cannot be told right now.
    AuthUnavailable,
    /// Nothing answers at this path.
    RouteNotFound,
    /// The path is known, and not for this method.
    MethodNotAllowed,
    /// The method is not supported at all.
    NotImplemented,
    /// The request body is longer than it may be.
    BodyTooLarge,
    /// The request body arrives too slowly.
    BodyTooSlow,
    /// The request body is of a type that is not accepted.
    UnsupportedMediaType,
    /// `Expect` asks for what nobody here does.
    ExpectationFailed,
    /// The request target is longer than it may be.
    TargetTooLong,
    /// The header section is longer than it may be.
    HeadersTooLarge,
    /// The head of the request did not come to its end in time.
    RequestTimeout,
    /// The request came through this gateway before (RFC 9110 section 7.6.3).
    LoopDetected,
    /// The origin has failed too often, and is left alone for now.
    CircuitOpen,
    /// No connection to the origin.
    UpstreamConnect,
    /// The origin closed the connection before it answered.
    UpstreamReset,
    /// The origin's answer cannot be passed on.
    UpstreamInvalidResponse,
    /// The origin took too long.
    UpstreamTimeout,
    /// No server, or no free connection to one.
    UpstreamUnavailable,
    /// The quota is used up.
    RateLimitExceeded,
    /// The request has nothing that a limit counts by.
    RateLimitKeyMissing,
    /// It cannot be found out whether the quota is used up.
    RateLimitUnavailable,
    /// As much is in flight as may be.
    ConcurrencyExceeded,
    /// A layer of your own, with its code in snake case. Its status is 403 unless set.
    Other(&'static str),
}

impl Reason {
    /// The code that clients, logs and metrics see. It does not change from release to release.
    pub fn code(self) -> &'static str {
        self.describe().1
    }

    /// The status such a refusal has by default.
    pub fn status(self) -> StatusCode {
        self.describe().0
    }

    fn describe(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::IpDenied => (StatusCode::FORBIDDEN, "ip_denied"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "authentication_required"),
            Self::InvalidCredential => (StatusCode::UNAUTHORIZED, "invalid_credential"),
            Self::AccessDenied => (StatusCode::FORBIDDEN, "access_denied"),
            Self::TooManyFailures => (StatusCode::TOO_MANY_REQUESTS, "too_many_failed_credentials"),
            Self::AuthUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "authentication_unavailable"),
            Self::RouteNotFound => (StatusCode::NOT_FOUND, "route_not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NotImplemented => (StatusCode::NOT_IMPLEMENTED, "not_implemented"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::ExpectationFailed => (StatusCode::EXPECTATION_FAILED, "expectation_failed"),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "target_too_long"),
            Self::HeadersTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::LoopDetected => (StatusCode::LOOP_DETECTED, "loop_detected"),
            Self::CircuitOpen => (StatusCode::SERVICE_UNAVAILABLE, "circuit_open"),
            Self::UpstreamConnect => (StatusCode::BAD_GATEWAY, "upstream_connect_failed"),
            Self::UpstreamReset => (StatusCode::BAD_GATEWAY, "upstream_reset"),
            Self::UpstreamInvalidResponse => (StatusCode::BAD_GATEWAY, "upstream_invalid_response"),
            Self::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
            Self::UpstreamUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "upstream_unavailable"),
            Self::RateLimitExceeded => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
            Self::RateLimitKeyMissing => (StatusCode::BAD_REQUEST, "rate_limit_key_missing"),
            Self::RateLimitUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "rate_limit_unavailable"),
            Self::ConcurrencyExceeded => (StatusCode::SERVICE_UNAVAILABLE, "concurrency_exceeded"),
            Self::Other(code) => (StatusCode::FORBIDDEN, code),
        }
    }
}
