//! Answers from what is stored, or is just being stored.

use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode, response};

use super::ask::Ask;
use super::body::CacheBody;
use super::entry::{StoredBody, StoredHead};
use super::found::{Found, FoundBody};
use super::policy::conditional::{self, NOT_IN_A_304};
use super::policy::range::{self, Answer};
use super::settings::Settings;
use super::status::{self, CACHE_STATUS, Handling, X_CACHE};
use crate::body::ResponseBody;
use crate::{Head, Reason, Rejection, RequestContext};

/// The body of every answer that comes out of a cache.
pub(super) type Body<R> = ResponseBody<CacheBody<R>>;

impl<St> Settings<St> {
    /// Tells the context, the counters and the client how a request was handled.
    pub(super) fn tell<'a>(
        &self,
        context: Option<&RequestContext>,
        key: Option<&'a str>,
        headers: &mut HeaderMap,
        mut handling: Handling<'a>,
        appends: bool,
    ) {
        if let Some(context) = context {
            context.set_cache_outcome(handling.outcome);
        }
        self.shared.counters.count(handling.outcome);
        // Room that was made for it, under another setting.
        if !self.x_cache && headers.get(X_CACHE).is_some_and(|value| value == "-") {
            headers.remove(X_CACHE);
        }
        handling.key = key.filter(|_| self.shows_key);
        handling.describe(headers, &self.name, self.x_cache, appends);
    }

    /// The answer that `found` is to this request. `None` when it can no longer be read from its beginning.
    pub(super) fn answer<R>(
        &self,
        found: &Found,
        ask: &Ask,
        request: &HeaderMap,
        age: u64,
        mut handling: Handling<'_>,
    ) -> Option<Response<Body<R>>> {
        let body = match &found.body {
            _ if ask.is_head => CacheBody::stored(&StoredBody::new(Vec::new(), None)),
            FoundBody::Stored(body) => CacheBody::stored(body),
            FoundBody::Arriving(stream) => CacheBody::arriving(stream.reader()?),
        };
        let head = &*found.head;
        let mut parts = found.head.into_parts();
        status::set(&mut parts.headers, AGE, status::number(age));
        let terms = &head.terms;
        handling.ttl = Some(i64::try_from(terms.lifetime).unwrap_or(i64::MAX).saturating_sub_unsigned(age));
        self.tell(ask.context.as_ref(), Some(ask.key.as_str()), &mut parts.headers, handling, head.has_status);

        if ask.if_modified
            && conditional::is_not_modified(request, head.status, &head.headers, head.times.received_date)
        {
            drop(body);
            return Some(not_modified(parts));
        }
        if let (Some(wanted), FoundBody::Stored(body)) = (ask.range, &found.body)
            && conditional::range_applies(request, &head.headers)
            && let Some(partial) = ranged(&mut parts, head, body, wanted)
        {
            return Some(Response::from_parts(parts, ResponseBody::inner(partial)));
        }
        if ask.is_head
            && let FoundBody::Stored(body) = &found.body
            && !parts.headers.contains_key(CONTENT_LENGTH)
        {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length));
        }
        Some(Response::from_parts(parts, ResponseBody::inner(body)))
    }

    /// The age of a stored response, by which it is decided about. One that a purge has made stale is at its end at least.
    pub(super) fn age_of(&self, head: &StoredHead, now: Instant, purged: bool) -> u64 {
        let age = head.times.age(now);
        if purged { age.max(head.terms.lifetime) } else { age }
    }

    /// A refusal of the cache's own.
    pub(super) fn refusal<R>(&self, ask: &Ask, head: Head<'_>, rejection: Rejection) -> Response<Body<R>> {
        self.gate.answer(head, ask.context.as_ref(), rejection).map(ResponseBody::own)
    }
}

/// The client wanted nothing but what is stored (RFC 9111 section 5.2.1.7).
pub(super) fn not_cached() -> Rejection {
    Rejection::new("cache", Reason::Other("not_cached")).status(StatusCode::GATEWAY_TIMEOUT)
}

fn not_modified<R>(mut parts: response::Parts) -> Response<Body<R>> {
    for name in &NOT_IN_A_304 {
        parts.headers.remove(name);
    }
    parts.status = StatusCode::NOT_MODIFIED;
    Response::from_parts(parts, ResponseBody::default())
}

/// What a range of a stored response is. `None` for what has no ranges: anything but a 200 or a part.
fn ranged<R>(
    parts: &mut response::Parts,
    head: &StoredHead,
    body: &StoredBody,
    wanted: range::Wanted,
) -> Option<CacheBody<R>> {
    let (answer, first, total) = match &head.part {
        Some(part) => (range::within_part(wanted, part), part.first, part.total),
        None if head.status == StatusCode::OK => (range::within(wanted, body.length), 0, Some(body.length)),
        None => return None,
    };
    let total_text = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    let (status, content_range, length, body) = match answer {
        Answer::Unknown => return None,
        Answer::Unsatisfiable => {
            parts.headers.remove(CONTENT_TYPE);
            (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{total_text}"), 0, CacheBody::part(body, 0..0))
        }
        Answer::Bytes(bytes) => {
            let content_range = format!("bytes {}-{}/{total_text}", bytes.start, bytes.end - 1);
            let length = bytes.end - bytes.start;
            let within = bytes.start - first..bytes.end - first;
            (StatusCode::PARTIAL_CONTENT, content_range, length, CacheBody::part(body, within))
        }
    };
    parts.status = status;
    parts.headers.remove(ACCEPT_RANGES);
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(content_range)) {
        parts.headers.insert(CONTENT_RANGE, value);
    }
    Some(body)
}

/// The fields by which an answer that is passed on tells of the cache.
pub(super) fn appends_to(headers: &HeaderMap) -> bool {
    headers.contains_key(CACHE_STATUS)
}
