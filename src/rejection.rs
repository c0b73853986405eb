//! The one way a layer answers by itself.

pub(crate) mod grpc;
mod problem;
mod reason;

pub use self::reason::Reason;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::{Head, RequestContext, recycle};

/// How many fields a refusal has, as a rule, and those that layers add to it.
const FIELDS: usize = 6;

/// A refusal: which layer, why, and what the client is told.
///
/// Its answer is an RFC 9457 problem document with two extension members: `error`, a code that stays the same from
/// release to release, and `request_id`. A gRPC call is answered with a status of gRPC's instead, in the header section. A layer's `on_reject` may change that answer; logs and metrics read the
/// rejection itself from the [`RequestContext`].
///
/// ```
/// use std::time::Duration;
/// use tower_gateway::{Reason, Rejection};
///
/// let answer = Rejection::new("my_limit", Reason::Other("too_many_uploads"))
///     .status(http::StatusCode::TOO_MANY_REQUESTS)
///     .retry_after(Duration::from_millis(200))
///     .response(None);
/// assert_eq!(answer.headers()["retry-after"], "1");
/// assert_eq!(answer.headers()["content-type"], "application/problem+json");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    layer: &'static str,
    reason: Reason,
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    violated_policy: Option<Arc<str>>,
    dry_run: bool,
}

impl Rejection {
    /// A refusal by `layer`, a name in snake case such as `ip_filter`.
    // What leads here is so laid out beside the way of a request that is let through.
    #[cold]
    pub fn new(layer: &'static str, reason: Reason) -> Self {
        Self {
            layer,
            reason,
            status: reason.status(),
            detail: None,
            retry_after: None,
            violated_policy: None,
            dry_run: false,
        }
    }

    /// Another status than the reason's own.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// One sentence more for the client. It must name nothing of the inside: no address, no library.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// When the client may try again. It is sent in whole seconds, rounded up and at least 1.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The quota that is used up, by the name that `RateLimit-Policy` has for it.
    #[must_use]
    pub fn violated_policy(mut self, name: impl Into<Arc<str>>) -> Self {
        self.violated_policy = Some(name.into());
        self
    }

    pub(crate) fn in_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// The layer that refused.
    pub fn layer(&self) -> &'static str {
        self.layer
    }

    /// Why it refused.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status it answers with.
    pub fn status_code(&self) -> StatusCode {
        self.status
    }

    /// True when the layer was only trying its rule, and let the request pass.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// The answer: a problem document, and `Retry-After` where it is due (RFC 9110 section 10.2.3).
    pub fn response(&self, context: Option<&RequestContext>) -> Response<Bytes> {
        let request_id = context.and_then(RequestContext::request_id);
        let body = problem::document(self, request_id.map(|id| id.as_str()));
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        *headers = recycle::headers(FIELDS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// The answer in the form that the asker of `head` reads: gRPC's to a gRPC call.
    pub(crate) fn answer_to(&self, head: Head<'_>, context: Option<&RequestContext>) -> Response<Bytes> {
        let answer = self.response(context);
        if grpc::is_call(head.method(), head.headers()) { self.as_grpc(answer) } else { answer }
    }

    /// The answer of a server to a request of which no layer has seen anything.
    #[cfg(feature = "serve")]
    pub(crate) fn answer_as(&self, is_grpc: bool, context: Option<&RequestContext>) -> Response<Bytes> {
        let answer = self.response(context);
        if is_grpc { self.as_grpc(answer) } else { answer }
    }

    /// 429 and 503 always say when to come back: a client told nothing comes back at once.
    fn retry_after_seconds(&self) -> Option<u64> {
        let due = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let after = match self.retry_after {
            Some(after) => after,
            None if due => Duration::ZERO,
            None => return None,
        };
        let whole = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
        Some(whole.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after(rejection: Rejection) -> Option<String> {
        let answer = rejection.response(None);
        answer.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        let busy = Rejection::new("test", Reason::UpstreamUnavailable);
        assert_eq!(retry_after(busy.clone()).as_deref(), Some("1"));
        assert_eq!(retry_after(busy.clone().retry_after(Duration::ZERO)).as_deref(), Some("1"));
        assert_eq!(retry_after(busy.clone().retry_after(Duration::from_millis(1001))).as_deref(), Some("2"));
        assert_eq!(retry_after(busy.retry_after(Duration::MAX)).as_deref(), Some("18446744073709551615"));
    }

    #[test]
    fn a_refusal_for_good_does_not_say_when_to_come_back() {
        assert_eq!(retry_after(Rejection::new("test", Reason::IpDenied)), None);
    }

    #[test]
    fn the_body_names_the_code_the_status_and_the_request() {
        let context = RequestContext::new();
        context.set_request_id(crate::RequestId::new(HeaderValue::from_static("r-1")).unwrap());
        let answer = Rejection::new("ip_filter", Reason::IpDenied).detail("ask \"me\"\n").response(Some(&context));
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(
            answer.body(),
            concat!(
                r#"{"type":"about:blank","title":"Forbidden","status":403,"#,
                r#""detail":"ask \"me\"\u000a","error":"ip_denied","request_id":"r-1"}"#
            )
        );
    }
}
