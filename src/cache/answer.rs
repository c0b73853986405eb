//! Answers from what is stored, or is just being stored.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::ask::Ask;
use super::body::CacheBody;
use super::entry::{StoredBody, StoredHead, Teller};
use super::found::{Found, FoundBody};
use super::policy::conditional::{self, NOT_IN_A_304};
use super::policy::range::{self, Answer};
use super::record::Record;
use super::settings::Settings;
use super::status::{self, CACHE_STATUS, Handling};
use super::stream::Stream;
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

    /// The answer that a fresh response of `record` is, if there is one. It needs nothing of the request but to look at it.
    pub(super) fn hit<R>(
        &self,
        record: &Record,
        ask: &Ask,
        request: &HeaderMap,
        context: Option<&RequestContext>,
    ) -> Option<Response<Body<R>>> {
        let (entry, age) = self.fresh(record, ask, request)?;
        self.note(context, CacheOutcome::Hit);
        Some(self.stored(&entry.head, &entry.body, ask, request, age, Handling::of(CacheOutcome::Hit)))
    }

    /// The answer that `found` is to this request. `None` when it can no longer be read from its beginning.
    pub(super) fn answer<'a, R>(
        &self,
        found: &Found,
        ask: &'a Ask,
        request: &HeaderMap,
        age: u64,
        handling: Handling<'a>,
    ) -> Option<Response<Body<R>>> {
        let outcome = handling.outcome;
        let response = match &found.body {
            FoundBody::Stored(body) => self.stored(&found.head, body, ask, request, age, handling),
            FoundBody::Arriving(stream) => self.arriving(&found.head, stream, ask, request, age, handling)?,
        };
        self.note(ask.context.as_ref(), outcome);
        Some(response)
    }

    fn stored<'a, R>(
        &self,
        head: &StoredHead,
        body: &StoredBody,
        ask: &'a Ask,
        request: &HeaderMap,
        age: u64,
        handling: Handling<'a>,
    ) -> Response<Body<R>> {
        let mut headers = self.fields(head, ask, age, handling);
        if spares_content(head, ask, request) {
            return not_modified(headers);
        }
        if let Some(wanted) = ask.range
            && conditional::range_applies(request, &head.headers)
            && let Some((status, partial)) = ranged(&mut headers, head, body, wanted)
        {
            return response(status, headers, partial);
        }
        if ask.is_head {
            if !headers.contains_key(CONTENT_LENGTH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length));
            }
            return response(head.status, headers, CacheBody::nothing());
        }
        response(head.status, headers, CacheBody::stored(body.clone()))
    }

    fn arriving<'a, R>(
        &self,
        head: &StoredHead,
        stream: &Arc<Stream>,
        ask: &'a Ask,
        request: &HeaderMap,
        age: u64,
        handling: Handling<'a>,
    ) -> Option<Response<Body<R>>> {
        let reader = if ask.is_head { None } else { Some(stream.reader()?) };
        let headers = self.fields(head, ask, age, handling);
        if spares_content(head, ask, request) {
            return Some(not_modified(headers));
        }
        Some(response(head.status, headers, reader.map_or_else(CacheBody::nothing, CacheBody::arriving)))
    }

    /// The fields of what is stored, and those that tell of the cache.
    fn fields<'a>(&self, head: &StoredHead, ask: &'a Ask, age: u64, mut handling: Handling<'a>) -> HeaderMap {
        handling.ttl = Some(i64::try_from(head.terms.lifetime).unwrap_or(i64::MAX).saturating_sub_unsigned(age));
        handling.key = self.shows_key.then(|| ask.key.as_str());
        let write = |headers: &mut HeaderMap| {
            headers.insert(AGE, status::number(age));
            handling.describe(headers, &self.name, self.x_cache, head.has_status);
        };
        match handling.is_hit_alone() {
            true => head.fields_of_a_hit(age, &Teller { name: &self.name, x_cache: self.x_cache }, write),
            false => head.fields_with(write),
        }
    }

    /// The age of a stored response, by which it is decided about. One that a purge has made stale is at its end at least.
    pub(super) fn age_of(&self, head: &StoredHead, now: Instant, purged: bool) -> u64 {
        let age = head.times.age(now);
        if purged { age.max(head.terms.lifetime) } else { age }
    }

    /// A refusal of the cache's own, which says as any other answer how the request was handled.
    pub(super) fn refusal<'a, R>(
        &self,
        ask: &'a Ask,
        head: Head<'_>,
        rejection: Rejection,
        handling: Handling<'a>,
    ) -> Response<Body<R>> {
        let context = ask.context.as_ref();
        let mut refusal = self.gate.answer(head, context, rejection);
        self.tell(context, Some(ask.key.as_str()), refusal.headers_mut(), handling, false);
        refusal.map(ResponseBody::own)
    }
}

/// The client wanted nothing but what is stored (RFC 9111 section 5.2.1.7).
pub(super) fn not_cached<'a>() -> (Rejection, Handling<'a>) {
    let rejection = Rejection::new("cache", Reason::Other("not_cached")).status(StatusCode::GATEWAY_TIMEOUT);
    (rejection, Handling { detail: Some("only-if-cached"), ..Handling::of(CacheOutcome::Miss) })
}

/// True when the client has what is stored already.
fn spares_content(head: &StoredHead, ask: &Ask, request: &HeaderMap) -> bool {
    ask.if_modified && conditional::is_not_modified(request, head.status, &head.headers, head.times.received_date)
}

fn not_modified<R>(mut headers: HeaderMap) -> Response<Body<R>> {
    for name in &NOT_IN_A_304 {
        headers.remove(name);
    }
    let mut response = Response::new(ResponseBody::default());
    (*response.status_mut(), *response.headers_mut()) = (StatusCode::NOT_MODIFIED, headers);
    response
}

fn response<R>(status: StatusCode, headers: HeaderMap, body: CacheBody<R>) -> Response<Body<R>> {
    let mut response = Response::new(ResponseBody::inner(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// What a range of a stored response is. `None` for what has no ranges: anything but a 200 or a part.
fn ranged<R>(
    headers: &mut HeaderMap,
    head: &StoredHead,
    body: &StoredBody,
    wanted: range::Wanted,
) -> Option<(StatusCode, CacheBody<R>)> {
    let (answer, first, total) = match &head.part {
        Some(part) => (range::within_part(wanted, part), part.first, part.total),
        None if head.status == StatusCode::OK => (range::within(wanted, body.length), 0, Some(body.length)),
        None => return None,
    };
    let total_text = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    let (status, content_range, length, body) = match answer {
        Answer::Unknown => return None,
        Answer::Unsatisfiable => {
            headers.remove(CONTENT_TYPE);
            (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{total_text}"), 0, CacheBody::part(body, 0..0))
        }
        Answer::Bytes(bytes) => {
            let content_range = format!("bytes {}-{}/{total_text}", bytes.start, bytes.end - 1);
            let length = bytes.end - bytes.start;
            let within = bytes.start - first..bytes.end - first;
            (StatusCode::PARTIAL_CONTENT, content_range, length, CacheBody::part(body, within))
        }
    };
    headers.remove(ACCEPT_RANGES);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(content_range)) {
        headers.insert(CONTENT_RANGE, value);
    }
    Some((status, body))
}

/// The fields by which an answer that is passed on tells of the cache.
pub(super) fn appends_to(headers: &HeaderMap) -> bool {
    headers.contains_key(CACHE_STATUS)
}
