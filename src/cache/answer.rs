//! Answers from what is stored, or is just being stored.

use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode, response};

use super::ask::Ask;
use super::body::CacheBody;
use super::entry::{StoredBody, StoredHead, Teller};
use super::found::{Found, FoundBody};
use super::policy::conditional::{self, NOT_IN_A_304};
use super::policy::range::{self, Answer};
use super::settings::Settings;
use super::status::{self, CACHE_STATUS, Handling};
use crate::body::ResponseBody;
use crate::{CacheOutcome, Head, Reason, Rejection, RequestContext};

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
        self.note(context, handling.outcome);
        handling.key = key.filter(|_| self.shows_key);
        handling.describe(headers, &self.name, self.x_cache, appends);
    }

    fn note(&self, context: Option<&RequestContext>, outcome: CacheOutcome) {
        if let Some(context) = context {
            context.set_cache_outcome(outcome);
        }
        self.shared.counters.count(outcome);
    }

    /// The answer that `found` is to this request. `None` when it can no longer be read from its beginning.
    pub(super) fn answer<'a, R>(
        &self,
        found: Found,
        ask: &'a Ask,
        request: &HeaderMap,
        age: u64,
        mut handling: Handling<'a>,
    ) -> Option<Response<Body<R>>> {
        let (head, body) = (&*found.head, found.body);
        let arriving = match &body {
            FoundBody::Arriving(stream) if !ask.is_head => Some(stream.reader()?),
            _ => None,
        };
        let terms = &head.terms;
        handling.ttl = Some(i64::try_from(terms.lifetime).unwrap_or(i64::MAX).saturating_sub_unsigned(age));
        handling.key = self.shows_key.then(|| ask.key.as_str());
        self.note(ask.context.as_ref(), handling.outcome);
        let write = |headers: &mut HeaderMap| {
            headers.insert(AGE, status::number(age));
            handling.describe(headers, &self.name, self.x_cache, head.has_status);
        };
        let mut parts = Response::new(()).into_parts().0;
        parts.status = head.status;
        parts.headers = match handling.is_hit_alone() {
            true => head.fields_of_a_hit(age, &Teller { name: &self.name, x_cache: self.x_cache }, write),
            false => head.fields_with(write),
        };

        if ask.if_modified
            && conditional::is_not_modified(request, head.status, &head.headers, head.times.received_date)
        {
            return Some(not_modified(parts));
        }
        let body = match (arriving, body) {
            (Some(reader), _) => CacheBody::arriving(reader),
            (None, FoundBody::Arriving(_)) => CacheBody::nothing(),
            (None, FoundBody::Stored(body)) => {
                if let Some(wanted) = ask.range
                    && conditional::range_applies(request, &head.headers)
                    && let Some(partial) = ranged(&mut parts, head, &body, wanted)
                {
                    return Some(Response::from_parts(parts, ResponseBody::inner(partial)));
                }
                if ask.is_head && !parts.headers.contains_key(CONTENT_LENGTH) {
                    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length));
                }
                if ask.is_head { CacheBody::nothing() } else { CacheBody::stored(body) }
            }
        };
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
