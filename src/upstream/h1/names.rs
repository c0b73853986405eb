//! The fields of the answers that come over one connection.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::decode::Malformed;

/// How many names are remembered, and how long they may be: a kilobyte for each connection.
const REMEMBERED: usize = 16;
const LONGEST: usize = 31;

/// The names of the last head, each at its place. An origin sends nearly the same fields in nearly the same order with
/// every answer, and to see that a name is the one that stood there before costs a tenth of reading it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Vec<Known>,
    /// Where the fields of the head that is being read are in it, so that its bytes may be moved.
    found: Vec<Span>,
}

#[derive(Debug)]
struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

#[derive(Debug)]
struct Known {
    written: [u8; LONGEST],
    length: u8,
    name: HeaderName,
}

impl Names {
    /// Remembers where these fields of `bytes` are.
    pub(super) fn find(&mut self, bytes: &[u8], fields: &[httparse::Header<'_>]) {
        let start = bytes.as_ptr() as usize;
        let span = |part: &[u8]| {
            let at = part.as_ptr() as usize - start;
            (at as u32, (at + part.len()) as u32)
        };
        self.found.clear();
        // An empty value may point anywhere.
        let value = |field: &[u8]| if field.is_empty() { (0, 0) } else { span(field) };
        let spans = fields.iter().map(|field| Span { name: span(field.name.as_bytes()), value: value(field.value) });
        self.found.extend(spans);
    }

    /// The fields that were found, in the bytes they were found in. The values share their memory.
    pub(super) fn read_map(&mut self, bytes: &Bytes) -> Result<HeaderMap, Malformed> {
        let found = std::mem::take(&mut self.found);
        let mut headers = HeaderMap::with_capacity(found.len());
        for (place, Span { name, value }) in found.iter().enumerate() {
            let name = &bytes[name.0 as usize..name.1 as usize];
            let value = bytes.slice(value.0 as usize..value.1 as usize);
            headers.append(self.read(place, name)?, HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?);
        }
        if found.len() <= REMEMBERED {
            self.found = found;
        }
        Ok(headers)
    }

    /// The name that is written so, at this place of a head.
    fn read(&mut self, place: usize, written: &[u8]) -> Result<HeaderName, Malformed> {
        if let Some(known) = self.known.get(place)
            && known.written() == written
        {
            return Ok(known.name.clone());
        }
        let name = HeaderName::from_bytes(written).map_err(|_| Malformed)?;
        if let Some(known) = Known::new(written, &name) {
            if let Some(other) = self.known.get_mut(place) {
                *other = known;
            } else if place == self.known.len() && place < REMEMBERED {
                self.known.push(known);
            }
        }
        Ok(name)
    }
}

impl Known {
    /// `None` for a name that is too long.
    fn new(written: &[u8], name: &HeaderName) -> Option<Self> {
        let mut own = [0; LONGEST];
        own.get_mut(..written.len())?.copy_from_slice(written);
        Some(Self { written: own, length: written.len() as u8, name: name.clone() })
    }

    fn written(&self) -> &[u8] {
        &self.written[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &mut Names, head: &[&str]) -> Vec<String> {
        let read = head.iter().enumerate().map(|(place, name)| names.read(place, name.as_bytes()));
        read.map(|name| name.unwrap().to_string()).collect()
    }

    #[test]
    fn a_name_is_what_is_written_whatever_stood_there_before() {
        let mut names = Names::default();
        for head in [&["Date", "X-A"][..], &["Date", "X-A"], &["date", "X-Ab", "Server"], &["X", "X-A"], &[], &["Date"]]
        {
            let lower: Vec<_> = head.iter().map(|name| name.to_lowercase()).collect();
            assert_eq!(read(&mut names, head), lower);
        }
        assert_eq!(names.read(0, b"a b").unwrap_err(), Malformed);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut names = Names::default();
        let long = "x".repeat(LONGEST + 1);
        let head: Vec<_> = (0..100).map(|field| format!("x-{field}")).chain([long]).collect();
        let head: Vec<_> = head.iter().map(String::as_str).collect();
        assert_eq!(read(&mut names, &head), head);
        assert_eq!(read(&mut names, &head), head);
        assert_eq!(names.known.len(), REMEMBERED);
    }
}
