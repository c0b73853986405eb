//! Records as bytes, for stores outside this process.
//!
//! A version, a checksum, and the record: what another version has written, what is cut short, changed, or was stored under
//! another key is no record. Ages are written as they are at the moment, so that clocks that run apart by a little make
//! ages wrong by no more than that.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Record;
use crate::cache::entry::{Entry, StoredBody, StoredHead, Times};
use crate::cache::key::Key;
use crate::cache::policy::range::Part;
use crate::cache::policy::reuse::Terms;
use crate::cache::policy::vary::Nominated;

const MAGIC: &[u8; 4] = b"tgc\x01";
const HEAD: usize = MAGIC.len() + size_of::<u64>();

impl Record {
    /// The record as bytes, as they are to be read by [`decode`](Self::decode) under the same key. `now` and `date` are the
    /// two readings of one clock.
    pub fn encode(&self, now: Instant, date: SystemTime) -> Bytes {
        let mut bytes = Vec::with_capacity(self.size());
        bytes.put_slice(MAGIC);
        bytes.put_u64_le(0);
        bytes.put_u64_le(milliseconds(date));
        bytes.put_u64_le(self.keep_stale().as_secs());
        let key = self.variants.first().map(|entry| &entry.head.key);
        put_bytes(&mut bytes, key.map_or("", Key::as_str).as_bytes());
        bytes.put_u32_le(key.map_or(0, |key| key.uri().len() as u32));
        bytes.put_u32_le(self.variants.len() as u32);
        for entry in &self.variants {
            put_entry(&mut bytes, entry, now);
        }
        let sum = checksum(&bytes[HEAD..]);
        bytes[MAGIC.len()..HEAD].copy_from_slice(&sum.to_le_bytes());
        bytes.into()
    }

    /// What was encoded. `None` for anything but a whole record of this version, stored under `key`. The content is not
    /// copied.
    pub fn decode(mut bytes: Bytes, key: &str, now: Instant, date: SystemTime) -> Option<Self> {
        if bytes.len() < HEAD || &bytes.split_to(MAGIC.len())[..] != MAGIC {
            return None;
        }
        if bytes.get_u64_le() != checksum(&bytes) {
            return None;
        }
        let mut bytes = Reader(bytes);
        let since = Duration::from_millis(milliseconds(date).saturating_sub(bytes.u64()?));
        let keep_stale = Duration::from_secs(bytes.u64()?);
        let text = bytes.bytes()?;
        let uri_length = bytes.u32()? as usize;
        if text != key.as_bytes() {
            return None;
        }
        let key = Key::from_parts(key.to_owned(), uri_length)?;
        let count = bytes.u32()?;
        let variants: Option<Vec<_>> = (0..count).map(|_| entry(&mut bytes, &key, since, now)).collect();
        (bytes.0.is_empty() && count > 0).then_some(())?;
        Some(Self::from_variants(variants?, keep_stale))
    }
}

fn put_entry(bytes: &mut Vec<u8>, entry: &Entry, now: Instant) {
    let head = &entry.head;
    bytes.put_u16_le(head.status.as_u16());
    put_fields(bytes, &head.headers);
    bytes.put_u32_le(head.vary.len() as u32);
    for field in &head.vary {
        put_bytes(bytes, field.name.as_str().as_bytes());
        bytes.put_u8(u8::from(field.value.is_some()));
        put_bytes(bytes, field.value.as_deref().unwrap_or_default());
    }
    let terms = &head.terms;
    for seconds in [terms.lifetime, terms.stale_while_revalidate, terms.stale_if_error] {
        bytes.put_u64_le(seconds);
    }
    bytes.put_u8(u8::from(terms.never_stale) | u8::from(terms.always_validate) << 1);
    bytes.put_u8(u8::from(head.part.is_some()));
    if let Some(part) = &head.part {
        bytes.put_u64_le(part.first);
        bytes.put_u64_le(part.last);
        // No whole is that long: `Part` sees to it.
        bytes.put_u64_le(part.total.unwrap_or(u64::MAX));
    }
    let times = &head.times;
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    bytes.put_u64_le(millis(now.saturating_duration_since(times.received)));
    bytes.put_u64_le(millis(times.received.saturating_duration_since(times.requested)));
    bytes.put_i64_le(times.received_date);
    bytes.put_u64_le(times.initial_age);
    bytes.put_u64_le(entry.body.length);
    for chunk in entry.body.chunks.iter() {
        bytes.put_slice(chunk);
    }
    bytes.put_u8(u8::from(entry.body.trailers.is_some()));
    if let Some(trailers) = &entry.body.trailers {
        put_fields(bytes, trailers);
    }
}

fn entry(bytes: &mut Reader, key: &Key, since: Duration, now: Instant) -> Option<Entry> {
    let status = StatusCode::from_u16(bytes.u16()?).ok()?;
    let headers = bytes.fields()?;
    let vary: Option<Vec<_>> = (0..bytes.u32()?).map(|_| bytes.nominated()).collect();
    let (lifetime, stale_while_revalidate, stale_if_error) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
    let flags = bytes.u8()?;
    let (never_stale, always_validate) = (flags & 1 != 0, flags & 2 != 0);
    let terms = Terms { lifetime, stale_while_revalidate, stale_if_error, never_stale, always_validate };
    let part = match bytes.u8()? {
        0 => None,
        _ => {
            let (first, last, total) =
                (bytes.u64()?, bytes.u64()?, Some(bytes.u64()?).filter(|total| *total != u64::MAX));
            Some(Part { first, last, total, short_of: None })
                .filter(|part| first <= last && part.total.is_none_or(|total| last < total))?
                .into()
        }
    };
    let residence = Duration::from_millis(bytes.u64()?).checked_add(since)?;
    let delay = Duration::from_millis(bytes.u64()?);
    let received = now.checked_sub(residence)?;
    let requested = received.checked_sub(delay)?;
    let (received_date, initial_age) = (bytes.i64()?, bytes.u64()?);
    let times = Times { requested, received, received_date, initial_age };
    let length = bytes.u64()?;
    let content = bytes.take(usize::try_from(length).ok()?)?;
    if part.is_some_and(|part| part.length() != length) {
        return None;
    }
    let trailers = if bytes.u8()? == 0 { None } else { Some(Arc::new(bytes.fields()?)) };
    let chunks = if content.is_empty() { Arc::default() } else { Arc::from([content]) };
    let head = StoredHead::new(key.clone(), status, headers, vary?.into(), terms, part, times);
    Some(Entry { head: Arc::new(head), body: StoredBody { chunks, length, trailers } })
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.put_u32_le(value.len() as u32);
    bytes.put_slice(value);
}

fn put_fields(bytes: &mut Vec<u8>, headers: &HeaderMap) {
    bytes.put_u32_le(headers.len() as u32);
    for (name, value) in headers {
        put_bytes(bytes, name.as_str().as_bytes());
        put_bytes(bytes, value.as_bytes());
    }
}

/// What is left to read. Nothing is believed of its lengths.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.as_ref().try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.number().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.number().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.number().map(i64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn fields(&mut self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for _ in 0..self.u32()? {
            let name = HeaderName::from_bytes(&self.bytes()?).ok()?;
            headers.try_append(name, HeaderValue::from_maybe_shared(self.bytes()?).ok()?).ok()?;
        }
        Some(headers)
    }

    fn nominated(&mut self) -> Option<Nominated> {
        let name = HeaderName::from_bytes(&self.bytes()?).ok()?;
        let is_there = self.u8()? != 0;
        let value = self.bytes()?;
        Some(Nominated::stored(name, is_there.then(|| value.as_ref().into())))
    }
}

fn milliseconds(date: SystemTime) -> u64 {
    date.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Against what is cut short or changed by accident: eight bytes at a time, each step a bijection of what was before.
fn checksum(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut words = bytes.chunks_exact(8);
    let mut sum = bytes.len() as u64 ^ ODD;
    for word in &mut words {
        let word = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        sum = (sum ^ word).wrapping_mul(ODD).rotate_left(29);
    }
    words.remainder().iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(ODD).rotate_left(29))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::policy::fields::tests::headers;
    use proptest::prelude::*;

    const KEY: &str = "http://a.test/x\nsubject s";

    fn record(now: Instant) -> Record {
        let key = Key::from_parts(KEY.to_owned(), 15).unwrap();
        let times = Times { requested: now, received: now, received_date: 784_111_777, initial_age: 3 };
        let terms = Terms { lifetime: 60, stale_if_error: 5, never_stale: true, ..Terms::default() };
        let vary = vec![
            Nominated::stored(HeaderName::from_static("a"), None),
            Nominated::stored(HeaderName::from_static("b"), Some(b"1".as_slice().into())),
        ];
        let fields = headers(&[("etag", "\"a\""), ("x", "1"), ("x", "2"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        let part = Some(Part { first: 2, last: 8, total: None, short_of: None });
        let head = StoredHead::new(key, StatusCode::PARTIAL_CONTENT, fields, vary.into(), terms, part, times);
        let chunks = vec![Bytes::from_static(b"con"), Bytes::from_static(b"tent")];
        let body = StoredBody::new(chunks, Some(headers(&[("x-sum", "7")])));
        Record::from_variants(vec![Entry { head: Arc::new(head), body }], Duration::from_secs(9))
    }

    #[test]
    fn what_is_written_is_read_back_older_by_the_time_between() {
        let (now, date) = (Instant::now() + Duration::from_secs(1000), UNIX_EPOCH + Duration::from_secs(784_111_777));
        let bytes = record(now).encode(now + Duration::from_secs(10), date);
        // Another process: its monotonic clock says something else.
        let later = now + Duration::from_secs(500);
        let read = Record::decode(bytes, KEY, later, date + Duration::from_secs(5)).unwrap();
        let entry = &read.variants[0];
        assert_eq!(entry.head.times.age(later), 3 + 10 + 5);
        assert_eq!(entry.head.headers, record(now).variants[0].head.headers);
        assert_eq!((entry.head.key.uri(), entry.head.status.as_u16()), ("http://a.test/x", 206));
        assert_eq!(entry.head.vary, record(now).variants[0].head.vary);
        assert_eq!(
            (entry.head.terms, entry.head.part),
            (record(now).variants[0].head.terms, record(now).variants[0].head.part)
        );
        assert_eq!(entry.body.chunks.concat(), b"content");
        assert_eq!(entry.body.trailers.as_ref().unwrap()["x-sum"], "7");
    }

    #[test]
    fn what_is_cut_short_changed_or_of_another_key_is_no_record() {
        let now = Instant::now() + Duration::from_secs(1000);
        let bytes = record(now).encode(now, UNIX_EPOCH);
        assert!(Record::decode(bytes.clone(), "http://a.test/y", now, UNIX_EPOCH).is_none());
        for at in 0..bytes.len() {
            assert!(Record::decode(bytes.slice(..at), KEY, now, UNIX_EPOCH).is_none(), "cut at {at}");
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            assert!(Record::decode(changed.into(), KEY, now, UNIX_EPOCH).is_none(), "changed at {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, sealed: bool) {
            let mut whole = MAGIC.to_vec();
            if sealed {
                whole.extend(checksum(&bytes).to_le_bytes());
            }
            whole.extend(bytes);
            let _ = Record::decode(whole.into(), KEY, Instant::now(), UNIX_EPOCH);
        }
    }
}
