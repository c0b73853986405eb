//! Which trace a request belongs to: W3C Trace Context, levels 1 and 2.

mod tracestate;

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;
use crate::lines::Lines;
use crate::names::ForOrigin;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-<trace-id>-<parent-id>-<flags>`
const LENGTH: usize = 55;
const VERSION: Range<usize> = 0..2;
const TRACE_ID: Range<usize> = 3..35;
const PARENT_ID: Range<usize> = 36..52;
const FLAGS: Range<usize> = 53..55;

const SAMPLED: u8 = 0b01;
const RANDOM_TRACE_ID: u8 = 0b10;

/// The trace that a request belongs to, as [W3C Trace Context](https://www.w3.org/TR/trace-context-2/) passes it on in
/// `traceparent` and `tracestate`.
///
/// It is read strictly: what the grammar does not allow is no trace context, and the receiver starts a new trace.
///
/// - `traceparent` is one line. Version 00 is exactly 55 bytes; a later version may be longer, with a dash after the part
///   that is known, and is passed on as version 00; version ff is invalid. Digits are lower case, and neither id is all
///   zeros.
/// - Flags: *sampled* is kept, and so is level 2's *random-trace-id* of a version 00 header, since the trace id it speaks
///   of is passed on unchanged. The meaning of all others is unknown, and they are cleared.
/// - `tracestate` may come in several lines, which are one list. A key that comes again is dropped, the first one being
///   the latest. A list that is malformed or has more than 32 members is dropped, and the `traceparent` kept. Of one
///   longer than 512 characters whole members are dropped until it fits: the last of those over 128 characters first,
///   then from the end ("tracestate Limits", section 3.3).
///
/// ```
/// use http::HeaderMap;
/// use std::num::NonZeroU64;
/// use tower_gateway::TraceContext;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?);
/// let caller = TraceContext::from_headers(&headers).unwrap();
/// assert!(caller.is_sampled());
///
/// let own = caller.child(NonZeroU64::new(0xb7ad6b7169203331).unwrap());
/// own.write_into(&mut headers);
/// assert_eq!(headers["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01");
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Kept as text: it is read as text by logs and written as text upstream, and never computed with.
    traceparent: [u8; LENGTH],
    tracestate: Option<HeaderValue>,
}

impl TraceContext {
    /// The start of a trace. Both ids are to be random in all of their bits, which the *random-trace-id* flag then says.
    pub fn start(trace_id: NonZeroU128, parent_id: NonZeroU64, sampled: bool) -> Self {
        let mut traceparent = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex::write(&trace_id.get().to_be_bytes(), &mut traceparent[TRACE_ID]);
        let flags = if sampled { RANDOM_TRACE_ID | SAMPLED } else { RANDOM_TRACE_ID };
        hex::write(&[flags], &mut traceparent[FLAGS]);
        Self { traceparent, tracestate: None }.child(parent_id)
    }

    /// The context that a caller has sent, `None` where it sent none or an invalid one.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let line = Lines::of(headers, &TRACEPARENT).only()?;
        let mut context = Self::parse(line.as_bytes())?;
        context.tracestate = tracestate::read(headers.get_all(&TRACESTATE));
        Some(context)
    }

    /// Reads the value of a `traceparent` header, with no `tracestate`.
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let (known, unknown) = traceparent.split_first_chunk::<LENGTH>()?;
        let has_dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        let has_digits = [VERSION, TRACE_ID, PARENT_ID, FLAGS].into_iter().all(|part| hex::is_lower(&known[part]));
        let is_zero = |id: Range<usize>| known[id].iter().all(|&digit| digit == b'0');
        if !has_dashes || !has_digits || is_zero(TRACE_ID) || is_zero(PARENT_ID) {
            return None;
        }
        let kept_flags = match (&known[VERSION], unknown) {
            (b"ff", _) => return None,
            (b"00", []) => SAMPLED | RANDOM_TRACE_ID,
            (b"00", _) => return None,
            // "Versioning of traceparent" (section 3.2): of a version that is not known the ids are read and the sampled flag.
            (_, [] | [b'-', ..]) => SAMPLED,
            _ => return None,
        };
        let mut traceparent = *known;
        traceparent[VERSION].copy_from_slice(b"00");
        // Both flags are in the last digit, and the low bits of an ASCII digit are not those of a letter's value.
        let last = known[LENGTH - 1];
        let low = if last.is_ascii_digit() { last - b'0' } else { last - b'a' + 10 };
        hex::write(&[low & kept_flags], &mut traceparent[FLAGS]);
        Some(Self { traceparent, tracestate: None })
    }

    /// The same trace one step on: what this hop sends, with `parent_id` for its own part of the trace.
    #[must_use]
    pub fn child(&self, parent_id: NonZeroU64) -> Self {
        let mut child = self.clone();
        hex::write(&parent_id.get().to_be_bytes(), &mut child.traceparent[PARENT_ID]);
        child
    }

    /// The id of the whole trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.text(TRACE_ID)
    }

    /// The id of one step in the trace (elsewhere a *span id*), 16 hexadecimal digits.
    pub fn parent_id(&self) -> &str {
        self.text(PARENT_ID)
    }

    /// True when the caller may have recorded its part of the trace.
    pub fn is_sampled(&self) -> bool {
        // The bits of a digit's value are the low bits of its ASCII code, and `parse` leaves digits below 4.
        self.traceparent[LENGTH - 1] & SAMPLED != 0
    }

    /// The value of the `traceparent` header.
    pub fn traceparent(&self) -> &str {
        self.text(0..LENGTH)
    }

    /// The value of the `tracestate` header, where there is one: what tracing systems on the way have added.
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_ref().and_then(|state| state.to_str().ok())
    }

    /// Makes this the one trace context in `headers`, instead of any other.
    pub fn write_into(&self, headers: &mut HeaderMap) {
        self.write_for_origin(&mut ForOrigin::of(headers));
    }

    pub(crate) fn write_for_origin(&self, headers: &mut ForOrigin<'_>) {
        // An owner is shared from the start, so a later clone of the value (a retry, a log) allocates nothing.
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(self.traceparent));
        headers.set(&TRACEPARENT, value.expect("hexadecimal digits and dashes are visible ASCII"));
        match &self.tracestate {
            Some(state) => headers.set(&TRACESTATE, state.clone()),
            None => headers.remove(&TRACESTATE),
        }
    }

    fn text(&self, part: Range<usize>) -> &str {
        std::str::from_utf8(&self.traceparent[part]).unwrap_or_default()
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceContext")
            .field("traceparent", &self.traceparent())
            .field("tracestate", &self.tracestate())
            .finish()
    }
}

/// The value of the `traceparent` header.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.traceparent())
    }
}

#[cfg(test)]
mod tests;
