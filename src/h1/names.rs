//! The fields of a head, from its bytes to a map.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Malformed;
use crate::recycle;

/// How many fields a trailer section may have.
const MAX_TRAILERS: usize = 128;

/// How many names a thread remembers, a power of two, and how long they may be: ten kilobytes for each thread.
const REMEMBERED: usize = 128;
const LONGEST: usize = 31;

thread_local! {
    /// One for all connections of a thread, though each has its own origin: what is read with every answer then stays in
    /// the processor's cache, which a copy for each of a thousand connections does not.
    static NAMES: RefCell<Names> = RefCell::default();
}

/// Where the fields of a head are in the bytes they were parsed from, so that these may be moved: see [`Fields::find`].
pub(crate) struct Fields(Vec<Span>);

#[derive(Debug)]
struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

impl Fields {
    /// Where these fields of `bytes` are.
    pub(crate) fn find(bytes: &[u8], fields: &[httparse::Header<'_>]) -> Self {
        let start = bytes.as_ptr() as usize;
        let span = |part: &[u8]| {
            let at = part.as_ptr() as usize - start;
            (at as u32, (at + part.len()) as u32)
        };
        // An empty value may point anywhere.
        let value = |field: &[u8]| if field.is_empty() { (0, 0) } else { span(field) };
        let spans = fields.iter().map(|field| Span { name: span(field.name.as_bytes()), value: value(field.value) });
        let mut found = NAMES.with_borrow_mut(|names| std::mem::take(&mut names.spans));
        found.extend(spans);
        Self(found)
    }

    /// The fields, in the bytes they were found in. The values share their memory. The map has room for so many `more`: to
    /// grow costs as much as to be made.
    pub(crate) fn read(mut self, bytes: &Bytes, more: usize) -> Result<HeaderMap, Malformed> {
        NAMES.with_borrow_mut(|names| {
            let mut headers = recycle::headers(self.0.len() + more);
            for Span { name, value } in &self.0 {
                let name = &bytes[name.0 as usize..name.1 as usize];
                let value = bytes.slice(value.0 as usize..value.1 as usize);
                headers.append(names.read(name)?, HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?);
            }
            self.0.clear();
            names.spans = self.0;
            Ok(headers)
        })
    }
}

/// Reads a section of fields that ends with an empty line.
pub(super) fn read_fields(section: &Bytes) -> Result<HeaderMap, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((end, fields))) if end == section.len() => {
            Fields::find(section, fields).read(section, 0)
        }
        _ => Err(Malformed),
    }
}

/// The names that were read last. Origins send few different ones, and to see that a name is one that is known costs a
/// tenth of reading it.
#[derive(Debug, Default)]
struct Names {
    known: Vec<Option<Known>>,
    /// The memory of [`Fields`], while nobody uses it.
    spans: Vec<Span>,
}

#[derive(Debug)]
struct Known {
    written: [u8; LONGEST],
    length: u8,
    name: HeaderName,
}

impl Names {
    /// The name that is written so.
    fn read(&mut self, written: &[u8]) -> Result<HeaderName, Malformed> {
        let place = place(written);
        if let Some(Some(known)) = self.known.get(place)
            && known.written() == written
        {
            return Ok(known.name.clone());
        }
        self.learn(written, place)
    }

    #[inline(never)]
    fn learn(&mut self, written: &[u8], place: usize) -> Result<HeaderName, Malformed> {
        let name = HeaderName::from_bytes(written).map_err(|_| Malformed)?;
        if let Some(known) = Known::new(written, &name) {
            self.known.resize_with(REMEMBERED, || None);
            self.known[place] = Some(known);
        }
        Ok(name)
    }
}

/// Where a name is remembered: another that comes to the same place takes it over.
fn place(written: &[u8]) -> usize {
    let at = |index: usize| written.get(index).map_or(0, |byte| usize::from(*byte));
    let (length, last) = (written.len(), written.len().saturating_sub(1));
    (length * 7 + at(0) * 5 + at(length / 2) * 3 + at(last)) % REMEMBERED
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
        head.iter().map(|name| names.read(name.as_bytes()).unwrap().to_string()).collect()
    }

    #[test]
    fn a_name_is_what_is_written_whatever_stood_there_before() {
        let mut names = Names::default();
        for head in [&["Date", "X-A"][..], &["Date", "X-A"], &["date", "X-Ab", "Server"], &["X", "X-A"], &[], &["Date"]]
        {
            let lower: Vec<_> = head.iter().map(|name| name.to_lowercase()).collect();
            assert_eq!(read(&mut names, head), lower);
        }
        assert_eq!(names.read(b"a b").unwrap_err(), Malformed);
    }

    #[test]
    fn names_that_come_to_one_place_are_told_apart() {
        let (one, other) = ("x-abc-d", "x-bbc-d");
        assert_eq!(place(one.as_bytes()), place(other.as_bytes()));
        let mut names = Names::default();
        for _ in 0..2 {
            assert_eq!(read(&mut names, &[one, other, other, one]), [one, other, other, one]);
        }
    }

    #[test]
    fn no_section_of_fields_panics() {
        proptest::proptest!(|(bytes: Vec<u8>)| {
            let _ = read_fields(&Bytes::from(bytes));
        });
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut names = Names::default();
        let long = "x".repeat(LONGEST + 1);
        let head: Vec<_> = (0..1000).map(|field| format!("x-{field}")).chain([long]).collect();
        let head: Vec<_> = head.iter().map(String::as_str).collect();
        assert_eq!(read(&mut names, &head), head);
        assert_eq!(read(&mut names, &head), head);
        assert_eq!(names.known.len(), REMEMBERED);
    }
}
